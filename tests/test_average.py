"""The average of the weights: what it is, and that it goes on where it stopped."""

from dataclasses import replace

import pytest
import torch

from revgan.networks import RevGenerator, build_generator
from revgan.training.average import WeightAverage
from revgan.training.config import RuntimeConfig, TrainingConfig
from revgan.training.prediction import predict_training
from revgan.training.setup import make_accelerator, make_trainer
from test_step import batch, same
from trainings import TOLERANCE, known_kernels, measured, workload


def generator(**options) -> RevGenerator:
    return RevGenerator(width=2, depth=1, **options)


def filled(network: RevGenerator, value: float) -> RevGenerator:
    """The same with every weight and statistic at one value."""
    for tensor in network.state_dict().values():
        tensor.fill_(value)
    return network


def values(average: WeightAverage) -> set[float]:
    return {number for x in average.network.parameters() for number in x.flatten().tolist()}


def test_early_steps_count_more_than_the_decay_says():
    average = WeightAverage(filled(generator(), 0.0), decay=0.5)
    average.update(filled(generator(), 1.0), step=0)  # 1 / 10 of the old stays
    assert values(average) == {torch.tensor(0.9).item()}
    average.start(filled(generator(), 0.0).state_dict())
    average.update(filled(generator(), 1.0), step=1000)
    assert values(average) == {0.5}


def test_running_statistics_are_averaged_and_batches_counted():
    average = WeightAverage(filled(generator(norm="batch"), 0), decay=0.5)
    average.update(filled(generator(norm="batch"), 4), step=1000)
    buffers = dict(average.network.named_buffers())
    assert {name.rpartition(".")[2] for name in buffers} == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }
    for name, buffer in buffers.items():
        assert (buffer == (4 if name.endswith("num_batches_tracked") else 2)).all(), name


def averaged(ema: float | None, kind: str = "unpaired", precision="float32", **training):
    work = workload(kind, "reversible", width=4, depth=2, judge=4)
    training = TrainingConfig(ema=ema, **training)
    config = replace(work.config, training=training, runtime=RuntimeConfig("cpu", precision))
    return make_trainer(config, 2, (3, 3), make_accelerator(config.runtime), total=20)


@pytest.mark.parametrize("kind", ["unpaired", "paired"])
def test_training_is_the_same_beside_an_average(kind):
    with_average, without = averaged(0.9, kind), averaged(None, kind)
    for step in range(3):
        for trainer in (with_average, without):
            trainer.step(batch(step), step)
    ours, theirs = with_average.state(), without.state()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert {name.split(".")[0] for name in ours.keys() - theirs.keys()} == {"average"}


def test_the_model_is_the_average_of_the_weights_so_far():
    trainer = averaged(0.5)
    expected = {name: x.clone() for name, x in trainer.players.generator.named_parameters()}
    for step in range(3):
        trainer.step(batch(step), step)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, weight in trainer.players.generator.named_parameters():
            expected[name] += (1 - decay) * (weight.detach() - expected[name])
    model = dict(trainer.model.named_parameters())
    assert not any(weight.requires_grad for weight in model.values())
    # One rounding a step, of one formula and the other.
    assert all(torch.allclose(model[name], x, rtol=1e-6, atol=1e-9) for name, x in expected.items())
    assert averaged(None).model is not trainer.model


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_loaded_state_continues_in_the_same_bits(precision):
    through = averaged(0.9, precision=precision)
    for step in range(4):
        through.step(batch(step), step)
        if step == 1:
            saved = {key: value.clone() for key, value in through.state().items()}
    resumed = averaged(0.9, precision=precision)
    resumed.load_state(saved)
    for step in range(2, 4):
        resumed.step(batch(step), step)
    assert same(through, resumed)


def test_an_average_that_is_asked_for_later_starts_from_the_generator():
    without, with_average = averaged(None), averaged(0.9)
    without.step(batch(0), 0)
    with_average.load_state(without.state())
    ours = with_average.model.state_dict()
    theirs = without.players.generator.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    without.load_state(with_average.state())  # and the other way round, it is left out
    assert without.model is without.players.generator


@known_kernels
def test_the_planner_counts_the_average():
    plain = workload(memory="lean", depth=1)
    work = replace(plain, config=replace(plain.config, training=TrainingConfig(ema=0.999)))
    prediction, without = predict_training(work), predict_training(plain)
    weights = sum(x.nbytes for x in build_generator(plain.config.generator, 2, 3, 3).parameters())
    assert prediction.parameters - without.parameters == weights
    assert prediction.held - without.held == weights
    assert prediction.peak == without.peak
    assert prediction.peak == pytest.approx(measured(work), rel=TOLERANCE)


@pytest.mark.parametrize("ema", [0.0, 1.0, -0.5])
def test_a_decay_that_is_none_is_refused(ema):
    with pytest.raises(ValueError, match="ema must be null, or above 0 and below 1"):
        TrainingConfig(ema=ema)
