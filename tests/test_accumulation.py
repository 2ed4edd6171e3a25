"""Batches in parts, learning-rate schedules, and a limit on time."""

import pytest
import torch
from accelerate import Accelerator

from revgan.networks import DiscriminatorConfig, GeneratorConfig
from revgan.training.batch import Batch
from revgan.training.config import LossConfig, OptimizerConfig, RunConfig, TrainingConfig
from revgan.training.prediction import Workload, predict_training
from revgan.training.setup import make_trainer
from small_runs import configuration, run, weights, write_images

PLAIN = {
    "generator": GeneratorConfig(width=4, depth=2, memory="reversible", norm="none"),
    "discriminator": DiscriminatorConfig(width=4, norm="none"),
}


def trainer(objective, **training):
    config = RunConfig(objective, **PLAIN, training=TrainingConfig(**training))
    return make_trainer(config, 2, (1, 1), Accelerator(cpu=True), total=10)


def images(count):
    draws = torch.Generator().manual_seed(0)
    return Batch(*(torch.rand(count, 1, 24, 24, generator=draws) * 2 - 1 for _ in "ab"))


def masked(count):
    """The same with masks that cover from all of an image to nothing, and missing data."""
    whole = images(count)
    inside = torch.zeros(2, count, 1, 24, 24, dtype=torch.bool)
    for place in range(count - 1):
        inside[0, place, :, : 24 - 7 * place, 3 * place :] = True
        inside[1, place, :, 5 * place :, : 24 - 4 * place] = True
    whole.a[1, :, 4:9] = torch.nan
    whole.b[2, :, :, 11:] = torch.nan
    fill = torch.full((1, 1, 1), -1.0)
    return Batch.with_gaps(whole.a, whole.b, fill, fill, (inside[0], inside[1]))


@pytest.mark.parametrize("make", [images, masked], ids=["everywhere", "in masks"])
@pytest.mark.parametrize("objective", ["unpaired", "paired"])
def test_accumulating_over_parts_equals_one_batch(objective, make):
    at_once, in_parts = trainer(objective, batch_size=4), trainer(objective, accumulate=4)
    for step in range(2):  # the second sees what the first made of weights, moments and pools
        one, other = at_once.step(make(4), step), in_parts.step(make(4), step)
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=1e-6, atol=1e-6)
    ours, theirs = in_parts.state(), at_once.state()
    # Adam divides by a gradient's size: where that is rounding, so is the direction.
    for name in (name for name in ours if "exp_avg" in name):
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-6)
    losses = in_parts.losses(make(4))
    for name, loss in at_once.losses(make(4)).items():
        torch.testing.assert_close(losses[name], loss, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("objective", ["unpaired", "paired"])
def test_gradients_in_masks_are_those_of_one_batch(objective):
    """By value: what a first step leaves in Adam is half of each gradient."""
    at_once, in_parts = trainer(objective, batch_size=4), trainer(objective, accumulate=4)
    for one in (at_once, in_parts):
        one.step(masked(4), 0)
    ours, theirs = in_parts.state(), at_once.state()
    for network in ("generator", "a", "b"):
        names = [name for name in ours if name.startswith(f"adam_{network}.")]
        names = [name for name in names if name.endswith("exp_avg")]
        largest = max(float(theirs[name].abs().max()) for name in names)
        apart = max(float((ours[name] - theirs[name]).abs().max()) for name in names)
        assert apart <= 1e-6 * largest, (network, apart / largest)


def test_parts_need_the_memory_of_one():
    config = RunConfig(**PLAIN)
    needs = [
        predict_training(
            Workload(RunConfig(**PLAIN, training=TrainingConfig(**training)), 64, 2, (1, 1))
        ).activations
        for training in ({}, {"accumulate": 4}, {"batch_size": 4})
    ]
    assert config.training.samples == 1
    assert needs[0] < needs[1] < 1.5 * needs[0] < needs[2]


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({}, [1, 1, 1, 0.75, 0.25]),
        ({"schedule": "cosine"}, [1, 0.853553, 0.691342, 0.308658, 0.038060]),
        ({"schedule": "constant", "warmup": 4}, [0.25, 0.5 + 0.25, 1, 1, 1]),
        ({"warmup": 8}, [0.125, 0.375, 0.5, 0.5625, 0.25]),
    ],
)
def test_the_learning_rate_follows_its_schedule(options, rates):
    made = trainer("unpaired")
    made.total_steps, made.config = 8, OptimizerConfig(lr=1, **options)
    steps = (0, 2, 3, 5, 7)
    assert [made.learning_rate(step) for step in steps] == pytest.approx(rates, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: OptimizerConfig(schedule="steps"), "schedule must be one of linear, cosine"),
        (lambda: OptimizerConfig(warmup=-1), "warmup must be 0 or more"),
        (lambda: TrainingConfig(max_hours=0), "max_hours must be null or above 0, not 0"),
        (lambda: TrainingConfig(max_hours=float("nan")), "max_hours must be"),
        (lambda: TrainingConfig(accumulate=0), "accumulate must be 1 or more"),
        (
            lambda: RunConfig(
                losses=LossConfig(consensus_weight=1), training=TrainingConfig(accumulate=2)
            ),
            "training.accumulate must be 1 with losses.consensus_weight",
        ),
    ],
)
def test_values_that_make_no_sense_are_refused(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()


def test_a_limit_on_time_ends_a_run_that_resumes_to_the_same_bits(tmp_path):
    folder = write_images(tmp_path)
    options = {"steps": 3, "accumulate": 2, "validate_every": None, "sample_every": 100}
    run(configuration(folder, **options), tmp_path / "whole")
    short = configuration(folder, **options, max_hours=1e-9)
    done = 0
    while done < 3:  # each ends after its first step
        outcome, _ = run(short, tmp_path / "short", resume=done > 0)
        done += 1
        assert (outcome.steps, outcome.signal) == (done, None)
    ours, theirs = weights(tmp_path / "short"), weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
