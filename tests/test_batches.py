"""Errors on the way of images to the steps: one sentence, a checkpoint, and no process left."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from revgan.data.sampling import TrainingSamples
from revgan.errors import UserError
from revgan.training import batches, session
from revgan.training.config import RuntimeConfig
from revgan.training.runs import RunFolder
from revgan.training.session import run_training
from revgan.training.step import Trainer
from small_runs import configuration, run, same_weights, write_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def through(folder, tmp_path_factory):
    """A run that nothing stopped; whether workers load its images makes no difference."""
    root = tmp_path_factory.mktemp("through")
    run(with_workers(configuration(folder, checkpoint_every=100), 0), root)
    return root


def with_workers(config, workers):
    return replace(config, runtime=RuntimeConfig(device="cpu", workers=workers))


def fail_from(monkeypatch, number: int, fail) -> None:
    """Lets a training sample and all after it fail."""
    get = TrainingSamples.__getitem__

    def failing(self, at):
        return fail() if at >= number else get(self, at)

    monkeypatch.setattr(TrainingSamples, "__getitem__", failing)


def raising(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UserError("x.png is damaged; replace it"), "x.png is damaged; replace it"),
        (FileNotFoundError(2, "Gone", "x.png"), "x.png can't be read or written: Gone"),
        (
            SyntaxError("broken PNG\nfile"),
            r"training sample 5 can't be loaded \(SyntaxError: broken PNG file",
        ),
        (MemoryError(), "there isn't enough memory to load images; lower --runtime.workers"),
    ],
)
def test_an_image_that_fails_ends_the_run_with_a_checkpoint(
    folder, through, tmp_path, monkeypatch, workers, error, told
):
    config = with_workers(configuration(folder, checkpoint_every=100), workers)
    fail_from(monkeypatch, 5, raising(error))
    with pytest.raises(
        UserError, match=f"^{told}.*; continue from step 5 with revgan train --resume"
    ):
        run(config, tmp_path)
    assert multiprocessing.active_children() == []
    monkeypatch.undo()
    run(config, tmp_path, resume=True)
    assert same_weights(tmp_path, through)


def test_an_image_that_fails_at_once_leaves_no_run(folder, tmp_path, monkeypatch):
    fail_from(monkeypatch, 0, raising(UserError("x.png is damaged; replace it")))
    with pytest.raises(UserError, match="no checkpoint was written yet, so train again"):
        run(with_workers(configuration(folder), 1), tmp_path / "run")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGBUS])
def test_a_worker_that_is_killed_ends_the_run_between_two_steps(
    folder, through, tmp_path, monkeypatch, number
):
    step = Trainer.step

    def killing(self, batch, at):
        if at == 2:
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, number)
                worker.join()
        return step(self, batch, at)

    handler = signal.getsignal(signal.SIGCHLD)
    monkeypatch.setattr(Trainer, "step", killing)
    config = with_workers(configuration(folder, checkpoint_every=100), 2)
    name = signal.Signals(number).name
    with pytest.raises(UserError, match=f"was killed by {name}, .*continue from step 3 with"):
        run(config, tmp_path)
    assert multiprocessing.active_children() == []
    signal.signal(signal.SIGCHLD, handler or signal.SIG_DFL)
    monkeypatch.undo()
    run(config, tmp_path, resume=True)
    assert same_weights(tmp_path, through)


def test_a_worker_that_dies_while_a_batch_is_awaited_is_told(folder, tmp_path, monkeypatch):
    fail_from(monkeypatch, 3, lambda: os._exit(7))
    with pytest.raises(UserError, match="a process that loads images ended with 7, as when memory"):
        run(with_workers(configuration(folder), 1), tmp_path)


def test_a_batch_that_finds_no_shared_memory_ends_the_run(folder, tmp_path, monkeypatch):
    def fail(_):
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    monkeypatch.setattr(batches, "default_collate", fail)
    with pytest.raises(UserError, match=r"memory for a batch .* free space in /dev/shm, or lower"):
        run(with_workers(configuration(folder), 1), tmp_path)


def test_shared_memory_that_is_really_full_brings_no_traceback(folder, tmp_path):
    options = "--generator.width=4 --generator.depth=1 --discriminator.width=4 --data.crop=32"
    options += " --generator.memory=naive --training.batch_size=8 --runtime.workers=1"
    own = ["unshare", "--mount", "sh", "-c"]
    mount = "mount -t tmpfs -o size=16k tmpfs /dev/shm"
    if not shutil.which("unshare") or subprocess.run([*own, mount], capture_output=True).returncode:
        pytest.skip("mounting a small /dev/shm is not permitted here")
    command = f'{mount} && exec "$0" -m revgan train "$1" --run "$2" {options}'
    done = subprocess.run(
        [*own, command, sys.executable, str(folder), str(tmp_path / "run")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "/dev/shm" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_workers_that_can_not_be_started_are_told(folder, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.Process, "start", fail)
    with pytest.raises(
        UserError, match=r"worker processes can't be started \(Resource temporarily"
    ):
        run(with_workers(configuration(folder), 2), tmp_path)


def test_more_workers_than_cores_are_said_and_are_no_error(folder, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})  # PyTorch's count
    monkeypatch.setattr(session, "usable_cores", lambda: {0})
    console = Console(soft_wrap=True)
    config = with_workers(configuration(folder), 2)
    run_training(config, RunFolder(tmp_path), resume=False, console=console)
    assert (
        "workers 2 is more than the cores that this process may use, 1;" in capfd.readouterr().out
    )
