"""Scores in the files' units: the same for every run on a test set, whatever its range."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from revgan.data.formats import KINDS, Scan
from revgan.data.sets import DataConfig, open_data_set
from revgan.errors import Notice, UserError
from revgan.evaluation.runs import evaluate
from revgan.evaluation.sample_figure import on_scale
from revgan.evaluation.scales import measure_scale, said_of_scores
from revgan.evaluation.scans import scans_to_csv
from revgan.evaluation.scoring import ScoreOptions, Scoring
from revgan.scores.metrics import score_values
from revgan.training.config import RunConfig
from revgan.training.runs import RunFolder
from scans import write_image, write_volume

SHAPE = (12, 14, 13)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def noise(seed, low, high, shape=(1, *SHAPE)):
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.int16)


@pytest.fixture
def folder(tmp_path):
    """CT in A and B, in HU: B is 100 above A, and one voxel of its second test scan is metal."""
    for number in range(2):
        a = noise(number, -900, 800)
        b = a + np.int16(100)
        b[0, 0, 0, number:1] = 9000
        for split in ("train", "test"):
            for domain, values in (("A", a), ("B", b if split == "test" else a)):
                path = tmp_path / f"data/{split}{domain}/{number}.nii.gz"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_volume(path, values, Scan(values, np.eye(4), None, values.dtype))
    return tmp_path / "data"


def opened(folder, low=-1000, high=2000):
    limits = {
        f"{end}_{domain}": value for domain in "ab" for end, value in (("low", low), ("high", high))
    }
    config = DataConfig(
        path=str(folder), spatial_dims=3, crop=8, intensity_a="range", intensity_b="range", **limits
    )
    return config, open_data_set(config, paired=True)


def evaluated(folder, tmp_path, low=-1000, high=2000, **options):
    config, data = opened(folder, low, high)
    run = RunConfig("paired", replace(config, crop=24))
    console = Console(quiet=True)
    scoring = Scoring(ScoreOptions(**options), data, run, torch.device("cpu"), console)
    return evaluate(
        lambda image, direction: image, data, RunFolder(tmp_path / "run"), console, scoring
    )


@pytest.mark.filterwarnings("ignore::revgan.errors.Notice")
def test_runs_of_other_ranges_have_the_same_scores_of_the_same_output(folder, tmp_path):
    narrow, wide = (evaluated(folder, tmp_path, -1000, high) for high in (1000, 5000))
    pairs = zip(narrow.tables["test"], wide.tables["test"], strict=True)
    same = [(one.method, one.scores == other.scores) for one, other in pairs][:3]  # AtoB
    names = ["RevGAN", "input unchanged", "mean training intensity"]
    assert same == [(name, True) for name in names]


@pytest.mark.filterwarnings("ignore::revgan.errors.Notice")
def test_each_scan_has_a_row_that_agrees_with_scikit_image(folder, tmp_path):
    evaluation = evaluated(folder, tmp_path, data_range=(-1024.0, 3000.0))
    found = json.loads(evaluation.scans_to_json())
    assert found["scales"]["B"]["data_range"] == [-1024, 3000]
    for number in range(2):
        made, truth = noise(number, -900, 800), noise(number, -900, 800) + 100.0
        truth[0, 0, 0, number:1] = 9000  # beyond the data range, and not clipped
        (row,) = (
            row
            for row in found["scans"]
            if (row["table"], row["direction"], row["method"], row["scan"])
            == ("test", "AtoB", "RevGAN", str(number))
        )
        margin = [(0, 0)] + [(5, 5)] * 3
        x, y = (np.pad(v + 1024.0, margin, mode="reflect") for v in (made, truth))
        _, similarity = structural_similarity(
            x,
            y,
            channel_axis=0,
            data_range=4024,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        assert row["mae"] == pytest.approx(np.abs(made - truth).mean(), rel=1e-6)
        psnr = peak_signal_noise_ratio(truth, made.astype(float), data_range=4024)
        assert row["psnr"] == pytest.approx(psnr, abs=1e-6)
        inside = similarity[:, 5:-5, 5:-5, 5:-5].mean()
        assert row["ssim"] == pytest.approx(inside, abs=1e-6)
    lines = list(csv.DictReader(scans_to_csv(evaluation.scans).splitlines()))
    assert [line["scan"] for line in lines] == [row["scan"] for row in found["scans"]]
    assert float(lines[0]["mae"]) == found["scans"][0]["mae"]


def test_what_lies_beyond_the_range_is_counted(folder):
    _, data = opened(folder)
    with pytest.warns(
        Notice, match=r"0\.02% of the voxels .* of B .* -1000 to 2000, by up to 7000"
    ):
        scale = measure_scale(data.b, "b", "auto", KINDS[3])
    assert (scale.low, scale.high, scale.chosen) == (-800, 9000, "the test set")
    assert scale.beyond == 1 / (2 * np.prod(SHAPE))
    assert scale.excess == 7000
    assert "9000 (the test set)" in said_of_scores({"b": scale})
    said = said_of_scores({"b": scale}, (-1024, 3000))
    assert said.endswith("PSNR and MS-SSIM of synthetic CT are clipped to -1024 to 3000.")


@pytest.mark.filterwarnings("ignore::revgan.errors.Notice")
def test_the_data_range_is_that_of_the_type_of_photos_or_as_told(folder, tmp_path):
    _, data = opened(folder)
    assert measure_scale(data.b, "b", "type", KINDS[3]).limits == (-32768, 32767)
    assert measure_scale(data.b, "b", (0, 7), KINDS[3]).limits == (0, 7)
    ref = data.b.test[0]
    data.b.found[ref] = data.b.found[ref]._replace(dtype=np.dtype(np.uint16))
    with pytest.raises(UserError, match="one type, but those of B are int16 and uint16; give set"):
        measure_scale(data.b, "b", "type", KINDS[3])
    for split in ("trainA", "trainB", "testA", "testB"):
        for name, dtype in (("photos", np.uint8), ("floats", np.float32)):
            (tmp_path / name / split).mkdir(parents=True)
            pixels = np.random.default_rng(0).integers(3, 9, (16, 16, 3)).astype(dtype)
            write_image(tmp_path / name / split / "x.tif", pixels)
    photos, floats = (
        open_data_set(DataConfig(path=str(tmp_path / name), crop=16), paired=True).a
        for name in ("photos", "floats")
    )
    assert measure_scale(photos, "a", "auto", KINDS[2]).limits == (0, 255)
    assert measure_scale(floats, "a", "auto", KINDS[2]).limits == (3, 8)
    with pytest.raises(UserError, match="those of A are float32"):
        measure_scale(floats, "a", "type", KINDS[2])


def test_the_same_values_look_the_same_in_a_figure_whatever_the_range(folder):
    narrow, wide = (opened(folder, high=high)[1].b for high in (2000, 5000))
    ref = narrow.test[0]
    same = on_scale(wide.load(ref), wide, narrow)
    # Through [-1, 1] and back in float32.
    np.testing.assert_allclose(same.numpy(), narrow.load(ref).numpy(), rtol=0, atol=1e-6)
    assert on_scale(narrow.load(ref), narrow, narrow).equal(narrow.load(ref))


def test_large_values_are_scored_in_double_precision():
    truth = torch.full((1, 8, 8), 4e6, dtype=torch.float64)
    mae, psnr, _ = score_values(truth + 2**-10, truth, (4e6, 4e6 + 1)).tolist()
    assert mae == 2**-10
    assert psnr == pytest.approx(200 * np.log10(2), rel=1e-12)
