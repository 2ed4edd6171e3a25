"""Whole runs of what is not a plain RevGAN: trained, resumed, scored and translated."""

import json

import pytest

from revgan.cli import main
from test_cli import make_images, refusal, train

TINY = {"generator__depth": 1, "training__steps": 2}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize(
    ("name", "method", "options"),
    [
        ("cyclegan", "CycleGAN", {"generator__model": "resnet"}),
        ("ode", "RevGAN", {"generator__core": "ode", "generator__ode_step": 0.5}),
        ("consensus", "RevGAN", {"losses__consensus_weight": 1e-4}),
        (
            "batch",
            "RevGAN",
            {
                "generator__norm": "batch",
                "discriminator__norm": "batch",
                "generator__memory": "reversible",
            },
        ),
    ],
)
def test_a_variant_runs_from_training_to_translation(images, tmp_path, name, method, options):
    run = tmp_path / name
    assert train(images, run, **TINY | {"generator__memory": "auto"} | options) == 0
    assert main(["train", "--resume", str(run), "--training.steps=3"]) == 0
    assert main(["evaluate", str(run), "--device=cpu"]) == 0
    scores = json.loads((run / "scores.json").read_text())
    assert scores["round_trip"][0]["method"] == method
    assert f"{method}: {name}" in (run / "report.html").read_text()
    assert main(["translate", str(run), str(images / "testA"), str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").iterdir())) == len(list((images / "testA").iterdir()))
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    *_, last = (line for line in lines if "lr" in line)  # others hold scores
    assert last["step"] == 3
    assert ("consensus" in last) == (name == "consensus")


def test_resuming_with_other_networks_is_refused_though_their_weights_would_fit(
    images, tmp_path, capsys
):
    run = tmp_path / "run"
    assert train(images, run, **TINY) == 0
    for option in ("--generator.upsampling=nearest", "--generator.exact=false"):
        name = option.split("=")[0]
        message = refusal(capsys, "train", "--resume", run, option)
        assert message == f"--resume continues with the run's networks; omit {name}, or train again"


def test_a_memory_budget_is_refused_with_an_ode(images, tmp_path, capsys):
    message = refusal(
        capsys, "train", images, "--data.crop=32", "--generator.core=ode", "--memory-budget=1GiB"
    )
    assert message.startswith("--memory-budget can't be guaranteed for generator.core ode")


def test_a_solver_that_gives_up_ends_in_one_sentence(images, tmp_path, capsys):
    options = {"generator__core": "ode", "generator__ode_solver": "dopri5"}
    options |= {"generator__ode_rtol": 1e-30, "generator__ode_atol": 1e-30}
    capsys.readouterr()
    assert train(images, tmp_path / "run", **TINY, **options) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("revgan: the ODE solver gave up")
