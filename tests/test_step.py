"""One training step, and the state that continues it."""

from itertools import pairwise

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from hypothesis import given
from hypothesis import strategies as st

from revgan.networks import PatchDiscriminator, RevGenerator
from revgan.training.config import OptimizerConfig
from revgan.training.objectives import Batch, LossConfig, Players, build_objective
from revgan.training.step import Trainer, decay, frozen


def make(kind="unpaired", precision="no", memory="reversible", seed=0) -> Trainer:
    torch.manual_seed(1)
    objective = build_objective(kind, LossConfig(pool_size=2))
    judged = objective.judged_channels(3, 3)
    judges = [PatchDiscriminator(in_channels=judged, width=4) for _ in range(2)]
    players = Players(RevGenerator(width=4, depth=2, memory=memory), *judges)
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


def test_discriminators_are_trained_after_the_generator_and_by_their_own_terms_only():
    trainer = make()
    trainer.step(batch(0), 0)
    assert all(p.grad is None for p in trainer.players.judge_a.parameters())
    assert all(p.grad is None for p in trainer.players.generator.parameters())
    assert all(p.requires_grad for p in trainer.players.judge_a.parameters())


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


def test_memory_modes_train_in_the_same_bits():
    trainers = [make(memory=memory) for memory in ("naive", "reversible")]
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
