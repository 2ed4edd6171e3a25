"""Folds and seeds: subjects stay apart, and trainings of one model are joined."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from revgan.cli import main
from revgan.data.sets import DataConfig, locate, open_data_set
from revgan.errors import Notice, UserError
from revgan.evaluation.comparison import compare
from revgan.evaluation.joining import join
from revgan.evaluation.runs import evaluate
from revgan.evaluation.scales import Scale
from revgan.evaluation.scoring import ScoreOptions, Scoring
from revgan.training.config import RunConfig
from revgan.training.runs import RunFolder

TITLE = "Distance to the truth"


@pytest.fixture
def folder(tmp_path):
    """Two images each of six subjects, in 8 bits."""
    draws = np.random.default_rng(0)
    for name in ("trainA", "trainB"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for subject in range(6):
            for run in range(2):
                pixels = draws.integers(60, 190, (32, 32), dtype=np.uint8)
                path = tmp_path / "images" / name / f"sub-{subject}_run-{run}.png"
                Image.fromarray(pixels).save(path)
    return tmp_path / "images"


def subjects(refs):
    return {ref.group for ref in refs}


def test_each_subject_is_in_the_test_of_one_fold_with_all_its_scans(folder):
    tested = []
    for fold in (1, 2, 3):
        config = DataConfig(path=str(folder), crop=32, folds=3, fold=fold)
        found = locate(config, paired=True)
        assert (len(found.train.a), len(found.test.a)) == (8, 4)
        assert subjects(found.test.a) == subjects(found.test.b)
        assert subjects(found.test.a).isdisjoint(subjects(found.train.a))
        tested += subjects(found.test.a)
    assert sorted(tested) == [str(subject) for subject in range(6)]


def test_a_test_set_of_the_folders_own_is_left_alone(folder):
    for name in ("testA", "testB"):
        (folder / name).mkdir()
        Image.new("L", (32, 32)).save(folder / name / "sub-9.png")
    config = DataConfig(path=str(folder), crop=32, folds=2, fold=1)
    with pytest.warns(UserWarning, match="are left alone"):
        found = locate(config, paired=True)
    assert "9" not in subjects(found.test.a + found.train.a)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"fold": 1}, "does nothing without folds"),
        ({"folds": 3}, "fold must be from 1 to folds"),
        ({"folds": 3, "fold": 4}, "fold must be from 1 to folds"),
        ({"folds": 1, "fold": 1}, "at least 2"),
        ({"folds": 2, "fold": 1, "test_share": 0.2}, "leave out test_share"),
    ],
)
def test_folds_that_make_no_sense_are_refused(options, expected):
    with pytest.raises(ValueError, match=expected):
        DataConfig(crop=32, **options)


def test_more_folds_than_subjects_are_refused(folder):
    with pytest.raises(UserError, match="too few subjects, 6 in all, for 7 folds"):
        locate(DataConfig(path=str(folder), crop=32, folds=7, fold=7), paired=True)


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_subject_in_two_splits_is_refused(folder, split):
    for domain in "AB":
        (folder / f"{split}{domain}").mkdir()
        Image.new("L", (32, 32)).save(folder / f"{split}{domain}" / "sub-3_run-7.png")
    with pytest.raises(UserError, match="subject 3 is among both the training and the test"):
        locate(DataConfig(path=str(folder), crop=32), paired=True)


def test_a_scan_that_two_patterns_find_is_refused(folder):
    patterns = {"a": "trainA/*", "b": "trainB/*", "test_a": "trainA/*_run-1.png"}
    config = DataConfig(path=str(folder), crop=32, test_b="trainB/*_run-1.png", **patterns)
    with pytest.raises(UserError, match="among both the training and the test"):
        locate(config, paired=True)


class Adds:
    """Stands in for a model that adds grey levels, more of them in brighter images."""

    def __init__(self, levels):
        self.levels = levels

    def __call__(self, image, direction):
        return image + (self.levels + image.mean()) * 2 / 255


def evaluated(folder, tmp_path, levels, **options):
    config = RunConfig(data=DataConfig(path=str(folder), crop=32, **options))
    data, console = open_data_set(config.data, paired=True), Console(quiet=True)
    scoring = Scoring(ScoreOptions(), data, config, torch.device("cpu"), console)
    return evaluate(Adds(levels), data, RunFolder(tmp_path / "run"), console, scoring)


def rows(tables, kind="model"):
    return [row for row in tables[TITLE] if row.kind == kind and row.direction == "AtoB"]


def test_folds_are_scored_as_one_test_whatever_their_order(folder, tmp_path):
    folds = {str(fold): evaluated(folder, tmp_path, 3.0, folds=2, fold=fold) for fold in (1, 2)}
    whole, said = join(folds, 0)
    assert "2 folds" in said
    (row,) = rows(whole.titled())
    each = [scan.scores["mae"] for scan in whole.scans["test"] if scan.direction == "AtoB"]
    ours = [scan.scores["mae"] for scan in whole.scans["test"] if scan.method == row.method]
    assert (row.count, len(each)) == (12, 36)
    assert row.scores["mae"].value == pytest.approx(np.mean(ours[:4] + ours[4:12]), rel=0.2)
    assert row.scores["mae"].subjects == 6
    for run in (*folds.values(), whole):
        assert whole.agreements.keys() == run.agreements.keys() == {"AtoB", "BtoA"}
    apart = whole.agreements["AtoB"]
    parts = [run.agreements["AtoB"] for run in folds.values()]
    assert {s.scan for s in apart.scans} == {s.scan for part in parts for s in part.scans}
    assert (len(apart.scans), apart.count) == (12, sum(part.count for part in parts))
    assert abs(apart.difference - np.mean([part.difference for part in parts])) < 1e-9
    assert sum(band.count for band in apart.bands) == apart.count
    reverse, _ = join(dict(reversed(folds.items())), 0)
    assert rows(reverse.titled())[0].scores == row.scores
    (apart,) = compare({"one": whole, "two": reverse})[f"{TITLE}: differences"][:1]
    assert (apart.scores["mae"].value, apart.scores["mae"].p) == (0, 1)


def test_folds_whose_ranges_differ_say_so(folder, tmp_path):
    scales = {1: (0, 10), 2: (-5, 8)}
    folds = {}
    for fold, limits in scales.items():
        run = evaluated(folder, tmp_path, 3.0, folds=2, fold=fold)
        scale = Scale(*limits, "the test set", *limits, 1.0, limits, 0.5, 3)
        folds[str(fold)] = replace(run, scales={"a": scale, "b": scale})
    with pytest.warns(Notice, match="over the range of its own test set; .* --data-range LOW HIGH"):
        whole, _ = join(folds, 0)
    assert "PSNR and SSIM are over -5 to 10 (all folds, each over" in whole.said_of_scores
    for scale in whole.scales.values():  # runs have ranges of their own
        assert (scale.lowest, scale.highest, scale.run_range, scale.beyond) == (-5, 10, None, 0)


def test_trainings_on_the_same_data_are_means_over_seeds(folder, tmp_path):
    runs = {str(n): evaluated(folder, tmp_path, n, folds=2, fold=1) for n in (1.0, 4.0)}
    joint, said = join(runs, 0)
    assert "2 trainings" in said
    (row,) = rows(joint.titled())
    maes = [rows(run.titled())[0].scores["mae"].value for run in runs.values()]
    assert row.scores["mae"].value == pytest.approx(np.mean(maes), abs=1e-12)
    assert row.count == 6
    reference = rows(joint.titled(), "reference")[0].scores
    assert reference == rows(runs["1.0"].titled(), "reference")[0].scores


def test_tests_that_share_some_subjects_are_neither_folds_nor_seeds(folder, tmp_path):
    runs = {
        "one": evaluated(folder, tmp_path, 1, folds=2, fold=1),
        "two": evaluated(folder, tmp_path, 1, folds=3, fold=1),
    }
    with pytest.raises(UserError, match="one and two were both tested on"):
        join(runs, 0)
    assert join({"one": runs["one"]}, 0) == (runs["one"], "")


def test_models_are_compared_image_by_image(folder, tmp_path):
    worse, better = (evaluated(folder, tmp_path, n, folds=2, fold=1) for n in (40.0, 1.0))
    tables = compare({"worse": worse, "better": better})
    (apart,) = [row for row in tables[f"{TITLE}: differences"] if row.direction == "AtoB"]
    assert apart.method == "better - worse"
    mae = apart.scores["mae"]
    assert mae.value < 0
    expected = [
        a.scores["mae"] - b.scores["mae"]
        for a, b in zip(better.scans["test"], worse.scans["test"], strict=True)
        if a.kind == "model" and a.direction == "AtoB"
    ]
    assert mae.value == pytest.approx(np.mean(expected), abs=1e-9)
    assert mae.p == 2 ** (1 - 3)  # three subjects
    assert not compare({"only": better}).get(f"{TITLE}: differences")


def test_folds_are_trained_evaluated_and_gone_on_with_by_one_command(folder, tmp_path, capsys):
    run = tmp_path / "cv"
    train = ["train", str(folder), "--folds=2", f"--run={run}", "--objective=paired"]
    train += ["--training.steps=1", "--generator.width=4", "--generator.depth=1"]
    train += ["--discriminator.width=4", "--runtime.device=cpu", "--data.crop=32"]
    train += ["--training.validate_every=null"]
    assert main(train) == 0
    twice = ["evaluate", str(run / "fold-1"), f"{run}/../cv/fold-1"]
    assert main([*twice, "--names", "x", "x"]) == 2
    assert "would count as two trainings of x" in capsys.readouterr().err
    (run / "fold-2").rename(tmp_path / "away")
    assert main(["evaluate", str(run)]) == 1
    assert "has 1 of 2 folds" in capsys.readouterr().err
    assert main(train) == 0
    output = capsys.readouterr().out
    assert "All 1 steps are done" in output
    assert main([*train, "--training.seed=1"]) == 2
    assert "was trained with other options" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {row["count"] for row in printed["test"]} == {12}
    # The folder of the folds has what a run's has, of all scans.
    assert json.loads((run / "scores.json").read_text()) == printed
    lines = (run / "scans.csv").read_text().splitlines()
    parts = [(run / f"fold-{n}" / "scans.csv").read_text().splitlines() for n in (1, 2)]
    assert sorted(lines[1:]) == sorted(line for part in parts for line in part[1:])
    agreement = json.loads((run / "agreement.json").read_text())["AtoB"]
    assert len(agreement["scans"]) == 12
    assert main(["figure", str(run), "--agreement", f"--output={tmp_path / 'cv.png'}"]) == 0
    each = [str(run / f"fold-{n}") for n in (1, 2)]
    together = ["figure", *each, "--agreement", "--names", "x", "x"]
    assert main([*together, f"--output={tmp_path / 'x.png'}"]) == 0
    assert (tmp_path / "cv.png").read_bytes() == (tmp_path / "x.png").read_bytes()
    shutil.move(run / "fold-2", tmp_path / "elsewhere")
    assert main([*together[:2], str(tmp_path / "elsewhere"), *together[3:]]) == 1
    assert "aren't all folds of one folder" in capsys.readouterr().err
