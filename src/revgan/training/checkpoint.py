"""Checkpoints: everything that a resumed run needs, without pickle, complete or not at all."""

import errno
import json
import os
import shlex
import shutil
import tempfile
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from revgan.errors import UserError, one_line
from revgan.files import write_text
from revgan.networks.pretrained import save_tensors

TENSORS = "state.safetensors"
PROGRESS = "progress.json"

Counts = dict[str, dict[str, float]]


def save_checkpoint(
    folder: Path, step: int, tensors: dict[str, Tensor], counts: Counts, keep: int
) -> Path:
    """Writes ``folder/step-N`` completely or not at all, then removes all but the latest `keep`.

    Args:
        folder: the run's checkpoints.
        step: steps done.
        tensors: weights, moments and pools.
        counts: other numbers that a resumed run needs, by name.
        keep: how many checkpoints to keep.

    Raises:
        UserError: the disk is full or not writable; earlier checkpoints are untouched.
    """
    final = folder / f"step-{step}"
    if final.is_dir():
        return final
    building: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".step-", dir=folder))
        save_tensors(building / TENSORS, tensors)
        write_text(building / PROGRESS, json.dumps({"step": step, **counts}, allow_nan=False))
        building.chmod(0o755)
        building.rename(final)
        _flush(folder)
    except OSError as error:
        raise not_written(error, final, folder) from error
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)
    for old in _steps(folder)[:-keep]:
        shutil.rmtree(folder / f"step-{old}", ignore_errors=True)
    return final


def not_written(error: OSError, path: Path, checkpoints: Path) -> UserError:
    """The error for a file that couldn't be written, with how to continue."""
    full = error.errno == errno.ENOSPC
    reason = "no space is left on the disk" if full else (error.strerror or str(error))
    whole = _steps(checkpoints)
    remedy = "make room" if full else "make the place writable"
    if not whole:
        return UserError(
            f"{path} could not be written: {reason}; {remedy}, remove the run folder and train "
            "again"
        )
    return UserError(
        f"{path} could not be written: {reason}; {remedy} and continue with --resume from step "
        f"{whole[-1]}, the last complete checkpoint"
    )


def how_to_go_on(checkpoints: Path) -> str:
    """How to continue a run that ended in an error, given its folder of checkpoints."""
    whole = _steps(checkpoints)
    if not whole:
        return "no checkpoint was written yet, so train again"
    run = shlex.quote(str(checkpoints.parent))
    return f"continue from step {whole[-1]} with revgan train --resume {run}"


def load_checkpoint(folder: Path) -> tuple[int, dict[str, Tensor], Counts]:
    """The latest checkpoint: steps done, tensors on the CPU, and counts.

    Raises:
        UserError: there is none, or it can't be read.
    """
    steps = _steps(folder)
    if not steps:
        raise UserError(
            f"{folder} holds no checkpoint to resume from; train again in another run folder"
        )
    latest = folder / f"step-{steps[-1]}"
    try:
        progress = json.loads((latest / PROGRESS).read_text(encoding="utf-8"))
        step = int(progress.pop("step"))
        return step, load_file(latest / TENSORS), progress
    except (OSError, SafetensorError, TypeError, ValueError, KeyError) as error:
        remedy = "remove it to resume from the one before" if len(steps) > 1 else "train again"
        raise UserError(
            f"the checkpoint {latest} can't be read ({one_line(error)}); {remedy}"
        ) from error


def _steps(folder: Path) -> list[int]:
    """The steps of complete checkpoints, ascending."""
    names = (path.name.removeprefix("step-") for path in folder.glob("step-*"))
    return sorted(int(name) for name in names if name.isdigit())


def _flush(folder: Path) -> None:
    """Makes a rename survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
