"""Checkpoints: everything that a resumed run needs, without pickle, complete or not at all."""

import errno
import hashlib
import json
import math
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from revgan.errors import UserError, notice, one_line
from revgan.files import file_digest, flush, write_text
from revgan.networks.places import STATE
from revgan.networks.pretrained import save_tensors
from revgan.text import shell_word

PROGRESS = "progress.json"
CHECK = "sha256_of_progress"
BUILDING = ".step-"
"""How the names of unfinished checkpoints begin."""

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
        building = Path(tempfile.mkdtemp(prefix=BUILDING, dir=folder))
        save_tensors(building / STATE, tensors)
        counted = {"step": step, "sha256": file_digest(building / STATE), **counts}
        counted[CHECK] = _check(counted)
        write_text(building / PROGRESS, json.dumps(counted, allow_nan=False))
        flush(building)
        building.chmod(0o755)
        building.rename(final)
        flush(folder)
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
    run = checkpoints.parent
    return f"continue from step {whole[-1]} with revgan train --resume {shell_word(run)}"


def load_checkpoint(folder: Path) -> tuple[int, dict[str, Tensor], Counts]:
    """The latest whole checkpoint: steps done, tensors on the CPU, and the counts given with them.

    One that a broken disk or a power cut has damaged is named, and the one before it taken.

    Raises:
        UserError: there is none, none is whole, or one isn't what this program writes.
    """
    steps = _steps(folder)
    if not steps:
        raise UserError(
            f"{folder} holds no checkpoint to resume from; train again in another run folder"
        )
    reasons = []
    for step in reversed(steps):
        path = folder / f"step-{step}"
        try:
            loaded = _load(path, step)
        except (OSError, SafetensorError, ValueError, RecursionError) as error:
            reasons.append(f"the checkpoint {path} can't be read ({one_line(error, 200)})")
            continue
        for reason in reasons:
            notice(f"{reason}; the one of step {step} is taken instead")
        return loaded
    raise UserError(f"{reasons[0]}; train again in another run folder")


def counted(folder: Path, step: int, what: str) -> Mapping[str, float]:
    """The numbers called `what` that a whole checkpoint holds; none if it is of before they were.

    Args:
        folder: the run's checkpoints.
        step: whose; it has been loaded.
        what: a key of the counts that it was saved with.
    """
    counts = json.loads((folder / f"step-{step}" / PROGRESS).read_text(encoding="utf-8"))
    return counts.get(what, {})


def _load(path: Path, step: int) -> tuple[int, dict[str, Tensor], Counts]:
    """A checkpoint.

    Raises:
        OSError, SafetensorError, ValueError: it is damaged.
        UserError: it is whole, but says what can't be.
    """
    counts = json.loads((path / PROGRESS).read_text(encoding="utf-8"))
    if not isinstance(counts, dict):
        raise ValueError(f"{PROGRESS} holds no counts")
    check = counts.pop(CHECK, None)  # earlier versions had none
    if check is not None and check != _check(counts):
        raise ValueError(f"{PROGRESS} isn't what was written")
    if counts.pop("step", None) != step:
        raise UserError(
            f"the checkpoint {path} is damaged: its {PROGRESS} says another step; remove it to "
            "resume from the one before"
        )
    digest = counts.pop("sha256", None)
    if digest is not None and digest != file_digest(path / STATE):
        raise ValueError(f"{STATE} isn't what was written")
    if any(not _numbers(values) for values in counts.values()):
        raise ValueError(f"{PROGRESS} holds something else than numbers")
    return step, load_file(path / STATE), counts


def _check(counts: Mapping[str, Any]) -> str:
    """A digest of what `PROGRESS` holds besides it."""
    return hashlib.sha256(json.dumps(counts, sort_keys=True).encode()).hexdigest()


def _numbers(values: object) -> bool:
    return isinstance(values, dict) and all(
        isinstance(value, int | float) and math.isfinite(value) for value in values.values()
    )


def forget_checkpoints_after(folder: Path, step: int) -> None:
    """Removes those of later steps, which a resumed run comes to again: they were damaged.

    What a killed process left unfinished goes as well.
    """
    for unfinished in folder.glob(f"{BUILDING}*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    for later in _steps(folder):
        if later > step:
            shutil.rmtree(folder / f"step-{later}", ignore_errors=True)


def _steps(folder: Path) -> list[int]:
    """The steps of complete checkpoints, ascending."""
    names = (path.name.removeprefix("step-") for path in folder.glob("step-*"))
    return sorted(int(name) for name in names if re.fullmatch(r"0|[1-9][0-9]{0,17}", name))
