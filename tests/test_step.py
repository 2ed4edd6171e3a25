"""One training step, and the state that continues it."""

import copy
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import Adam

from revgan.networks import PatchDiscriminator, RevGenerator
from revgan.training.batch import Batch
from revgan.training.config import LossConfig, OptimizerConfig, RuntimeConfig
from revgan.training.objectives import Objective, Players, build_objective
from revgan.training.setup import make_accelerator
from revgan.training.step import Trainer, decay, frozen


def make(kind="unpaired", precision="no", memory="reversible", seed=0, norm="instance") -> Trainer:
    torch.manual_seed(1)
    objective = build_objective(kind, LossConfig(pool_size=2))
    judged = objective.judged_channels(3, 3)
    judges = [PatchDiscriminator(in_channels=judged, width=4, norm=norm) for _ in range(2)]
    players = Players(RevGenerator(width=4, depth=2, memory=memory, norm=norm), *judges)
    AcceleratorState._reset_state()  # of another precision
    accelerator = Accelerator(cpu=True, mixed_precision=precision)
    return Trainer(players, objective, OptimizerConfig(), 20, seed, accelerator)


def batch(step: int) -> Batch:
    draws = torch.Generator().manual_seed(step)
    return Batch(*(torch.rand(1, 3, 32, 32, generator=draws) * 2 - 1 for _ in range(2)))


def same(one: Trainer, other: Trainer) -> bool:
    ours, theirs = one.state(), other.state()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("kind", ["unpaired", "paired"])
def test_every_weight_of_every_player_moves(kind):
    trainer = make(kind)
    before = {key: value.clone() for key, value in trainer.state().items()}
    for step in range(2):
        losses = trainer.step(batch(step), step)
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert not any(loss.requires_grad for loss in losses.values())
    for key, value in trainer.state().items():
        if key.endswith("weight") and key in before:
            assert not torch.equal(value, before[key]), key


def plain_step(players: Players, kind: str, batch: Batch, lr: float) -> None:
    """One step as CycleGAN's and pix2pix's papers write it: joint losses, fresh optimizers."""
    net, judge_a, judge_b = players.generator, players.judge_a, players.judge_b
    optimizer = Adam(net.parameters(), lr, (0.5, 0.999))
    fake_b, fake_a = net(batch.a, "AtoB"), net(batch.b, "BtoA")
    if kind == "unpaired":
        real_shown, fake_shown = (batch.a, batch.b), (fake_a, fake_b)
        cycle = F.l1_loss(net(fake_b, "BtoA"), batch.a) + F.l1_loss(net(fake_a, "AtoB"), batch.b)
        same = F.l1_loss(net(batch.a, "BtoA"), batch.a) + F.l1_loss(net(batch.b, "AtoB"), batch.b)
        loss = 10 * cycle + 5 * same
    else:
        real_shown = torch.cat((batch.b, batch.a), 1), torch.cat((batch.a, batch.b), 1)
        fake_shown = torch.cat((batch.b, fake_a), 1), torch.cat((batch.a, fake_b), 1)
        loss = 100 * (F.l1_loss(fake_a, batch.a) + F.l1_loss(fake_b, batch.b))
    for judge, shown in zip((judge_a, judge_b), fake_shown, strict=True):
        loss = loss + (judge(shown) - 1).square().mean()
    loss.backward()
    optimizer.step()
    for judge, real, fake in zip((judge_a, judge_b), real_shown, fake_shown, strict=True):
        judge.zero_grad()  # of the generator's loss
        optimizer = Adam(judge.parameters(), lr, (0.5, 0.999))
        real_loss, fake_loss = (judge(real) - 1).square().mean(), judge(fake.detach()).square()
        (0.5 * (real_loss + fake_loss.mean())).backward()
        optimizer.step()


@pytest.mark.parametrize("kind", ["unpaired", "paired"])
def test_a_step_moves_the_weights_as_the_papers_write_it(kind):
    trainer = make(kind)
    players = copy.deepcopy(trainer.players)
    step = 15  # of 20: the learning rate is halved there
    trainer.step(batch(step), step)
    plain_step(players, kind, batch(step), lr=2e-4 / 2)
    for player in ("generator", "judge_a", "judge_b"):
        ours, plain = getattr(trainer.players, player), getattr(players, player)
        for (name, weight), other in zip(ours.named_parameters(), plain.parameters(), strict=True):
            if name.endswith("bias") and not torch.allclose(weight, other, atol=1e-7):
                continue  # before a normalisation, its gradient is nothing but rounding noise
            # A first Adam step has the size of the learning rate, whatever the gradient's: weights
            # agree far better than that, but for gradients that are next to nothing.
            differing = (weight - other).abs() > 1e-6
            assert differing.float().mean() < 0.01, (player, name)


@pytest.mark.parametrize("kind", ["unpaired", "paired"])
def test_a_loaded_state_continues_in_the_same_bits(kind):
    through = make(kind)
    for step in range(6):
        through.step(batch(step), step)
        if step == 2:
            saved = {key: value.clone() for key, value in through.state().items()}
    resumed = make(kind)
    resumed.load_state(saved)
    for step in range(3, 6):
        resumed.step(batch(step), step)
    assert same(through, resumed)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_memory_modes_train_in_the_same_bits(precision):
    trainers = [make(memory=memory, precision=precision) for memory in ("naive", "reversible")]
    for step in range(4):
        for trainer in trainers:
            trainer.step(batch(step), step)
    assert same(*trainers)


def test_bf16_trains_to_nearly_the_same_losses():
    full, half = make(), make(precision="bf16")
    ours, theirs = full.step(batch(0), 0), half.step(batch(0), 0)
    for name, loss in ours.items():
        # bfloat16 keeps 8 bits: 0.4% a rounding, a few of which add up.
        assert theirs[name] == pytest.approx(loss.item(), rel=0.05), name
    assert all(value.dtype == torch.float32 for value in half.state().values())


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
def test_a_cpu_that_computes_bf16_slowly_is_named(monkeypatch, capability):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for precision in ("auto", "float32", "bf16"):
            make_accelerator(RuntimeConfig(device="cpu", precision=precision))
    expected = ["this CPU has no AVX-512"] if capability == "AVX2" else []
    assert [str(one.message).split(",")[0] for one in said] == expected


def test_dropout_and_the_image_pools_draw_from_streams_of_their_own(monkeypatch):
    """With one seed for both, what a pool exchanges would depend on the first dropout mask."""
    seeds = []
    trainer, judged = make(seed=7), Objective.judged_fakes

    def watched(self, domain, fakes, draws):
        seeds.append((torch.initial_seed(), draws.initial_seed()))
        return judged(self, domain, fakes, draws)

    monkeypatch.setattr(Objective, "judged_fakes", watched)
    for step in range(2):
        trainer.step(batch(step), step)
    # Both judges' draws are from the step's two streams, and the next step has two others.
    assert seeds[0] == seeds[1]
    assert seeds[2] == seeds[3]
    assert len({*seeds[0], *seeds[2]}) == 4
    # Dropout's is that of (seed, step, rank) alone: masks are those of earlier versions.
    assert seeds[0][0] == np.random.SeedSequence((7, 0, 0)).generate_state(1, np.uint64)[0] >> 1


def test_another_networks_state_is_refused():
    trainer = make()
    with pytest.raises(RuntimeError):
        trainer.load_state(make("paired").state())


def test_the_learning_rate_is_fixed_for_half_of_the_steps_then_linear_to_zero():
    assert [decay(step, 8) for step in range(9)] == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]


@given(total=st.integers(1, 1000))
def test_the_learning_rate_never_rises_and_ends_at_zero(total):
    factors = [decay(step, total) for step in range(total + 1)]
    assert factors[0] == 1
    assert factors[-1] == 0
    assert all(a >= b for a, b in pairwise(factors))


def test_frozen_weights_thaw_again_even_after_an_error():
    weight = torch.nn.Parameter(torch.zeros(1))
    with frozen([weight]):
        assert not weight.requires_grad
    assert weight.requires_grad
    with pytest.raises(ZeroDivisionError), frozen([weight]):
        weight.data.fill_(1 / 0)
    assert weight.requires_grad
