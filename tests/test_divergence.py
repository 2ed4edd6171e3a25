"""Numbers that are infinite or none: never saved, and left out if so asked."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from revgan.errors import UserError
from revgan.training import journal
from revgan.training.batch import Batch
from revgan.training.config import LossConfig, TrainingConfig
from revgan.training.runs import RunFolder, json_line
from revgan.training.skips import Skips
from revgan.training.step import Trainer
from revgan.training.validation import Scores
from small_runs import configuration, run, write_images
from test_step import batch, make


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"))


def refuse(constant):
    raise AssertionError(f"{constant} isn't JSON")


def first(tensors):
    return next(iter(tensors))


PLACES = {
    "generator": lambda trainer: first(trainer.players.generator.parameters()).data,
    "judge": lambda trainer: first(trainer.players.judge_b.parameters()).data,
    "average": lambda trainer: first(trainer.average.network.parameters()),
    "statistics": lambda trainer: first(trainer.players.judge_a.buffers()),
    "moments": lambda trainer: trainer.state()["adam_a.0.exp_avg_sq"],
    "pool": lambda trainer: trainer.objective.pools["a"].images[0],
}


def last_layer(trainer):
    """Of the weights that only the logits come after."""
    return list(trainer.players.judge_b.parameters())[-2].data


def poison_after(monkeypatch, step: int, place: str, value: float) -> None:
    """Puts a value into a training's state as a step ends."""
    trained = Trainer.step

    def poisoned(self, batch, at):
        losses = trained(self, batch, at)
        if at == step - 1:
            PLACES[place](self)[...] = value
        return losses

    monkeypatch.setattr(Trainer, "step", poisoned)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("event", ["checkpoint", "validate", "sample"])
def test_what_is_not_finite_replaces_no_file(folder, tmp_path, monkeypatch, place, event):
    rare = {"checkpoint_every": 2, "validate_every": 100, "sample_every": 100, "log_every": 100}
    often = {f"{event}_every": 1 if event == "checkpoint" else 3}
    config = configuration(folder, "paired" if place != "pool" else "unpaired", **rare | often)
    config = replace(
        config,
        discriminator=replace(config.discriminator, norm="batch"),
        training=replace(config.training, keep_checkpoints=1, ema=0.5),
    )
    poison_after(monkeypatch, 3, place, float("nan"))
    with pytest.raises(UserError, match=r"nan at step 3; lower --optimizer\.lr.* from step 2 with"):
        run(config, tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-2"]
    for path in tmp_path.glob("**/*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in load_file(path).values())
    assert not list(tmp_path.glob("samples/*"))
    assert not (tmp_path / "best").exists()


def test_weights_that_are_finite_but_give_no_finite_loss_are_not_saved(
    folder, tmp_path, monkeypatch
):
    # The weights' squares are finite, those of the logits aren't.
    count = last_layer(make()).numel()
    monkeypatch.setitem(PLACES, "logits", last_layer)
    poison_after(monkeypatch, 4, "logits", 8e18 / count**0.5)
    with pytest.raises(UserError, match=r"the loss .* after the step is inf at step 4"):
        run(configuration(folder, keep_checkpoints=1, log_every=100, validate_every=None), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-2"]


def test_checking_weights_changes_none():
    trainer = make()
    trainer.step(batch(0), 0)
    before = {key: value.clone() for key, value in trainer.state().items()}
    assert trainer.losses(batch(1)).keys() == trainer.step(batch(1), 1).keys()
    trainer.load_state(before)
    trainer.losses(batch(1))
    assert trainer.norm().isfinite()
    assert all(torch.equal(before[key], value) for key, value in trainer.state().items())


def test_a_line_of_metrics_is_json_whatever_the_scores(folder, tmp_path, monkeypatch):
    nothing = Scores(float("nan"), float("inf"), float("nan"), 1)
    monkeypatch.setattr(journal, "validate", lambda *_: {"AtoB": nothing, "BtoA": nothing})
    run(configuration(folder, steps=1, validate_every=1), tmp_path)
    text = (tmp_path / "metrics.jsonl").read_text()
    lines = [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
    assert lines[1]["psnr_AtoB"] is None
    for path in tmp_path.glob("best/best.json"):
        json.loads(path.read_text(), parse_constant=refuse)


def test_only_what_json_lacks_becomes_null():
    line = json_line({"step": 1, "a": float("-inf"), "b": 0.5, "c": None})
    assert json.loads(line, parse_constant=refuse) == {"step": 1, "a": None, "b": 0.5, "c": None}


def trainer_that_skips(kind="unpaired", consensus=0.0) -> Trainer:
    """Its networks have batch norms, whose statistics see a step that is left out."""
    trainer = make(kind, memory="naive", norm="batch")
    trainer.skips = Skips(limit=2)
    trainer.objective.config = replace(LossConfig(pool_size=2), consensus_weight=consensus)
    return trainer


def infinite(step: int) -> Batch:
    images = batch(step)
    images.a[0, 0, 0, 0] = float("inf")
    return images


@pytest.mark.parametrize(("kind", "consensus"), [("unpaired", 0.0), ("paired", 1e-3)])
def test_a_step_that_is_left_out_leaves_no_trace(kind, consensus):
    one, other = (trainer_that_skips(kind, consensus) for _ in range(2))
    for trainer in (one, other):
        trainer.step(batch(0), 0)
    one.step(infinite(1), 1)
    assert (one.skips.total, one.skips.row, one.skips.now) == (1, 1, True)
    for trainer in (one, other):
        trainer.step(batch(2), 2)
    ours, theirs = one.state(), other.state()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert (one.skips.total, one.skips.row, one.skips.now) == (1, 0, False)


def test_a_judge_that_diverges_stays_alone_as_it_is():
    trainer = trainer_that_skips()
    trainer.step(batch(0), 0)
    before = {key: value.clone() for key, value in trainer.state().items()}
    weight = first(trainer.players.judge_a.parameters())
    hook = weight.register_hook(lambda gradient: gradient * float("nan"))
    trainer.step(batch(1), 1)
    hook.remove()
    assert trainer.skips.total == 1
    for key, value in trainer.state().items():
        if key.endswith("weight"):
            assert torch.equal(value, before[key]) == key.startswith("a."), key


def images_infinite_in(monkeypatch, steps) -> None:
    trained = Trainer.step

    def step(self, images, at):
        if at in steps:
            images.a[0, 0, 0, 0] = float("inf")
        return trained(self, images, at)

    monkeypatch.setattr(Trainer, "step", step)


def test_skipped_steps_are_counted_and_resumed(folder, tmp_path, monkeypatch):
    images_infinite_in(monkeypatch, {1, 3})
    config = configuration(folder, on_nan="skip 1", log_every=1, validate_every=None)
    _, output = run(config, tmp_path / "through")
    assert "skipped 2" in output
    history = RunFolder(tmp_path / "through").history()
    assert [line["skipped"] for line in history] == [0, 1, 1, 2, 2, 2]
    assert [line["gan_AtoB"] is None for line in history] == [
        False,
        True,
        False,
        True,
        False,
        False,
    ]
    run(replace(config, training=replace(config.training, steps=4)), tmp_path / "resumed")
    # Over four steps the learning rate falls sooner, so only the counts are compared.
    run(config, tmp_path / "resumed", resume=True)
    assert RunFolder(tmp_path / "resumed").history()[-1]["skipped"] == 2


def test_too_many_skips_end_the_run_with_the_weights_before_them(folder, tmp_path, monkeypatch):
    images_infinite_in(monkeypatch, range(2, 9))
    config = configuration(folder, on_nan="skip 2", checkpoint_every=2, keep_checkpoints=5)
    with pytest.raises(UserError, match=r"3 steps in a row .* allows 2; .* from step 5 with"):
        run(config, tmp_path)
    states = [load_file(path) for path in sorted(tmp_path.glob("checkpoints/*/state.safetensors"))]
    assert len(states) == 3  # of steps 2, 4 and 5: all the same
    assert all(torch.equal(states[0][key], each[key]) for each in states for key in states[0])


@pytest.mark.parametrize("value", ["", "skip", "skip 0", "skip -1", "skip 1.5", "stop 3", "skip x"])
def test_what_to_do_about_nan_is_one_of_two(value):
    with pytest.raises(ValueError, match="on_nan must be stop, or skip N"):
        TrainingConfig(on_nan=value)
