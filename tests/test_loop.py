"""Runs: what they leave, how they stop, and that resuming changes nothing."""

import json
import multiprocessing
import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from revgan.errors import UserError
from revgan.networks import GeneratorConfig
from revgan.training.best import Best
from revgan.training.config import OptimizerConfig, RuntimeConfig
from revgan.training.runs import RunFolder
from revgan.training.step import Trainer
from small_runs import configuration, run, same_weights, weights, write_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize("objective", ["unpaired", "paired"])
def test_a_run_leaves_what_its_folder_promises(folder, tmp_path, objective):
    config = configuration(folder, objective)
    config = replace(config, data=replace(config.data, aligned=True))  # best/ needs a known truth
    outcome, output = run(config, tmp_path)
    assert outcome.finished
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best",
        "checkpoints",
        "config.yaml",
        "metrics.jsonl",
        "model",
        "samples",
        "tensorboard",
    ]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-4",
        "step-6",
    ]
    assert len(list((tmp_path / "samples").glob("*.png"))) == 4
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3, 4, 6, 6]
    assert {"gan_AtoB", "d_a_real", "lr", "images_per_s"} <= lines[0].keys()
    assert {"mae_AtoB", "psnr_AtoB", "ssim_BtoA"} <= lines[1].keys()
    assert "step 6/6" in output
    assert "step 3/6  validation  AtoB " in output


def test_tensorboard_holds_scalars_and_pictures(folder, tmp_path):
    run(configuration(folder), tmp_path)
    events = EventAccumulator(str(next((tmp_path / "tensorboard").glob("**/events*"))))
    events.Reload()
    assert "losses/cycle_a" in events.Tags()["scalars"]
    assert [event.step for event in events.Scalars("lr")] == [2, 4, 6]
    assert [event.step for event in events.Scalars("validation/psnr_BtoA")] == [3, 6]
    assert len(events.Tags()["images"]) == 2


@pytest.mark.parametrize(
    ("objective", "training"),
    [("unpaired", {}), ("paired", {"ema": 0.5, "validate_every": 1})],
)
def test_a_resumed_run_ends_in_the_same_bits(folder, tmp_path, monkeypatch, objective, training):
    config = configuration(folder, objective, **training)
    config = replace(config, data=replace(config.data, aligned=True))  # so that best/ is chosen
    run(config, tmp_path / "through")
    stop_after(monkeypatch, 3, signal.SIGTERM)
    outcome, _ = run(config, tmp_path / "stopped")
    assert (outcome.steps, outcome.signal, outcome.finished) == (3, signal.SIGTERM, False)
    monkeypatch.undo()
    assert run(config, tmp_path / "stopped", resume=True)[0].finished
    for name in ("model", "best"):
        assert same_weights(tmp_path / "through", tmp_path / "stopped", name)
    assert Best.read(tmp_path / "through" / "best") == Best.read(tmp_path / "stopped" / "best")
    histories = [RunFolder(tmp_path / name).history() for name in ("through", "stopped")]
    for lines in histories:
        for line in lines:
            line.pop("images_per_s", None)
    assert histories[0] == histories[1]


def test_a_run_that_is_killed_comes_to_the_same_best_model(folder, tmp_path, monkeypatch):
    config = configuration(folder, "paired", validate_every=1, checkpoint_every=3, ema=0.5)
    run(config, tmp_path / "through")
    step = Trainer.step

    def dying(self, batch, at):
        if at == 5:
            raise ZeroDivisionError
        return step(self, batch, at)

    monkeypatch.setattr(Trainer, "step", dying)
    with pytest.raises(ZeroDivisionError):
        run(config, tmp_path / "killed")  # after validations of steps that no checkpoint has
    monkeypatch.undo()
    assert run(config, tmp_path / "killed", resume=True)[0].finished
    assert Best.read(tmp_path / "through" / "best") == Best.read(tmp_path / "killed" / "best")
    assert same_weights(tmp_path / "through", tmp_path / "killed", "best")


def test_the_model_that_is_saved_is_the_average(folder, tmp_path):
    run(configuration(folder, ema=0.9), tmp_path)
    state = load_file(tmp_path / "checkpoints" / "step-6" / "state.safetensors")
    for name, weight in weights(tmp_path).items():
        assert torch.equal(weight, state[f"average.{name}"])
    assert not all(torch.equal(x, state[f"generator.{n}"]) for n, x in weights(tmp_path).items())


def test_the_number_of_workers_changes_nothing(folder, tmp_path):
    config = configuration(folder, steps=3)
    run(config, tmp_path / "none")
    run(replace(config, runtime=RuntimeConfig(device="cpu", workers=2)), tmp_path / "two")
    assert same_weights(tmp_path / "none", tmp_path / "two")


def stop_after(monkeypatch, steps: int, number: signal.Signals, times: int = 1) -> None:
    """Makes the process receive a signal in the middle of a step."""
    step = Trainer.step

    def stopping(self, batch, at):
        if at == steps - 1:
            for _ in range(times):
                os.kill(os.getpid(), number)
        return step(self, batch, at)

    monkeypatch.setattr(Trainer, "step", stopping)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint(
    folder, tmp_path, monkeypatch, number
):
    before = signal.getsignal(number)
    stop_after(monkeypatch, 1, number)
    outcome, _ = run(configuration(folder), tmp_path)
    assert (outcome.steps, outcome.signal) == (1, number)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-1"]
    assert (tmp_path / "model" / "model.safetensors").is_file()
    assert signal.getsignal(number) == before


def test_a_second_signal_acts_at_once(folder, tmp_path, monkeypatch):
    stop_after(monkeypatch, 1, signal.SIGINT, times=2)
    with pytest.raises(KeyboardInterrupt):
        run(configuration(folder), tmp_path)


def test_resuming_drops_what_was_logged_after_the_checkpoint(folder, tmp_path):
    run(configuration(folder, steps=2, validate_every=None), tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "gan_AtoB": 1.0}\n{"step": 6, "gan')
    run(configuration(folder, steps=4, validate_every=None), tmp_path, resume=True)
    assert [line["step"] for line in RunFolder(tmp_path).history()] == [2, 4]


def test_a_loss_that_is_no_number_stops_the_run_in_one_sentence(folder, tmp_path):
    config = replace(configuration(folder), optimizer=OptimizerConfig(lr=1e30))
    with pytest.raises(UserError, match=r"lower --optimizer.lr") as error:
        run(config, tmp_path)
    assert "\n" not in str(error.value)


def test_another_architecture_can_not_resume(folder, tmp_path):
    config = configuration(folder, steps=2)
    run(config, tmp_path)
    wider = replace(config, generator=GeneratorConfig(width=8, depth=2))
    with pytest.raises(UserError, match="belongs to different networks"):
        run(wider, tmp_path, resume=True)


def test_small_domains_of_a_larger_epoch_count_decide_the_steps(folder, tmp_path):
    outcome, _ = run(configuration(folder, steps=None, epochs=2, batch_size=2), tmp_path)
    assert outcome.total == 3  # 2 epochs of 3 images, 2 a step


def test_a_signal_to_the_whole_group_leaves_the_loaders_workers_at_work(
    folder, tmp_path, monkeypatch
):
    step = Trainer.step

    def stopping(self, batch, at):
        if at == 0:
            workers = multiprocessing.active_children()
            assert len(workers) == 1
            for pid in [os.getpid(), *(worker.pid for worker in workers)]:
                os.kill(pid, signal.SIGTERM)
        return step(self, batch, at)

    monkeypatch.setattr(Trainer, "step", stopping)
    config = replace(configuration(folder), runtime=RuntimeConfig(device="cpu", workers=1))
    outcome, _ = run(config, tmp_path)
    assert (outcome.steps, outcome.signal) == (1, signal.SIGTERM)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-1"]


def test_a_repeated_sigterm_does_not_cut_the_checkpoint_short(folder, tmp_path, monkeypatch):
    stop_after(monkeypatch, 1, signal.SIGTERM, times=2)
    assert run(configuration(folder), tmp_path)[0].steps == 1


def test_resuming_with_another_crop_forgets_pooled_images_of_the_old_one(folder, tmp_path):
    run(configuration(folder, steps=2), tmp_path)
    config = configuration(folder, steps=4)
    config = replace(config, data=replace(config.data, crop=36))
    assert run(config, tmp_path, resume=True)[0].finished


def test_weights_that_are_no_numbers_are_never_saved(folder, tmp_path):
    config = configuration(folder, log_every=1000, checkpoint_every=2, steps=8)
    with pytest.raises(UserError, match=r"lower --optimizer.lr"):
        run(replace(config, optimizer=OptimizerConfig(lr=1e30)), tmp_path)
    assert not list(tmp_path.glob("checkpoints/step-*"))
