"""The trained models that come with the package."""

import json
from functools import partial

import numpy as np
import pytest
import yaml

from revgan import Translator
from revgan.cli import main
from revgan.data import sets
from revgan.data.datasets.earth import SMALL
from revgan.data.datasets.earth_map import write_earth_map
from revgan.evaluation import pretrained
from revgan.networks import GeneratorConfig
from revgan.networks.places import SHIPPED, StoredModel, shipped_models
from revgan.options.runs import preset_path

NAMES = shipped_models()


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_is_small_says_what_it_is_and_translates_both_ways(name):
    folder = SHIPPED / name
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8e6
    card = (folder / "README.md").read_text()
    licence = yaml.safe_load((folder / "about.yaml").read_text())["licence"]
    assert f"license: {licence}" in card
    translator = Translator.from_pretrained(name, "cpu")
    sizes = [40] * translator.generator.spatial_dims
    draws = np.random.default_rng(0)
    for direction in ("AtoB", "BtoA"):
        channels, made = translator.channels(direction)
        pixels = draws.integers(0, 256, (*sizes, channels), dtype=np.uint8)
        scan = pixels if len(sizes) == 2 else np.moveaxis(pixels, -1, 0).astype(np.float32)
        shape = (*sizes, made) if len(sizes) == 2 else (made, *sizes)
        assert translator(scan, direction).shape == shape


def test_the_command_lists_the_shipped_models(capsys):
    assert main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in listed] == NAMES
    assert main(["models"]) == 0
    assert all(name in capsys.readouterr().out for name in NAMES[:1])


def test_the_demo_fine_tunes_the_networks_that_its_model_has():
    options = yaml.safe_load(preset_path("demo-map").read_text())
    config, spatial_dims = StoredModel.find(SHIPPED / "earth").architecture()
    del options["generator"]["memory"]
    assert GeneratorConfig(**options["generator"]).architecture == config.architecture
    assert spatial_dims == 2


def test_the_demo_shows_its_model_and_fine_tunes_it_beside_a_training_from_scratch(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sets, "write_earth_map", partial(write_earth_map, layout=SMALL))
    places = pretrained.held_out_places()[:2]
    monkeypatch.setattr(pretrained, "held_out_places", lambda: places)
    run = tmp_path / "run"
    tiny = ["--training.steps=1", "--training.batch_size=1", "--data.crop=64"]
    assert main(["demo", "--compare", f"--run={run}", "--runtime.device=cpu", *tiny]) == 0
    told = capsys.readouterr().out
    assert "The model earth on 2 places that it never saw: " in told
    assert (run / "pretrained.png").is_file()
    assert "Distance to the truth: differences" in told
    for folder in (run, tmp_path / "run-scratch"):
        assert (folder / "report.html").is_file()
    started = [yaml.safe_load((f / "config.yaml").read_text())["training"]["pretrained"]
               for f in (run, tmp_path / "run-scratch")]  # fmt: skip
    assert started == ["earth", None]
