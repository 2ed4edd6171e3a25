"""Means over mirror images and over several models, and their spread."""

import numpy as np
import pytest
import torch

from revgan import Translator
from revgan.cli import main
from revgan.data.mappings import Intensity
from revgan.data.preparation import Grid, Preparation
from revgan.networks import RevGenerator
from revgan.networks.pretrained import save_generator
from scans import read_image, read_volume, write_image
from test_volume_sets import save


def model(folder, seed, dims=2, **options):
    torch.manual_seed(seed)
    net = RevGenerator(dims, 1, 1, width=2, depth=1, init="kaiming", **options)
    save_generator(net, folder)
    if dims == 3:
        grid = Grid("RAS", None)
        Preparation(Intensity(-1000, 2000), Intensity(-1000, 2000), grid).write(folder)
    return folder


def translate(*arguments):
    return main(["translate", *map(str, arguments)])


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (37, 50, 1), np.uint8)
    write_image(tmp_path / "x.png", pixels)
    return tmp_path / "x.png"


def by_hand(folder, pixels, flips=((), (0,), (1,), (0, 1))):
    """Each translation (H, W, C) before it is rounded."""
    translator = Translator.from_pretrained(folder, "cpu")
    unit = torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1).movedim(-1, 0)
    translated = []
    for axes in flips:
        dims = [1 + axis for axis in axes]
        made = translator(unit.flip(dims)).flip(dims)
        translated.append(((made.movedim(0, -1) + 1) * 127.5).numpy())
    return np.stack(translated)


@pytest.mark.parametrize("window", ["whole", "32"])
def test_an_average_over_flips_is_that_done_by_hand(tmp_path, image, window):
    # Without a norm or a core's grid, parts give the same numbers up to rounding.
    folder = model(tmp_path / "model", 0, norm="none", exact=False)
    options = ["--flips", "[0, 1]", "--spread", tmp_path / "s.tif", "--window", window]
    assert translate(folder, image, tmp_path / "y.png", *options) == 0
    expected = by_hand(folder, read_image(image))
    mean = read_image(tmp_path / "y.png").astype(np.float64)
    assert np.abs(mean - expected.mean(0)).max() < 0.5 + 1e-3
    spread = read_image(tmp_path / "s.tif")
    assert spread.dtype == np.float32
    np.testing.assert_allclose(spread, expected.std(0, ddof=1), rtol=0, atol=1e-3)


def test_an_ensemble_is_the_mean_of_its_models(tmp_path):
    one = model(tmp_path / "1", 0, dims=3)
    others = [model(tmp_path / str(seed), seed, dims=3) for seed in (2, 3)]
    draws = np.random.default_rng(0)
    values = draws.normal(0, 500, (14, 12, 10)).astype(np.float32)
    values[3, 4, 5] = np.nan
    affine = np.diag([-1.5, 1, 2, 1])  # turned before the model takes it
    source = save(tmp_path / "x.nii.gz", values, affine)
    target, spread = tmp_path / "y.nii.gz", tmp_path / "s.nii.gz"
    assert translate(one, source, target, "--ensemble", *others, "--spread", spread) == 0
    alone = []
    for folder in (one, *others):
        assert translate(folder, source, tmp_path / "alone.nii.gz") == 0
        alone.append(read_volume(tmp_path / "alone.nii.gz").values)
    np.testing.assert_allclose(read_volume(target).values, np.mean(alone, 0), rtol=1e-5, atol=1e-2)
    scan = read_volume(spread)
    np.testing.assert_allclose(scan.values, np.std(alone, 0, ddof=1), rtol=1e-4, atol=1e-2)
    assert np.array_equal(scan.affine, affine)
    assert np.isnan(scan.values).sum() == 1


def test_flips_are_along_the_axes_of_the_models_grid(tmp_path):
    folder = model(tmp_path / "model", 0, dims=3)
    values = np.random.default_rng(0).normal(0, 500, (12, 8, 10)).astype(np.float32)
    source = save(tmp_path / "x.nii.gz", values, np.eye(4))
    turned = save(tmp_path / "t.nii.gz", values.transpose(1, 0, 2), np.eye(4)[[1, 0, 2, 3]])
    for name, path in (("a", source), ("b", turned)):
        assert translate(folder, path, tmp_path / f"{name}.nii.gz", "--flips", "[0]") == 0
    one, other = (read_volume(tmp_path / f"{name}.nii.gz").values for name in "ab")
    np.testing.assert_allclose(one[0], other[0].transpose(1, 0, 2), rtol=1e-5, atol=1e-2)


def test_a_folder_has_a_folder_of_spreads_in_formats_that_hold_fractions(tmp_path, image):
    folder = model(tmp_path / "model", 0)
    (tmp_path / "in").mkdir()
    for name in ("1.png", "2.png"):
        (tmp_path / "in" / name).write_bytes(image.read_bytes())
    options = ["--flips", "[1]", "--spread", tmp_path / "spread"]
    assert translate(folder, tmp_path / "in", tmp_path / "out", *options) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.png", "2.png"]
    assert sorted(path.name for path in (tmp_path / "spread").iterdir()) == ["1.tif", "2.tif"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--spread", "s.tif"], "--spread is of several translations; add --ensemble or --flips"),
        (["--flips", "[2]"], "--flips must be axes from 0 to 1, each once, not [2]"),
        (["--flips", "[0, 0]"], "--flips must be axes from 0 to 1, each once, not [0, 0]"),
        (["--ensemble", "model"], "model would count twice in the mean; name each model once"),
        (["--flips", "[0]", "--spread", "y.png"], "would hold the translation and its spread"),
        (["--ensemble", "volumes"], "so that their translations have no mean"),
        (["--flips", "[0]", "--spread", "s.png"], "can't hold"),
    ],
)
def test_what_has_no_mean_or_spread_is_refused(
    tmp_path, image, options, reason, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder = model(tmp_path / "model", 0)
    model(tmp_path / "volumes", 0, dims=3)
    assert translate(folder, image, "y.png", *options) == 1
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "y.png").exists()
