"""Validation: what is scored, against what, and that training goes on as before."""

import shutil
from dataclasses import replace

import pytest
import torch

from revgan.data.sets import DataConfig, open_data_set
from revgan.networks import RevGenerator
from revgan.scores.metrics import Scores, score_pairs
from revgan.training.best import Best
from revgan.training.config import RunConfig, RuntimeConfig, TrainingConfig
from revgan.training.setup import make_accelerator
from revgan.training.validation import flat, means, validate
from test_cli import make_images
from test_loop import configuration, run

CPU = RuntimeConfig(device="cpu")


def opened(config: RunConfig):
    return open_data_set(config.data, paired=config.paired)


def scores(config: RunConfig, generator: RevGenerator):
    return validate(generator, opened(config), config, make_accelerator(CPU))


@pytest.fixture
def config(tmp_path) -> RunConfig:
    images = make_images(tmp_path / "images", size=(70, 80))
    return RunConfig(data=DataConfig(path=str(images), crop=32), runtime=CPU)


def test_translations_of_middles_are_scored_against_the_truth(config):
    generator, data = RevGenerator(width=2, depth=1), opened(config)
    images = zip(map(data.b.load, data.b.test), map(data.a.load, data.a.test), strict=True)
    middle = (slice(None), slice(19, 51), slice(24, 56))
    pairs = [(generator(b[middle][None], "BtoA")[0], a[middle]) for b, a in images]
    assert scores(config, generator)["BtoA"] == score_pairs(pairs)


def test_where_no_truth_is_known_round_trips_are_scored(config, tmp_path):
    (tmp_path / "images" / "testB" / "1.png").rename(tmp_path / "images" / "testB" / "z.png")
    found = scores(config, RevGenerator(width=2, depth=1))
    assert found.keys() == {"AtoBtoA", "BtoAtoB"}
    assert "psnr_AtoBtoA" in flat(found)


def test_as_many_are_scored_as_asked_for(config):
    fewer = replace(config, training=TrainingConfig(validation_images=1))
    generator = RevGenerator(width=2, depth=1)
    assert scores(fewer, generator)["AtoB"].count == 1
    assert scores(config, generator)["AtoB"].count == 2


def test_validation_leaves_the_networks_as_they_are(config):
    generator = RevGenerator(width=2, depth=1, norm="batch", dropout=0.5)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    assert scores(config, generator) == scores(config, generator)
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())
    assert all(module.training for module in generator.modules())


def test_means_are_of_both_directions():
    found = {"AtoB": Scores(4.0, 20.0, 0.5, 2), "BtoA": Scores(8.0, 30.0, 0.75, 2)}
    assert means(found) == {"mae": 6.0, "psnr": 25.0, "ssim": 0.625}


def test_a_run_validates_on_val_where_there_is_one_and_says_so(tmp_path):
    root = make_images(tmp_path / "images")
    for domain in "AB":
        shutil.copytree(root / f"train{domain}", root / f"val{domain}")
    config = configuration(root)
    config = replace(config, data=replace(config.data, aligned=True))
    run(config, tmp_path / "own")
    for domain in "AB":
        shutil.rmtree(root / f"val{domain}")
    run(config, tmp_path / "none")
    splits = [Best.read(tmp_path / name / "best").split for name in ("own", "none")]
    assert splits == ["val", "test"]


def test_a_run_without_truth_keeps_no_best_model(tmp_path):
    root = make_images(tmp_path / "images")
    (root / "testB" / "1.png").rename(root / "testB" / "z.png")
    _, output = run(configuration(root), tmp_path / "run")
    assert "validation  AtoBtoA" in output
    assert "best" not in output
    assert not (tmp_path / "run" / "best").exists()


def test_a_run_without_held_out_images_or_interval_is_not_scored(tmp_path):
    root = make_images(tmp_path / "images", test=False)
    _, output = run(configuration(root), tmp_path / "run")
    never = configuration(make_images(tmp_path / "with-test"), validate_every=None)
    assert "validation" not in output + run(never, tmp_path / "never")[1]
