"""A direction whose translations no longer depend on the input is told while it trains."""

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from revgan.errors import Notice
from revgan.networks import DiscriminatorConfig, GeneratorConfig, RevGenerator
from revgan.networks.pretrained import save_generator
from revgan.training import constancy
from revgan.training.batch import Batch
from revgan.training.config import RunConfig, TrainingConfig
from revgan.training.setup import make_trainer
from small_runs import configuration, run, write_images

SIZE = 24


def trainer(accumulate=1):
    config = RunConfig(
        "unpaired",
        generator=GeneratorConfig(width=4, depth=1, memory="reversible", init="kaiming"),
        discriminator=DiscriminatorConfig(width=4),
        training=TrainingConfig(accumulate=accumulate),
    )
    return make_trainer(config, 2, (1, 1), Accelerator(cpu=True), total=1000)


def kill(generator):
    """Saturates what comes out in B, so that no gradient gets past tanh."""
    nn.init.constant_(last_layer(generator).bias, 50.0)


def last_layer(generator):
    return [layer for layer in generator.decoder_b.modules() if isinstance(layer, nn.Conv2d)][-1]


def batch(value=None, gaps=False):
    draws = torch.Generator().manual_seed(0)
    a, b = (torch.rand(2, 1, SIZE, SIZE, generator=draws) * 2 - 1 for _ in "ab")
    if value is not None:
        a = torch.full_like(a, value)
    if not gaps:
        return Batch(a, b)
    a[..., :4], b[..., -4:] = torch.nan, torch.nan
    fill = torch.full((1, 1, 1), -1.0)
    return Batch.with_gaps(a, b, fill, fill)


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "with gaps"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_dead_direction_is_told_once_after_a_hundred_steps_of_it(gaps, accumulate):
    training = trainer(accumulate)
    training.step(batch(gaps=gaps), 0)
    assert training.constancy.told(1) == []
    kill(training.players.generator)
    training.step(batch(gaps=gaps), 1)
    assert training.constancy.told(2) == training.constancy.told(101) == []
    (sentence,) = training.constancy.told(102)
    assert sentence.startswith(
        "translations AtoB have been one and the same value since step 2, whatever the input"
    )
    assert training.constancy.told(202) == []


def test_flat_input_and_recovered_directions_are_not_called_dead():
    training = trainer()
    kill(training.players.generator)
    training.step(batch(value=0.3), 0)  # of an even sea, an even map is right
    assert training.constancy.told(1) == training.constancy.told(500) == []
    training.step(batch(), 1)
    assert training.constancy.told(501) == []
    nn.init.zeros_(last_layer(training.players.generator).bias)
    training.step(batch(), 2)
    assert training.constancy.told(700) == []  # it counts anew


def test_a_run_tells_of_it_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(constancy, "PATIENCE", 2)
    generator = RevGenerator(width=4, depth=2)
    kill(generator)
    save_generator(generator, tmp_path / "dead")
    images = tmp_path / "images"
    images.mkdir()
    config = configuration(
        write_images(images), steps=4, log_every=1, pretrained=str(tmp_path / "dead")
    )
    with pytest.warns(
        Notice, match="translations AtoB have been one .* since step 1, .*tanh false"
    ):
        outcome, _ = run(config, tmp_path / "run")
    assert outcome.finished


def test_a_run_looks_only_in_steps_whose_losses_it_writes(tmp_path, monkeypatch):
    asked = []
    look = constancy.Constancy.look

    def noting(self, parts):
        asked.append(self.asked)
        before = dict(self._ranges)
        look(self, parts)
        assert (self._ranges.get("AtoB") is not before.get("AtoB")) == self.asked

    monkeypatch.setattr(constancy.Constancy, "look", noting)
    images = tmp_path / "images"
    images.mkdir()
    sparse = {"validate_every": None, "sample_every": 9, "checkpoint_every": 9}
    run(configuration(write_images(images), steps=5, log_every=2, **sparse), tmp_path / "run")
    assert asked == [False, True, False, True, True]
