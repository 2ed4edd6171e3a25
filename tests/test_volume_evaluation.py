"""Evaluating runs on volumes: scores, masks, results and examples."""

import json

import numpy as np
import pytest
import torch
from rich.console import Console

from revgan.cli import main
from revgan.data.formats import Scan
from revgan.data.sets import DataConfig, open_data_set
from revgan.errors import UserError
from revgan.evaluation.cases import KINDS
from revgan.evaluation.runs import evaluate
from revgan.evaluation.scoring import ScoreOptions, Scoring
from revgan.training.config import RunConfig
from revgan.training.runs import RunFolder
from scans import read_volume, write_volume

SHAPE = (34, 36, 38)
PLACE = np.array([[-1.0, 0, 0, 5], [0, 0, 2, -3], [0, 1, 0, 7], [0, 0, 0, 1]])
OPTIONS = {"spatial_dims": 3, "crop": 32, "intensity_a": "range", "intensity_b": "range"}
LIMITS = {"low_a": 0, "high_a": 255, "low_b": 0, "high_b": 510}


class AddsGreyLevels:
    """Stands in for a model that makes B by adding 60 grey levels, and A by taking off 30.

    A grey level is 1 in A's files and 2 in B's.
    """

    def __call__(self, volume, direction):
        return volume + 2 * (60 if direction == "AtoB" else -30) / 255


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def save(path, values, dtype=np.float32, place=PLACE):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(values, np.float32)[np.newaxis]
    write_volume(path, values, Scan(values, place, None, np.dtype(dtype)))


def rising(grey):
    """A volume that rises evenly by ten grey levels; interpolation keeps it as it is."""
    return np.broadcast_to(np.linspace(grey - 5, grey + 5, SHAPE[0])[:, None, None], SHAPE)


@pytest.fixture
def folder(tmp_path):
    """Volumes of A with 10, 11 and 12 grey levels; B with 90 for training, 70 for the test."""
    root = tmp_path / "volumes"
    for name, grey in (("trainA", 10), ("testA", 10), ("trainB", 90), ("testB", 70)):
        for number in range(3):
            unit = 1 if name.endswith("A") else 2
            save(root / name / f"{number}.nii.gz", rising(grey + number) * unit)
    return root


def opened(folder, **options):
    config = DataConfig(path=str(folder), **{**OPTIONS, **LIMITS, **options})
    return open_data_set(config, paired=True)


def evaluated(folder, tmp_path, **options):
    run, data = RunFolder(tmp_path / "run"), opened(folder, **options)
    config = RunConfig("paired", DataConfig(path=str(folder), **OPTIONS, **LIMITS))
    console = Console(quiet=True)
    scoring = Scoring(ScoreOptions(), data, config, torch.device("cpu"), console)
    return evaluate(AddsGreyLevels(), data, run, console, scoring)


def maes(rows):
    return {(row.direction, row.method): row.scores["mae"].value for row in rows}


def test_volumes_are_scored_in_the_units_of_their_files(folder, tmp_path):
    evaluation = evaluated(folder, tmp_path)
    scores = maes(evaluation.tables["test"])
    assert scores["AtoB", "RevGAN"] == pytest.approx(0, abs=1e-3)
    assert scores["BtoA", "RevGAN"] == pytest.approx(30, abs=1e-3)
    # Volumes of A have 11 on average; those of B 182 in training, and 142 in the test.
    assert scores["AtoB", "input unchanged"] == pytest.approx(142 - 11, abs=1e-3)
    assert scores["AtoB", "mean training intensity"] == pytest.approx(182 - 142, abs=1e-3)
    assert {row.count for row in evaluation.tables["test"]} == {3}
    assert maes(evaluation.tables["round_trip"])["AtoBtoA", "RevGAN"] == pytest.approx(30, abs=1e-3)
    assert "test_inside_masks" not in evaluation.tables


def test_translations_are_written_in_place_and_in_units(folder, tmp_path):
    evaluated(folder, tmp_path)
    for direction, (grey, unit) in (("AtoB", (71, 2)), ("BtoA", (41, 1))):
        written = read_volume(tmp_path / "run" / "results" / direction / "1.nii.gz")
        assert np.array_equal(written.affine, PLACE)
        expected = rising(grey) * unit
        # Through [-1, 1] and back in float32, for values of up to 152.
        assert np.allclose(written.values, expected, rtol=0, atol=1e-4)


def test_results_are_on_the_files_grids_though_the_model_has_another(folder, tmp_path):
    evaluation = evaluated(folder, tmp_path, orientation="RAS", spacing=(1.0, 1.0, 1.0))
    written = read_volume(tmp_path / "run" / "results" / "AtoB" / "2.nii.gz")
    assert written.values.shape == (1, *SHAPE)
    assert np.array_equal(written.affine, PLACE)
    assert maes(evaluation.tables["test"])["AtoB", "RevGAN"] == pytest.approx(0, abs=1e-3)


def test_the_report_has_every_slice_of_every_test_volume(folder, tmp_path):
    cases = evaluated(folder, tmp_path).cases["BtoA"]
    assert [case.name for case in cases] == ["0", "1", "2"]
    # By PLACE: slices run along the second axis, rows along the third (2 mm), columns along the
    # first.
    assert {case.shape for case in cases} == {(36, 38, 34)}
    assert {case.spacing for case in cases} == {(1, 2, 1)}
    assert all(case.kinds == list(KINDS) and case.sides_known for case in cases)


@pytest.mark.parametrize("options", [{}, {"orientation": "RAS"}])
def test_masks_decide_which_voxels_count(folder, tmp_path, options):
    inside = np.zeros(SHAPE, bool)
    inside[5:20, 8:25, 10:30] = True
    for name in ("testA", "testB", "trainB"):
        for number in range(3):
            path = folder / name / f"{number}.nii.gz"
            values = read_volume(path).values[0]
            save(path, np.where(inside, values, 200))
            save(folder / f"{name[:-1]}Mask" / f"{number}.nii", inside, np.uint8)
    evaluation = evaluated(folder, tmp_path, **options)
    scores, all_of_them = (
        maes(evaluation.tables["test_inside_masks"]),
        maes(evaluation.tables["test"]),
    )
    assert scores["AtoB", "RevGAN"] == pytest.approx(0, abs=1e-3)
    assert all_of_them["AtoB", "RevGAN"] > 50
    # Inside the masks of the training volumes: 182, and not the 200 that is around them.
    assert scores["AtoB", "mean training intensity"] == pytest.approx(40, abs=1e-3)
    assert {row.count for row in evaluation.tables["test_inside_masks"]} == {3}
    assert len(json.loads(evaluation.to_json())["test_inside_masks"]) == 6


def test_masks_of_a_part_of_the_field_of_view_give_the_scores_of_whole_ones(folder, tmp_path):
    inside = np.zeros(SHAPE, bool)
    inside[5:20, 8:25, 10:30] = True
    part, moved = inside[3:24, 8:30, 10:31], PLACE.copy()
    moved[:3, 3] = (PLACE @ (3, 8, 10, 1))[:3]
    tables = []
    for values, place in ((inside, PLACE), (part, moved), (part[::-1], moved)):
        for number in range(3):
            save(folder / "testMask" / f"{number}.nrrd", values, np.uint8, place)
        tables.append(evaluated(folder, tmp_path).tables["test_inside_masks"])
    whole, of_part, mirrored = tables
    assert of_part == whole
    assert mirrored != whole


@pytest.mark.parametrize(
    ("suffix", "mask", "expected"),
    [
        (".nrrd", None, "has no mask for"),
        (".nrrd", np.zeros(SHAPE), "is empty"),
        (".npy", None, "has no mask for"),
        (".npy", np.zeros(SHAPE), "is empty"),
        (".npy", np.ones((5, 6, 7)), "doesn't say where it is, and their sizes differ"),
    ],
)
def test_masks_that_do_not_fit_are_named(folder, tmp_path, suffix, mask, expected):
    masks = folder / "testMask"
    masks.mkdir()
    for number in range(2):
        save(masks / f"{number}{suffix}", np.ones(SHAPE))
    if mask is not None:
        save(masks / f"2{suffix}", mask)
    with pytest.raises(UserError, match=expected):
        evaluated(folder, tmp_path)


def test_a_run_on_volumes_ends_with_a_report(folder, tmp_path, capsys):
    for number in range(3):
        save(folder / "testMask" / f"{number}.nii", np.ones(SHAPE))
    run = tmp_path / "run"
    tiny = ["--training.steps=1", "--training.batch_size=1", "--discriminator.width=2"]
    tiny += ["--generator.width=2", "--generator.depth=1", "--runtime.device=cpu"]
    volumes = ["--preset=volumes", "--objective=paired", "--data.crop=32", f"--run={run}"]
    assert main(["train", str(folder), *volumes, *tiny]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run), "--window=32", "--json", "--device=cpu"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert len(scores["test"]) == len(scores["test_inside_masks"]) == 6
    assert scores == json.loads((run / "scores.json").read_text())
    assert {path.name for path in (run / "results" / "AtoB").iterdir()} == {
        "0.nii.gz",
        "1.nii.gz",
        "2.nii.gz",
    }
    page = (run / "report.html").read_text()
    assert "3 test volumes of A" in page
    assert "1 x 32 x 32 x 32 voxels" in page
    assert "Inside the masks" in page


def test_a_run_without_test_volumes_is_told_what_to_add(folder, tmp_path, capsys):
    for name in ("testA", "testB"):
        for path in (folder / name).iterdir():
            path.unlink()
        (folder / name).rmdir()
    run = tmp_path / "run"
    tiny = ["--training.steps=1", "--discriminator.width=2", "--generator.width=2"]
    volumes = ["--preset=volumes", "--data.crop=32", "--generator.depth=1", f"--run={run}"]
    assert main(["train", str(folder), *volumes, *tiny]) == 0
    assert main(["evaluate", str(run)]) == 1
    assert "has no test volumes; add testA and testB" in capsys.readouterr().err
