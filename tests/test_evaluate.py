"""The demo and the evaluation: what they write, and which way round."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from revgan.cli import main
from revgan.data.sets import DataConfig, open_data_set
from revgan.errors import UserError
from revgan.evaluation import step_memory
from revgan.evaluation.comparison import compare
from revgan.evaluation.runs import evaluate
from revgan.evaluation.scoring import ScoreOptions, Scoring
from revgan.evaluation.step_memory import compare_memory
from revgan.networks import DiscriminatorConfig, GeneratorConfig
from revgan.training.config import LossConfig, RunConfig, RuntimeConfig
from revgan.training.prediction import Workload, predict_training
from revgan.training.runs import RunFolder
from revgan.training.setup import make_accelerator
from revgan.training.step import Trainer

TINY = [
    "--training.steps=2",
    "--training.batch_size=1",
    "--generator.width=4",
    "--generator.depth=1",
    "--discriminator.width=4",
    "--runtime.device=cpu",
]


def all_are_translated(run, cache, objective):
    cached = {path.name for path in (cache / f"earth-1080-{objective}" / "testA").iterdir()}
    results = (run / "results" / direction for direction in ("AtoB", "BtoA"))
    return all({path.name for path in folder.iterdir()} == cached for folder in results)


def test_the_demo_ends_with_a_report(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = tmp_path / "run"
    assert main(["demo", "--from-scratch", "--objective=paired", f"--run={run}", *TINY]) == 0
    output = capsys.readouterr().out
    assert output.rstrip().endswith(f"The report: {run / 'report.html'}")
    assert "PSNR" in output
    page = (run / "report.html").read_text()
    assert page.count('id="AtoB-14-round-trip"') == page.count('id="BtoA-14-truth"') == 1
    assert "satellite → map" in page
    assert all_are_translated(run, tmp_path / "cache" / "revgan", "paired")
    rows = json.loads((run / "scores.json").read_text())["test"]
    assert [row["method"] for row in rows if row["direction"] == "BtoA"] == [
        "RevGAN",
        "input unchanged",
        "mean training colour",
    ]


def test_a_demo_that_was_stopped_tells_how_to_get_its_report(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    step, run = Trainer.step, tmp_path / "run"

    def stopping(self, batch, at):
        os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, at)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(Trainer, "step", stopping)
        demo = ["demo", "--from-scratch", "--objective=unpaired", f"--run={run}", *TINY]
        assert main(demo) == 128 + signal.SIGTERM
    lines = capsys.readouterr().out.splitlines()
    commands = [line.partition(": revgan ")[2].split() for line in lines[-2:]]
    assert commands == [["train", "--resume", str(run)], ["evaluate", str(run)]]
    assert [main(command) for command in commands] == [0, 0]
    assert (run / "report.html").is_file()
    assert all_are_translated(run, tmp_path / "cache" / "revgan", "unpaired")


class KnowsTheTruth:
    """Stands in for a model that makes B by adding 60 grey levels, and A by taking off 30."""

    def __call__(self, image, direction):
        return image + 2 * (60 if direction == "AtoB" else -30) / 255


@pytest.fixture
def folder(tmp_path):
    for name, grey in (("trainA", 10), ("testA", 10), ("trainB", 90), ("testB", 70)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.full((36, 40), grey + number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number:02}.png")
    return tmp_path / "images"


def evaluated(folder, tmp_path, distributions=(), resize=None, model=None):
    config = RunConfig(data=DataConfig(path=str(folder), crop=32, resize=resize))
    data = open_data_set(config.data, paired=False)
    console = Console(quiet=True)
    scoring = Scoring(
        ScoreOptions(distributions=distributions), data, config, torch.device("cpu"), console
    )
    return evaluate(model or KnowsTheTruth(), data, RunFolder(tmp_path / "run"), console, scoring)


def test_each_direction_is_scored_against_its_own_truth(folder, tmp_path):
    evaluation = evaluated(folder, tmp_path)
    rows = evaluation.tables["test"]
    scores = {(row.direction, row.method): row.scores["mae"].value for row in rows}
    assert scores["AtoB", "RevGAN"] == pytest.approx(0, abs=1e-3)
    assert scores["BtoA", "RevGAN"] == pytest.approx(30, abs=1e-3)
    assert scores["AtoB", "input unchanged"] == pytest.approx(60, abs=1e-3)
    # Training images of B have 95.5 grey levels on average, those of the test from 70 to 81.
    assert scores["AtoB", "mean training colour"] == pytest.approx(20, abs=1e-3)
    assert {row.count for row in rows} == {12}
    trips = evaluation.tables["round_trip"]
    assert {(row.direction, round(row.scores["mae"].value, 3)) for row in trips} == {
        ("AtoBtoA", 30.0),
        ("BtoAtoB", 30.0),
    }


def test_a_model_whose_training_failed_does_not_pass_for_one_of_black_images(folder, tmp_path):
    with pytest.raises(UserError, match=r"NaN or infinite values for .*00\.png"):
        evaluated(folder, tmp_path, model=lambda image, direction: image * float("nan"))
    assert list((tmp_path / "run" / "results" / "AtoB").iterdir()) == []


def test_translations_are_written_under_the_names_of_their_images(folder, tmp_path):
    evaluated(folder, tmp_path)
    written = np.asarray(Image.open(tmp_path / "run" / "results" / "AtoB" / "03.png"))
    assert (written == 73).all()


def test_the_report_has_every_test_image_and_its_difference_from_the_truth(folder, tmp_path):
    cases = evaluated(folder, tmp_path).cases["BtoA"]
    assert [case.name for case in cases] == [f"{number:02}" for number in range(12)]
    assert [int(case.stacks["input"][0, 0, 0, 0]) for case in cases] == list(range(70, 82))
    assert all(case.difference is not None for case in cases)
    assert all(torch.allclose(case.difference, torch.tensor(30.0), atol=1e-3) for case in cases)


def test_images_that_share_a_name_do_not_overwrite_each_other(folder, tmp_path):
    for name in ("testA", "testB"):
        Image.open(folder / name / "00.png").save(folder / name / "00.tif")
    evaluation = evaluated(folder, tmp_path)
    assert len(list((tmp_path / "run" / "results" / "AtoB").iterdir())) == 13
    assert evaluation.tables["test"] == []  # two images of one name can't be matched


def test_sets_are_compared_where_asked_for(folder, tmp_path):
    evaluation = evaluated(folder, tmp_path, distributions=("random",))
    rows = {(r.direction, r.method): r for r in evaluation.tables["distribution"]}
    # The translations of A are the test images of B, in the order of the files: no distance.
    assert rows["AtoB", "RevGAN"].scores["kid_random"].value <= 0
    assert rows["AtoB", "input unchanged"].scores["kid_random"].value > 0
    assert rows["AtoB", "real training images"].kind == "ceiling"
    assert set(rows["AtoB", "RevGAN"].scores) == {"kid_random"}


def test_runs_stand_in_one_table_with_shared_references_once(folder, tmp_path):
    first = evaluated(folder, tmp_path)
    tables = compare({"one": first, "two": first})
    methods = [r.method for r in tables["Distance to the truth"] if r.direction == "AtoB"]
    assert methods == ["one", "two", "input unchanged", "mean training colour"]
    trips = [r.method for r in tables["Round trips"] if r.direction == "AtoBtoA"]
    assert trips == ["one", "two"]


def test_references_that_differ_between_runs_are_told_apart(folder, tmp_path):
    first = evaluated(folder, tmp_path)
    for path in (folder / "trainB").iterdir():
        Image.fromarray(np.full((36, 40), 200, np.uint8)).save(path)
    second = evaluated(folder, tmp_path)
    methods = [r.method for r in compare({"one": first, "two": second})["Distance to the truth"]]
    assert methods[2:5] == ["input unchanged", "mean training colour", "mean training colour (two)"]


def test_runs_on_other_test_images_are_not_compared(folder, tmp_path):
    first = evaluated(folder, tmp_path)
    for name in ("testA", "testB"):
        (folder / name / "00.png").unlink()
    second = evaluated(folder, tmp_path)
    with pytest.raises(UserError, match="one and two have different test images"):
        compare({"one": first, "two": second})


@pytest.mark.parametrize("resize", [None, 48])
def test_runs_on_test_images_of_other_content_or_size_are_not_compared(folder, tmp_path, resize):
    first = evaluated(folder, tmp_path)
    if resize is None:
        Image.fromarray(np.full((36, 40), 20, np.uint8)).save(folder / "testB" / "00.png")
    second = evaluated(folder, tmp_path, resize=resize)
    with pytest.raises(UserError, match="one and two have different test images"):
        compare({"one": first, "two": second})


@pytest.mark.parametrize("mode", ["naive", "reversible", "none"])
def test_memory_is_compared_only_where_the_step_fits(folder, monkeypatch, mode):
    data = DataConfig(path=str(folder), crop=32)
    generator = GeneratorConfig(width=4, depth=6)
    runtime = RuntimeConfig(device="cpu")
    config = RunConfig(
        data=data,
        generator=generator,
        discriminator=DiscriminatorConfig(width=4),
        losses=LossConfig(pool_size=1),
        runtime=runtime,
    )
    needs = {
        name: predict_training(
            Workload(config, 32, channels=(1, 1)).with_generator(memory=name)
        ).total
        for name in ("naive", "reversible")
    }
    assert needs["reversible"] < needs["naive"]
    monkeypatch.setattr(step_memory, "free_budget", lambda device: needs.get(mode, 0))
    compared = compare_memory(config, open_data_set(data, paired=False), make_accelerator(runtime))
    if mode == "none":
        assert compared is None
    else:
        assert ("naive" in compared.measured) == (mode == "naive")
        assert {"reversible", "lean"} <= compared.measured.keys()
        assert [depth for depth, _ in compared.over_depth["naive"]] == [1, 6]


def test_the_best_model_is_evaluated_where_asked_for(folder, tmp_path, capsys):
    run = tmp_path / "run"
    tiny = [*TINY, "--data.crop=32", f"--run={run}"]
    trained = ["train", str(folder), "--objective=paired", "--training.validate_every=1", *tiny]
    assert main(trained) == 0
    assert main(["evaluate", str(run), "--model=best"]) == 0
    page = (run / "report.html").read_text()
    assert "The model is the best by PSNR, from step" in page
    assert "chosen on these test images" in page
    shutil.rmtree(run / "best")
    assert main(["evaluate", str(run), "--model=best"]) == 1
    assert "has no best model" in capsys.readouterr().err
