"""Consensus optimization: its regulariser R, the gradient of R, and what R does to a game."""

from itertools import chain

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from revgan.directions import DOMAINS
from revgan.memory import measure_step
from revgan.networks import (
    DiscriminatorConfig,
    GeneratorConfig,
    PatchDiscriminator,
    ResnetPair,
    RevGenerator,
)
from revgan.training import step as step_module
from revgan.training.batch import Batch
from revgan.training.config import LossConfig, OptimizerConfig, RunConfig, RuntimeConfig
from revgan.training.consensus import consensus_regulariser, consensus_term
from revgan.training.losses import total
from revgan.training.objectives import Players, build_objective
from revgan.training.prediction import Workload, predict_training
from revgan.training.setup import make_accelerator, make_trainer
from revgan.training.step import Trainer

KINDS = ["unpaired", "paired"]
PLAYERS = ["generator", "judge_a", "judge_b"]
GAMMA = 0.5


VARIANTS = {
    "3D": {"spatial_dims": 3},
    "affine": {"coupling": "affine"},
    "subpixel": {"downsampling": "subpixel", "upsampling": "subpixel"},
    "bilinear": {"upsampling": "bilinear"},
    "zeros": {"downsampling_padding": "zeros"},
    "ode": {"core": "ode", "ode_step": 1.0},
}


def make(
    kind,
    generator=RevGenerator,
    norm="instance",
    memory="naive",
    spatial_dims=2,
    variant=None,
    **losses,
):
    """An objective, tiny players in float64, and images."""
    # In 3D, second derivatives of more would take seconds.
    width, depth, count = (4, 2, 2) if spatial_dims == 2 else (2, 1, 1)
    objective = build_objective(kind, LossConfig(**{"consensus_weight": GAMMA} | losses))
    channels = objective.judged_channels(3, 3)
    judges = [
        PatchDiscriminator(spatial_dims, in_channels=channels, width=width, norm=norm)
        for _ in DOMAINS
    ]
    options = {"width": width, "depth": depth, "norm": norm, "memory": memory, **(variant or {})}
    networks = generator(spatial_dims, **options), *judges
    shape = (count, 3, *[32 if spatial_dims == 2 else 24] * spatial_dims)
    images = (torch.rand(shape, dtype=torch.float64) * 2 - 1 for _ in DOMAINS)
    return objective, Players(*(network.double() for network in networks)), Batch(*images)


def weights(players: Players, names=PLAYERS) -> list[Tensor]:
    return list(chain.from_iterable(getattr(players, name).parameters() for name in names))


def length(tensors) -> float:
    return torch.cat([tensor.flatten() for tensor in tensors]).norm().item()


# R of a GAN


def squared(logits: Tensor, label: float) -> Tensor:
    return (logits - label).square().mean()


def entropy(logits: Tensor, label: float) -> Tensor:
    return -(logits.sigmoid() if label else 1 - logits.sigmoid()).log().mean()


FORMS = {
    "least-squares": squared,
    "least-squares-sigmoid": lambda logits, label: squared(logits.sigmoid(), label),
    "cross-entropy": entropy,
}


def both_losses(kind: str, players: Players, batch: Batch, gan=squared) -> tuple[Tensor, Tensor]:
    """The generator's and the judges' loss, as CycleGAN's and pix2pix's papers write them."""
    net, judges = players.generator, (players.judge_a, players.judge_b)
    fake_b, fake_a = net(batch.a, "AtoB"), net(batch.b, "BtoA")
    real, fake = (batch.a, batch.b), (fake_a, fake_b)
    if kind == "unpaired":
        cycle = F.l1_loss(net(fake_b, "BtoA"), batch.a) + F.l1_loss(net(fake_a, "AtoB"), batch.b)
        same = F.l1_loss(net(batch.a, "BtoA"), batch.a) + F.l1_loss(net(batch.b, "AtoB"), batch.b)
        loss = 10 * cycle + 5 * same
    else:
        loss = 100 * (F.l1_loss(fake_a, batch.a) + F.l1_loss(fake_b, batch.b))
        beside = batch.b, batch.a
        real = [torch.cat(pair, 1) for pair in zip(beside, real, strict=True)]
        fake = [torch.cat(pair, 1) for pair in zip(beside, fake, strict=True)]
    judges_loss = 0
    for judge, real_shown, fake_shown in zip(judges, real, fake, strict=True):
        loss = loss + gan(judge(fake_shown), 1)
        judges_loss = judges_loss + 0.5 * (gan(judge(real_shown), 1) + gan(judge(fake_shown), 0))
    return loss, judges_loss


def plain_r(kind: str, players: Players, batch: Batch, gan=squared) -> float:
    """R by first derivatives alone."""
    loss, judges_loss = both_losses(kind, players, batch, gan)
    v = torch.autograd.grad(loss, weights(players, ["generator"]), retain_graph=True)
    v += torch.autograd.grad(judges_loss, weights(players, ["judge_a", "judge_b"]))
    return 0.5 * length(v) ** 2


@pytest.mark.parametrize("generator", [RevGenerator, ResnetPair])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_term_is_gamma_times_half_the_squared_length_of_all_gradients(kind, form, generator):
    objective, players, batch = make(kind, generator, adversarial=form)
    (term,) = consensus_term(objective, players, batch).values()
    r = plain_r(kind, players, batch, FORMS[form])
    assert term.item() == pytest.approx(GAMMA * r, rel=1e-9)  # in float64, in another order


@pytest.mark.parametrize("player", PLAYERS)
@pytest.mark.parametrize("kind", KINDS)
def test_its_gradient_is_the_slope_of_r(kind, player):
    check_slope(kind, player, *make(kind))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_second_derivatives(variant):
    options = dict(VARIANTS[variant])
    made = make("paired", spatial_dims=options.pop("spatial_dims", 2), variant=options)
    check_slope("paired", "generator", *made)


def check_slope(kind, player, objective, players, batch):
    moved = weights(players, [player])
    direction = [torch.randn_like(weight) for weight in moved]
    # So short that no ReLU switches on the way, where R would jump.
    span = 1e-7 / length(direction)
    consensus_term(objective, players, batch)["consensus"].backward()
    slope = sum((w.grad * d).sum().item() for w, d in zip(moved, direction, strict=True))
    ends = []
    with torch.no_grad():
        for way in (1, -2):
            for weight, d in zip(moved, direction, strict=True):
                weight += way * span * d
            with torch.enable_grad():
                ends.append(GAMMA * plain_r(kind, players, batch))
    # R has 15 digits, of which the difference between the ends, 1e-8 of it, keeps 7.
    assert (ends[0] - ends[1]) / (2 * span) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_each_players_part_of_r_depends_on_the_other_player(kind):
    objective, players, batch = make(kind)
    terms, fakes = objective.joint_terms(players, batch)
    for domain in DOMAINS:
        judge, net = players.judge(domain), players.generator
        judged = objective.tell_apart(domain, players, batch, fakes.of(domain))
        for loss, own, other in ((judged, judge, net), (terms, net, judge)):
            part = consensus_regulariser([total(loss)], [own.parameters()])
            # A judge says nothing of the decoder and the encoder that serve the other domain.
            found = torch.autograd.grad(
                part, list(other.parameters()), retain_graph=True, allow_unused=own is judge
            )
            # Hundreds as measured; without the graph between the players, none at all.
            assert length(gradient for gradient in found if gradient is not None) > 1


@pytest.mark.parametrize("memory", ["reversible", "lean"])
def test_a_mode_without_second_derivatives_is_refused_and_the_right_one_named(memory):
    with pytest.raises(RuntimeError, match='memory="naive"'):
        consensus_term(*make("unpaired", memory=memory))


def test_running_statistics_are_left_as_they_are():
    objective, players, batch = make("unpaired", norm="batch")
    networks = [getattr(players, name) for name in PLAYERS]
    buffers = [buffer for network in networks for buffer in network.buffers()]
    before = [buffer.clone() for buffer in buffers]
    consensus_term(objective, players, batch)["consensus"].backward()
    assert buffers
    assert all(torch.equal(*pair) for pair in zip(buffers, before, strict=True))


def test_the_image_pool_is_left_alone():
    objective, players, batch = make("unpaired", pool_size=1)
    without = consensus_term(objective, players, batch)["consensus"]
    stored = {domain: batch.of(domain)[0].clone() for domain in DOMAINS}
    for domain, pool in objective.pools.items():
        pool.images = [stored[domain]]
    assert torch.equal(consensus_term(objective, players, batch)["consensus"], without)
    assert all(pool.images == [stored[domain]] for domain, pool in objective.pools.items())


# Games of two numbers


def bilinear(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return x * y, -x * y


def dirac_gan(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """A generator of the one point x, a judge with the slope y, data at 0 (Mescheder, 2018)."""
    return -F.softplus(-x * y), F.softplus(-x * y)


def distance_played(game, gamma: float, moves: int, rate: float = 0.1) -> float:
    """Distance to the equilibrium (0, 0) after simultaneous gradient descent from (1, 1)."""
    x, y = (torch.ones((), dtype=torch.float64, requires_grad=True) for _ in "xy")
    for _ in range(moves):
        losses = game(x, y)
        r = gamma * consensus_regulariser(losses, [[x], [y]])
        gradients = [
            torch.autograd.grad(loss + r, own, retain_graph=True)[0]
            for loss, own in zip(losses, (x, y), strict=True)
        ]
        with torch.no_grad():
            for own, gradient in zip((x, y), gradients, strict=True):
                own -= rate * gradient
    return length((x, y))


def test_consensus_turns_a_bilinear_games_outward_spiral_into_an_inward_one():
    # A move turns (x, y) by a right angle and scales it by the rate, 0.1; R is |(x, y)|^2 / 2.
    factors = {gamma: ((1 - 0.1 * gamma) ** 2 + 0.1**2) ** 0.5 for gamma in (0.0, 1.0)}
    for gamma, factor in factors.items():
        played = distance_played(bilinear, gamma, moves=100)
        assert played == pytest.approx(2**0.5 * factor**100, rel=1e-9)
    assert factors[1.0] < 1 < factors[0.0]


def test_consensus_leads_the_dirac_gan_to_its_equilibrium():
    assert distance_played(dirac_gan, 0.0, moves=400) > 2**0.5
    assert distance_played(dirac_gan, 1.0, moves=400) < 1e-3


# In a training step


def trainer(kind="unpaired", precision="no", double=False, **losses) -> tuple[Trainer, Batch]:
    torch.manual_seed(1)
    objective, players, batch = make(kind, **losses)
    if not double:
        for name in PLAYERS:
            getattr(players, name).float()
        batch = Batch(batch.a.float(), batch.b.float())
    AcceleratorState._reset_state()  # of another precision
    accelerator = Accelerator(cpu=True, mixed_precision=precision)
    return Trainer(players, objective, OptimizerConfig(), 10, 0, accelerator), batch


def gradients_of_a_step(kind: str, gamma: float) -> list[Tensor]:
    """What reaches the optimizers."""
    made, batch = trainer(kind, double=True, consensus_weight=gamma)
    found = []
    for optimizer in made._optimizers.values():
        own = optimizer.param_groups[0]["params"]
        optimizer.step = lambda own=own: found.extend(weight.grad.clone() for weight in own)
    made.step(batch, 0)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_adds_the_terms_gradient_to_that_of_every_network(kind):
    made, batch = trainer(kind, double=True)
    term = consensus_term(made.objective, made.players, batch)["consensus"]
    expected = torch.autograd.grad(term, weights(made.players))
    without, with_it = gradients_of_a_step(kind, 0.0), gradients_of_a_step(kind, GAMMA)
    for plain, regularised, own in zip(without, with_it, expected, strict=True):
        # The sum is rounded to float64's 16 digits, relative to the larger of its two terms;
        # biases before a normalisation have nothing but rounding noise, far below 1e-6.
        torch.testing.assert_close(regularised - plain, own, rtol=1e-9, atol=1e-6)


def test_without_its_weight_a_step_does_not_compute_it(monkeypatch):
    monkeypatch.delattr(step_module, "consensus_term")
    made, batch = trainer(consensus_weight=0.0)
    assert "consensus" not in made.step(batch, 0)


def test_it_is_told_among_the_losses_in_float32_whatever_the_precision():
    told = []
    for precision in ("no", "bf16"):
        made, batch = trainer(precision=precision)
        expected = consensus_term(made.objective, made.players, batch)["consensus"]
        losses = made.step(batch, 0)
        assert torch.equal(losses["consensus"], expected)
        assert not losses["consensus"].requires_grad
        told.append(losses["consensus"])
    assert torch.equal(*told)


def test_its_memory_is_predicted():
    config = RunConfig(
        generator=GeneratorConfig(width=4, depth=2, memory="naive"),
        discriminator=DiscriminatorConfig(width=4),
        losses=LossConfig(consensus_weight=GAMMA, pool_size=0),
        runtime=RuntimeConfig("cpu", "float32"),
    )
    predicted = predict_training(Workload(config, size=32)).peak
    made = make_trainer(config, 2, (3, 3), make_accelerator(config.runtime), total=10)
    batch = Batch(*(torch.rand(1, 3, 32, 32) for _ in DOMAINS))
    made.step(batch, 0)  # optimizer states stay allocated between steps from now on
    measured = measure_step(lambda: made.step(batch, 1)).peak
    # Equal but for temporaries of kernels, which depend on the kind of CPU.
    assert predicted == pytest.approx(measured, rel=0.03)
