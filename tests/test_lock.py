"""One process at a time trains in a run folder."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import warnings

import pytest

from revgan.errors import Notice, UserError
from revgan.training.lock import LOCK, trained_alone
from revgan.training.step import Trainer
from small_runs import configuration, run, write_images

HOLDER = """
import sys
from pathlib import Path
from revgan.training.lock import trained_alone
with trained_alone(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that trains in tmp_path/run."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_by_the_name_of_the_first(tmp_path, holder):
    with pytest.raises(UserError, match=f"run is being trained by process {holder.pid} on ."):
        run(configuration(write_images(tmp_path)), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]
    holder.communicate()  # which ends it
    assert not (tmp_path / "run").exists()


def test_a_lock_goes_with_its_process_however_that_ends(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / "run" / LOCK).exists()
    with trained_alone(tmp_path / "run"):
        assert f"process {os.getpid()} on" in (tmp_path / "run" / LOCK).read_text()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_run_that_was_made_meanwhile_is_not_overwritten(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    with pytest.raises(UserError, match="holds a run already"):
        run(configuration(write_images(tmp_path)), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.yaml"]


def test_a_disk_without_locks_is_told(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", fail)
    told = pytest.warns(Notice, match="can't lock files")
    with warnings.catch_warnings(), told, trained_alone(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_is_removed_ends_the_run_in_a_sentence(tmp_path, monkeypatch):
    step = Trainer.step

    def removing(self, batch, at):
        if at == 2:
            shutil.rmtree(tmp_path / "run")
        return step(self, batch, at)

    monkeypatch.setattr(Trainer, "step", removing)
    with pytest.raises(UserError, match="run was removed or moved while the run was trained"):
        run(configuration(write_images(tmp_path)), tmp_path / "run")
    assert not (tmp_path / "run").exists()
