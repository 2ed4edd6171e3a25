"""The trained models that come with the package."""

import json

import nibabel
import numpy as np
import pytest
import yaml

from revgan import Translator
from revgan.cli import main
from revgan.data import sets
from revgan.data.datasets.brain import write_brain
from revgan.data.datasets.earth import SMALL
from revgan.data.datasets.earth_map import write_earth_map
from revgan.evaluation import pretrained
from revgan.networks import GeneratorConfig
from revgan.networks.places import SHIPPED, StoredModel, shipped_models
from revgan.networks.shipped import shipped
from revgan.options.runs import preset_path

NAMES = shipped_models()


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_is_small_says_what_it_is_and_translates_both_ways(name):
    folder = SHIPPED / name
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8e6
    card = (folder / "README.md").read_text()
    licence = yaml.safe_load((folder / "about.yaml").read_text())["licence"]
    assert f"license: {licence}" in card
    assert "| A → B | RevGAN |" in card
    translator = Translator.from_pretrained(name, "cpu")
    sizes = [40] * translator.generator.spatial_dims
    draws = np.random.default_rng(0)
    for direction in ("AtoB", "BtoA"):
        channels, made = translator.channels(direction)
        pixels = draws.integers(0, 256, (*sizes, channels), dtype=np.uint8)
        scan = pixels if len(sizes) == 2 else np.moveaxis(pixels, -1, 0).astype(np.float32)
        shape = (*sizes, made) if len(sizes) == 2 else (made, *sizes)
        assert translator(scan, direction).shape == shape


def test_brain_translates_what_it_never_saw_in_any_unit_and_orientation(tmp_path):
    folder = write_brain(tmp_path, task="gray-matter")
    t1, grey = (
        nibabel.load(folder / f"test{domain}" / "anterior.nii.gz").slicer[60:108, :48, 40:88]
        for domain in "AB"
    )
    other = nibabel.Nifti1Image(t1.get_fdata(dtype=np.float32) * 37.5 - 90, t1.affine)
    nibabel.save(other.as_reoriented([[0, -1], [2, 1], [1, -1]]), tmp_path / "other.nii")
    nibabel.save(t1, tmp_path / "t1.nii")
    made = {}
    for name in ("t1", "other"):
        path = tmp_path / f"{name}-grey.nii"
        assert main(["translate", "brain", str(tmp_path / f"{name}.nii"), str(path)]) == 0
        made[name] = nibabel.as_closest_canonical(nibabel.load(path))
    pixels = {name: image.get_fdata() for name, image in made.items()}
    assert np.allclose(made["other"].affine, t1.affine)
    # The same percentiles, but for rounding, and so the same grey levels.
    assert np.abs(pixels["other"] - pixels["t1"]).max() <= 1
    error = np.square(pixels["t1"] - grey.get_fdata()).mean()
    assert 10 * np.log10(255**2 / error) > 20  # 22.3 inside the whole front


def test_a_folder_of_a_models_name_is_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = shipped("earth")
    assert known is not None
    assert (known.a, known.b) == ("satellite image", "relief map")
    (tmp_path / "earth").mkdir()
    assert shipped("earth") is None
    assert shipped("mars") is None


def test_the_command_lists_the_shipped_models(capsys):
    assert main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in listed] == NAMES
    assert main(["models"]) == 0
    shown = capsys.readouterr().out  # 80 columns wide
    assert all(f" {name} " in shown for name in NAMES)


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
    monkeypatch.setitem(sets.EARTH, "earth-map", (write_earth_map, SMALL))
    places = pretrained.held_out_places()[:1]
    monkeypatch.setattr(pretrained, "held_out_places", lambda: places)
    run = tmp_path / "run"
    tiny = ["--training.steps=1", "--training.batch_size=1", "--data.crop=64"]
    assert main(["demo", "--compare", f"--run={run}", "--runtime.device=cpu", *tiny]) == 0
    told = capsys.readouterr().out
    assert "The model earth on 1 places that it never saw: " in told
    assert (run / "pretrained.png").is_file()
    assert "Distance to the truth: differences" in told
    for folder in (run, tmp_path / "run-scratch"):
        assert (folder / "report.html").is_file()
    started = [yaml.safe_load((f / "config.yaml").read_text())["training"]["pretrained"]
               for f in (run, tmp_path / "run-scratch")]  # fmt: skip
    assert started == ["earth", None]
