"""Trackers: TensorBoard always; W&B and MLflow offline, with their packages where these are there.

`pip install wandb mlflow` makes all of these tests run.
"""

import json
import logging
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from revgan.training import trackers
from revgan.training.config import RuntimeConfig
from test_cli import TINY, make_images, refusal
from test_loop import configuration, run

OURS = {"wandb": "W&B", "mlflow": "MLflow"}


@pytest.fixture
def folder(tmp_path):
    return make_images(tmp_path / "images")


def tracked(folder, steps=2, **runtime):
    config = configuration(folder, steps=steps, log_every=1, sample_every=2, validate_every=2)
    return replace(config, runtime=RuntimeConfig("cpu", **runtime))


@pytest.mark.parametrize("name", OURS)
def test_a_missing_package_is_named_with_its_extra_before_images_are_read(
    capsys, tmp_path, monkeypatch, name
):
    monkeypatch.setattr(trackers, f"is_{name}_available", lambda: False)
    options = [f"--{option}={value}" for option, value in TINY.items()]
    root = make_images(tmp_path / "images")
    (root / "trainA" / "0.png").write_bytes(b"")
    message = refusal(capsys, "train", root, *options, f"--runtime.{name}=true", status=1)
    assert f"runtime.{name} needs the package {name}" in message
    assert f"'revgan[{name}]'" in message


# With stand-ins for the packages


@pytest.fixture
def wandb(monkeypatch):
    """Takes W&B's place; has what it was told as `told`."""

    class Error(Exception):
        pass

    told = []

    def init(**options):
        told.append(("init", options))
        return SimpleNamespace(
            id=options["id"],
            log=lambda values, step: told.append((step, values)),
            finish=lambda: told.append(("finish",)),
        )

    stand_in = SimpleNamespace(
        __spec__=None,
        told=told,
        init=init,
        errors=SimpleNamespace(Error=Error),
        Settings=lambda **options: options,
        config=SimpleNamespace(update=lambda values, **_: told.append(("config", values))),
        Image=lambda pixels: pixels.shape,
    )
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    monkeypatch.setattr(trackers, "is_wandb_available", lambda: True)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return stand_in


def test_wandb_is_told_options_losses_scores_and_pictures(folder, tmp_path, wandb):
    run(tracked(folder, wandb=True), tmp_path / "mine")
    (_, init), (_, config), *logged, last = wandb.told
    assert (init["project"], init["name"]) == ("revgan", "mine")
    assert init["dir"] == str(tmp_path / "mine")
    assert (config["data.crop"], config["training.steps"]) == (32, 2)
    values = {name: (step, value) for step, found in logged for name, value in found.items()}
    assert {"losses/gan_AtoB", "validation/psnr_BtoA", "lr"} <= values.keys()
    step, shapes = values["AtoB: input, translation, truth, round trip"]
    assert (step, [len(shape) for shape in shapes]) == (2, [3])
    assert last == ("finish",)


def test_a_resumed_run_goes_on_in_the_same_run_of_wandb(folder, tmp_path, wandb):
    run(tracked(folder, wandb=True), tmp_path / "mine")
    run(tracked(folder, steps=3, wandb=True), tmp_path / "mine", resume=True)
    first, second = (options for what, *rest in wandb.told if what == "init" for options in rest)
    assert first["id"] == second["id"]
    assert (first["resume"], second["resume"]) == ("allow", "allow")


def test_wandb_that_can_not_start_is_told_in_one_sentence(capsys, tmp_path, monkeypatch, wandb):
    def refuse(**_):
        raise wandb.errors.Error("No API key configured.\nUse `wandb login` to log in.")

    monkeypatch.setattr(wandb, "init", refuse)
    options = [f"--{option}={value}" for option, value in TINY.items()]
    run_option = f"--run={tmp_path / 'run'}"
    root = make_images(tmp_path / "images")
    message = refusal(capsys, "train", root, *options, run_option, "--runtime.wandb=true", status=1)
    assert "W&B can't be used (No API key configured. Use `wandb login` to log in.)" in message
    assert "WANDB_MODE=offline" in message
    assert not (tmp_path / "run").exists()


@pytest.fixture
def mlflow(monkeypatch):
    """Takes MLflow's place; a server that stops to answer at `last_step`."""
    told = []
    stand_in = SimpleNamespace(__spec__=None, told=told, last_step=100)

    def log_metrics(values, step):
        if step > stand_in.last_step:
            raise ConnectionError("no\nanswer")
        told.append((step, values))

    def start_run(run_id, **options):
        told.append(("start", run_id, options["run_name"]))
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id or "new"))

    limits = SimpleNamespace(MAX_PARAM_VAL_LENGTH=500, MAX_PARAMS_TAGS_PER_BATCH=100)
    stand_in.exceptions = SimpleNamespace(MlflowException=RuntimeError)
    stand_in.utils = SimpleNamespace(validation=limits)
    stand_in.set_tracking_uri = lambda uri: told.append(("uri", uri))
    stand_in.search_experiments = lambda filter_string: []
    stand_in.create_experiment = lambda name, artifact_location, tags: artifact_location
    stand_in.start_run = start_run
    stand_in.log_params = lambda values: told.append(("params", values))
    stand_in.log_metrics = log_metrics
    stand_in.log_image = lambda pixels, key, step, synchronous: told.append((step, key))
    stand_in.end_run = lambda: told.append(("end",))
    monkeypatch.setitem(sys.modules, "mlflow", stand_in)
    monkeypatch.setattr(trackers, "is_mlflow_available", lambda: True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return stand_in


def test_mlflow_is_told_all_in_the_runs_folder_and_resumed(folder, tmp_path, mlflow):
    run(tracked(folder, mlflow=True), tmp_path / "mine")
    uri = f"sqlite:///{tmp_path / 'mine' / 'mlflow' / 'mlflow.db'}"
    assert mlflow.told[:2] == [("uri", uri), ("start", None, "mine")]
    assert ("params", 32) in [(what, values["data.crop"]) for what, values in mlflow.told[2:3]]
    assert (2, "AtoB") in mlflow.told
    assert mlflow.told[-2:] == [("end",), ("uri", None)]
    mlflow.told.clear()
    run(tracked(folder, steps=3, mlflow=True), tmp_path / "mine", resume=True)
    assert ("start", "new", "mine") in mlflow.told
    assert "params" not in [entry[0] for entry in mlflow.told]  # they must not change


def test_a_server_that_is_named_is_used(folder, tmp_path, monkeypatch, mlflow):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server")
    run(tracked(folder, mlflow=True), tmp_path / "mine")
    assert "uri" not in [entry[0] for entry in mlflow.told]
    assert not (tmp_path / "mine" / "mlflow").exists()


def test_a_server_that_stops_to_answer_ends_no_training(folder, tmp_path, caplog, mlflow):
    mlflow.last_step = 1
    with caplog.at_level(logging.WARNING):
        outcome, _ = run(tracked(folder, mlflow=True), tmp_path / "mine")
    assert outcome.finished
    assert caplog.messages == ["MLflow gets no more data (no answer); the run folder has all of it"]


# With the packages themselves


@pytest.mark.filterwarnings("ignore")  # those of W&B and what it brings along
def test_wandb_itself_works_offline(folder, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run(tracked(folder, wandb=True), tmp_path / "mine")
    run(tracked(folder, steps=3, wandb=True), tmp_path / "mine", resume=True)
    identity = json.loads((tmp_path / "mine" / "trackers.json").read_text())["wandb"]
    written = list((tmp_path / "mine" / "wandb").glob("offline-run-*"))
    assert [path.name.rpartition("-")[2] for path in written] == [identity] * len(written)
    assert list((tmp_path / "mine" / "wandb").rglob("*.png"))
    assert all(list(path.glob("*.wandb")) for path in written)


@pytest.mark.filterwarnings("ignore")  # those of MLflow and what it brings along
def test_mlflow_itself_works_in_the_runs_folder(folder, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy", reason="mlflow-skinny has no store of its own")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run(tracked(folder, mlflow=True), tmp_path / "mine")
    run(tracked(folder, steps=3, mlflow=True), tmp_path / "mine", resume=True)
    identity = json.loads((tmp_path / "mine" / "trackers.json").read_text())["mlflow"]
    store = f"sqlite:///{tmp_path / 'mine' / 'mlflow' / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=store)
    found = client.get_run(identity)
    assert (found.info.run_name, found.info.status) == ("mine", "FINISHED")
    assert (found.data.params["data.crop"], found.data.params["training.steps"]) == ("32", "2")
    steps = [x.step for x in client.get_metric_history(identity, "losses/cycle_a")]
    assert steps == [1, 2, 3]
    assert "validation/psnr_AtoB" in found.data.metrics
    assert list((tmp_path / "mine" / "mlflow" / "artifacts").rglob("AtoB*.png"))
