"""What earlier versions wrote goes on working: runs resume and evaluate, models translate."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from revgan import Translator
from revgan.cli import main
from revgan.data.sets import open_data_set
from revgan.directions import DIRECTIONS, back, round_trip
from revgan.evaluation.samples import Sample
from revgan.evaluation.tables import rows_to_json
from revgan.evaluation.tally import Tally
from revgan.options import stored_config
from revgan.scores.metrics import candidates, mean_colour, score_pair

BEFORE = Path(__file__).parent / "fixtures" / "before"

LOSS = 1e-4
"""Relative: CPUs convolve in another order, and Adam's first steps divide by small numbers."""


DRAWN_ANEW = {"d_a_fake", "d_b_fake"}
"""The pools, full by then, draw from a stream of their own since."""


@pytest.fixture(autouse=True)
def _cache_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(params=["images", "volumes"])
def kind(request):
    return request.param


@pytest.fixture
def run(kind, tmp_path):
    return shutil.copytree(BEFORE / kind / "run", tmp_path / "run")


def read(path):
    if path.suffix == ".png":
        return np.asarray(Image.open(path)).astype(float)
    return nib.load(path).get_fdata()


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_earlier_run_resumes_with_the_losses_of_then(kind, run):
    data = str(BEFORE / kind / "data")
    assert main(["train", "--resume", str(run), "--training.steps=5", f"--data.path={data}"]) == 0
    expected = lines_of(BEFORE / kind / "resumed.jsonl")
    lines = lines_of(run / "metrics.jsonl")[-len(expected) :]
    for line, then in zip(lines, expected, strict=True):
        assert line.keys() == then.keys()
        compared = then.keys() - {"images_per_s"} - DRAWN_ANEW
        assert {name: line[name] for name in compared} == pytest.approx(
            {name: then[name] for name in compared}, rel=LOSS
        )


def same_scores(rows, expected):
    for row, then in zip(rows, expected, strict=True):
        numbers = {key for key, value in then.items() if not isinstance(value, str)}
        assert row.keys() == then.keys()
        assert {key: row[key] for key in row.keys() - numbers} == {
            key: then[key] for key in then.keys() - numbers
        }
        assert {key: row[key] for key in numbers} == pytest.approx(
            {key: then[key] for key in numbers}, rel=1e-3
        )  # 8-bit pixels may tip by a level


def test_an_earlier_run_has_the_scores_of_then(kind, run):
    """Those of volumes are in the files' units by now; the next test is on those of then."""
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("/data/", f"{BEFORE}/"))
    assert main(["evaluate", str(run)]) == 0
    scores = json.loads((run / "scores.json").read_text())
    name = "scores.json" if kind == "images" else "scores-in-units.json"
    expected = json.loads((BEFORE / kind / name).read_text())
    assert scores.keys() == expected.keys()
    for table, rows in expected.items():
        same_scores(scores[table], rows)


@pytest.mark.parametrize("kind", ["volumes"], indirect=True)
def test_an_earlier_run_of_volumes_has_the_scores_of_then_in_grey_levels_of_its_range(kind, run):
    """So nothing but units and what was clipped makes the scores of now others."""
    changes = {"data.path": str(BEFORE / kind / "data")}
    config = stored_config(run / "config.yaml", changes)
    data = open_data_set(config.data, paired=config.paired)
    translator = Translator.from_pretrained(run)
    names = ("mae", "psnr", "ssim")
    tables = {"test": [], "round_trip": []}
    for direction in DIRECTIONS:
        source, target = data.sides(direction)
        mean = mean_colour(map(target.load, target.train))
        there, again = Tally(direction, names), Tally(round_trip(direction), names)
        for number, ref in enumerate(source.test):
            image, truth = source.load(ref), target.load(target.test[number])
            made = translator(image, direction)
            cycled = translator(made, back(direction))
            sample = Sample(number, image, made, truth, cycled, name=ref.name)
            for one in candidates(image, made, truth, mean, "RevGAN"):
                there.add(one.method, score_pair(one.image, truth), sample, one.kind)
            again.add("RevGAN", score_pair(cycled, image), sample)
        tables["test"] += rows_to_json(there.rows())
        tables["round_trip"] += rows_to_json(again.rows())
    expected = json.loads((BEFORE / kind / "scores.json").read_text())
    for table, rows in expected.items():
        same_scores(tables[table], rows)


def test_an_earlier_model_translates_as_then(kind, run, tmp_path):
    source, direction = ("testA", "AtoB") if kind == "images" else ("testB", "BtoA")
    inputs = BEFORE / kind / "data" / source
    assert (
        main(["translate", str(run), str(inputs), f"{tmp_path}/out", "--direction", direction]) == 0
    )
    for path in (BEFORE / kind / "translated").iterdir():
        made, then = read(tmp_path / "out" / path.name), read(path)
        # Rounding may tip to the next whole number, of 8-bit pixels and of int16 voxels alike.
        assert np.abs(made - then).max() <= 1
        assert np.abs(made - then).mean() < 0.01
