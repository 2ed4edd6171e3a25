"""Whole runs with prepared images in memory or on the disk: the same results, and what is told."""

import json
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file

from revgan.cli import main
from revgan.data import cache as disk
from revgan.data.formats.files import OpenScan
from revgan.training import data as training_data
from test_cli import make_images, sentence, train


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def uncached(images):
    run = images.parent / "uncached-run"
    shutil.rmtree(run, ignore_errors=True)
    assert train(images, run, data__resize=34) == 0
    assert main(["evaluate", str(run)]) == 0
    return run


@pytest.mark.parametrize(
    ("cache", "told"),
    [
        ("memory", "Prepared images take 0.1 MiB of memory"),  # 8 of 34 x 38 float32 RGB
        ("disk", "Prepared images, of this and other runs, take 0.0 MiB in"),  # they are all alike
    ],
)
def test_a_run_and_its_scores_are_the_same_bits(
    capsys, images, uncached, tmp_path, monkeypatch, cache, told
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = tmp_path / "run"
    assert train(images, run, data__resize=34, data__cache=cache, runtime__workers=2) == 0
    assert told in capsys.readouterr().out
    one, other = (load_file(root / "model" / "model.safetensors") for root in (uncached, run))
    assert all(np.array_equal(one[key], other[key]) for key in one)
    monkeypatch.setattr(training_data, "free_budget", lambda _: 0)  # evaluation keeps none there
    assert main(["evaluate", str(run)]) == 0
    assert json.loads((run / "scores.json").read_text()) == json.loads(
        (uncached / "scores.json").read_text()
    )
    assert disk.folder().is_dir() == (cache == "disk")


def test_a_resumed_run_finds_the_images_on_the_disk(capsys, images, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert train(images, tmp_path / "run", data__cache="disk") == 0
    monkeypatch.setattr(OpenScan, "read", None)
    assert main(["train", "--resume", str(tmp_path / "run"), "--training.steps=3"]) == 0
    shutil.rmtree(disk.folder())
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["train", "--resume", str(tmp_path / "run"), "--training.steps=4"]) == 0
    assert any(disk.folder().iterdir())


def test_too_little_memory_is_told_before_anything_is_written(
    capsys, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(training_data, "free_budget", lambda _: 10_000)
    code = train(images, tmp_path / "run", data__cache="memory")
    assert "data.cache memory needs about" in sentence(capsys, code, 1)
    assert not (tmp_path / "run").exists()
