"""The trained models that come with the package."""

import json

import numpy as np
import pytest
import yaml

from revgan import Translator
from revgan.cli import main
from revgan.networks.places import SHIPPED, shipped_models

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
