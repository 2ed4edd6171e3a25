"""The objectives: their terms, and the gradients of terms backpropagated one by one."""

import pytest
import torch
import torch.nn.functional as F

from revgan.networks import PatchDiscriminator, RevGenerator
from revgan.training.batch import Batch
from revgan.training.config import LossConfig
from revgan.training.losses import total
from revgan.training.objectives import Fakes, Players, build_objective

SIZE = 32


def make(kind: str, norm: str = "instance", **losses):
    objective = build_objective(kind, LossConfig(**losses))
    judged = objective.judged_channels(3, 3)
    judges = [PatchDiscriminator(in_channels=judged, width=4, norm=norm) for _ in range(2)]
    players = Players(RevGenerator(width=4, depth=2), *judges)
    a, b = (torch.rand(2, 3, SIZE, SIZE) * 2 - 1 for _ in range(2))
    return objective, players, Batch(a, b)


def generator_gradients(players: Players) -> list[torch.Tensor]:
    return [p.grad.clone() for p in players.generator.parameters()]


def backpropagate(terms) -> dict[str, float]:
    losses = {}
    for term in terms:
        sum(term.values()).backward()
        losses |= {name: loss.item() for name, loss in term.items()}
    return losses


def unpaired_loss(players: Players, batch: Batch) -> torch.Tensor:
    """CycleGAN's objective for both generators, written as one sum."""
    net = players.generator
    fake_b, fake_a = net(batch.a, "AtoB"), net(batch.b, "BtoA")
    gan = F.mse_loss(players.judge_b(fake_b), torch.ones(2, 1, 2, 2)) + F.mse_loss(
        players.judge_a(fake_a), torch.ones(2, 1, 2, 2)
    )
    cycle = F.l1_loss(net(fake_b, "BtoA"), batch.a) + F.l1_loss(net(fake_a, "AtoB"), batch.b)
    identity = F.l1_loss(net(batch.a, "BtoA"), batch.a) + F.l1_loss(net(batch.b, "AtoB"), batch.b)
    return gan + 10 * cycle + 10 * 0.5 * identity


def paired_loss(players: Players, batch: Batch) -> torch.Tensor:
    """Pix2pix's objective in both directions, written as one sum."""
    net = players.generator
    fake_b, fake_a = net(batch.a, "AtoB"), net(batch.b, "BtoA")
    gan = F.mse_loss(
        players.judge_b(torch.cat((batch.a, fake_b), 1)), torch.ones(2, 1, 2, 2)
    ) + F.mse_loss(players.judge_a(torch.cat((batch.b, fake_a), 1)), torch.ones(2, 1, 2, 2))
    return gan + 100 * (F.l1_loss(fake_b, batch.b) + F.l1_loss(fake_a, batch.a))


@pytest.mark.parametrize(
    ("kind", "joint_loss"), [("unpaired", unpaired_loss), ("paired", paired_loss)]
)
def test_terms_one_by_one_have_the_gradient_of_the_joint_loss(kind, joint_loss):
    objective, players, batch = make(kind)
    losses = backpropagate(objective.generator_terms(players, batch, Fakes()))
    one_by_one = generator_gradients(players)
    players.generator.zero_grad()
    joint = joint_loss(players, batch)
    joint.backward()
    assert sum(losses.values()) == pytest.approx(joint.item(), rel=1e-6)
    for ours, theirs in zip(one_by_one, generator_gradients(players), strict=True):
        # The same terms, summed in another order; biases before a normalisation have gradient 0.
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "joint_loss"), [("unpaired", unpaired_loss), ("paired", paired_loss)]
)
def test_joint_terms_are_the_same_losses_in_one_graph(kind, joint_loss):
    objective, players, batch = make(kind)
    terms, fakes = objective.joint_terms(players, batch)
    weights = list(players.generator.parameters())
    ours = torch.autograd.grad(total(terms), weights, retain_graph=True)
    theirs = torch.autograd.grad(joint_loss(players, batch), weights)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)  # as above
    assert fakes.a.requires_grad
    assert fakes.b.requires_grad
    one_by_one = backpropagate(objective.generator_terms(players, batch, Fakes()))
    assert one_by_one == {name: loss.item() for name, loss in terms.items()}


@pytest.mark.parametrize("memory", ["naive", "reversible", "lean"])
@pytest.mark.parametrize("kind", ["unpaired", "paired"])
def test_blank_images_leave_no_gradient_in_the_generator(kind, memory):
    """Theirs would overflow: 316 times larger with each normalisation."""
    objective, players, batch = make(kind)
    generator = RevGenerator(width=4, depth=12, memory=memory)
    for weight in generator.parameters():
        weight.data.mul_(5)  # as after some training
    players = Players(generator, players.judge_a, players.judge_b)
    blank = torch.full_like(batch.a, -0.3)
    blank[:, 1] = 1.0

    backpropagate(objective.generator_terms(players, Batch(blank, blank), Fakes()))

    gradients = generator_gradients(players)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    if kind == "paired":  # unpaired, what is made of blank images teaches the way back
        assert not any(gradient.any() for gradient in gradients)


def test_blank_images_take_nothing_from_the_others_of_a_batch():
    objective, players, batch = make("paired")
    for network in (players.generator, players.judge_a, players.judge_b):
        network.double()
    blank = batch.a.double()
    blank[0] = 0.5
    with_blank = {}
    for images in (blank[1:], blank):
        players.generator.zero_grad()
        terms = objective.generator_terms(players, Batch(images, images), Fakes())
        backpropagate(
            {"l1": value} for term in terms for name, value in term.items() if "l1" in name
        )
        with_blank[len(images)] = generator_gradients(players)
    for alone, together in zip(with_blank[1], with_blank[2], strict=True):
        # The loss is the mean over twice as many images, in other sums of float64.
        torch.testing.assert_close(together * 2, alone, rtol=1e-9, atol=1e-12)


def judge(objective, players, batch, fakes):
    draws = torch.Generator()
    losses = {}
    for domain in ("a", "b"):
        (fake,) = objective.judged_fakes(domain, [fakes], draws)
        terms = objective.discriminator_terms(domain, players, batch, fake)
        losses |= backpropagate(terms)
    return losses


def test_terms_are_named_after_their_losses():
    objective, players, batch = make("unpaired")
    fakes = Fakes()
    names = backpropagate(objective.generator_terms(players, batch, fakes))
    assert list(names) == [
        "identity_a",
        "identity_b",
        "gan_AtoB",
        "cycle_a",
        "gan_BtoA",
        "cycle_b",
    ]
    names = judge(objective, players, batch, fakes)
    assert list(names) == ["d_a_real", "d_a_fake", "d_b_real", "d_b_fake"]


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("kind", ["unpaired", "paired"])
def test_discriminators_learn_to_tell_real_from_fake_and_nothing_else(kind, norm):
    objective, players, batch = make(kind, norm)
    fakes = Fakes()
    backpropagate(objective.generator_terms(players, batch, fakes))
    for player in (players.generator, players.judge_a, players.judge_b):
        player.zero_grad()
    losses = judge(objective, players, batch, fakes)
    shown = (
        [batch.b, fakes.b]
        if kind == "unpaired"
        else [torch.cat((batch.a, image), 1) for image in (batch.b, fakes.b)]
    )
    real, fake = (players.judge_b(image) for image in shown)
    assert losses["d_b_real"] == pytest.approx(0.5 * (real - 1).square().mean().item(), rel=1e-5)
    assert losses["d_b_fake"] == pytest.approx(0.5 * fake.square().mean().item(), rel=1e-5)
    assert all(p.grad is None for p in players.generator.parameters())
    assert all(p.grad is not None for p in players.judge_a.parameters())


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(("norm", "passes"), [("instance", 1), ("none", 1), ("batch", 2)])
def test_batch_norm_gets_real_and_fake_images_one_after_the_other(norm, passes, together):
    objective, players, batch = make("unpaired", norm)
    seen = []
    players.judge_a.register_forward_pre_hook(lambda judge, inputs: seen.append(inputs[0]))
    objective.tell_apart("a", players, batch, batch.b, together=together)
    assert len(seen) == (passes if together else 2)
    assert torch.equal(torch.cat(seen), torch.cat((batch.a, batch.b)))


def test_without_identity_weight_its_passes_are_left_out():
    objective, players, batch = make("unpaired", identity_weight=0.0)
    names = backpropagate(objective.generator_terms(players, batch, Fakes()))
    assert not any(name.startswith("identity") for name in names)


def test_only_the_unpaired_objective_keeps_images():
    assert {name: pool.size for name, pool in make("unpaired")[0].pools.items()} == {
        "a": 50,
        "b": 50,
    }
    assert make("paired")[0].pools == {}


def test_domains_of_different_channels_train_paired():
    objective = build_objective("paired", LossConfig())
    players = Players(
        RevGenerator(in_channels=1, out_channels=3, width=4, depth=1),
        PatchDiscriminator(in_channels=objective.judged_channels(1, 3), width=4),
        PatchDiscriminator(in_channels=objective.judged_channels(3, 1), width=4),
    )
    batch = Batch(torch.rand(1, 1, SIZE, SIZE), torch.rand(1, 3, SIZE, SIZE))
    fakes = Fakes()
    backpropagate(objective.generator_terms(players, batch, fakes))
    judge(objective, players, batch, fakes)
    assert (fakes.a.shape[1], fakes.b.shape[1]) == (1, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"adversarial": "hinge"},
        {"cycle_weight": -1.0},
        {"pool_size": -1},
        {"consensus_weight": -1.0},
        {"consensus_weight": float("nan")},
    ],
)
def test_impossible_losses_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        LossConfig(**options)
