"""Arrays made from files, kept on disk until the files change.

An entry is a folder of plain NumPy files, memory-mapped, so that reading a crop reads only the
crop. Its name depends on what the file holds and on how it was processed, so a changed file gets a
new entry, and a file that only moved has one. An entry appears complete or not at all, and several
processes may write the same one at once. The least recently used entries make room for new ones,
but never those that this process uses. An entry that another process removed is made again, so the
whole folder can be deleted at any time.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from revgan.data.contents import digest
from revgan.data.large import Unread, windows_of
from revgan.data.mapped import mapped
from revgan.data.scratch import reserve
from revgan.environment import cache_folder
from revgan.errors import UserError, notice, one_line
from revgan.files import ABANDONED, making_folder

LIMIT = "REVGAN_CACHE_GB"
"""The environment variable that sets the cache's limit, in GB (10^9 bytes)."""

DEFAULT_GB = 100.0
"""Enough for 1,200 scans of 512 x 512 x 160 voxels of 16 bits."""

VERSION = 4
"""Version of the entries' content; entries of other versions are ignored."""

OVERRUN = 0.01
"""The share of the limit that may be written before room is made again."""

Arrays = dict[str, NDArray[Any]]

_used: set[Path] = set()
"""Entries that this process has asked for."""

_since = 0
"""Bytes that this process has written since it last made room."""


def folder() -> Path:
    """Where the entries are."""
    return cache_folder() / "scans"


def size() -> int:
    """Total size of all entries in bytes."""
    return sum(_size(entry) for entry in _entries())


def limit() -> int:
    """The limit in bytes.

    Raises:
        UserError: the environment variable isn't a number of at least 0.
    """
    text = os.environ.get(LIMIT) or str(DEFAULT_GB)
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = math.nan
    if not 0 <= gigabytes < math.inf:
        raise UserError(f"{LIMIT} must be a number of GB of at least 0, not {text!r}")
    return int(gigabytes * 1e9)


def entry(files: Sequence[Path], *what: Any) -> Path:
    """The path of a scan's entry, whether it exists yet or not; marks it as used by this process.

    Args:
        files: the files that it is read from.
        what: everything else that the entry's content depends on, as JSON values.

    Raises:
        UserError: one of the files can't be read.
    """
    seen = [[path.suffix.lower(), digest(path)] for path in files]
    text = json.dumps([VERSION, seen, *what])
    place = folder() / hashlib.sha256(text.encode()).hexdigest()[:32]
    _used.add(place)
    with contextlib.suppress(OSError):  # not there yet
        os.utime(place)
    return place


def load(place: Path) -> Arrays | None:
    """The arrays of an entry, memory-mapped and read-only; None if it isn't there.

    A damaged one is removed, with a word.
    """
    try:
        return {file.stem: mapped(file) for file in place.iterdir()}
    except FileNotFoundError:  # removed, maybe just now
        return None
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        drop(place, one_line(error, 100))
        return None


def drop(place: Path, reason: str) -> None:
    """Removes a damaged entry, with a word."""
    notice(f"the prepared scan {place} is damaged ({reason}), and made again")
    _remove(place)


def save(place: Path, arrays: Mapping[str, NDArray[Any] | Unread], path: Path) -> None:
    """Writes an entry for the file `path`, unless another process was faster; makes room for it.

    Raises:
        UserError: the disk is full or not writable.
    """
    global _since
    count = sum(array.nbytes for array in arrays.values())
    _since += count
    if _since >= limit() * OVERRUN:  # not every time, as it looks at all entries
        make_room(count)
        _since = 0
    try:
        with making_folder(place) as building:
            for name, array in arrays.items():
                with (building / f"{name}.npy").open("wb") as file:
                    if isinstance(array, Unread):
                        _write_parts(file, array)
                    else:
                        np.save(file, array, allow_pickle=False)
                    file.flush()
                    os.fsync(file.fileno())
    except OSError as error:
        raise UserError(
            f"the prepared form of {path} can't be written to {place.parent} "
            f"({error.strerror or error}); free some space there, or set XDG_CACHE_HOME to a "
            "folder on another disk"
        ) from error


def _write_parts(file: BinaryIO, values: Unread) -> None:
    """Writes what `np.save` would, part by part."""
    described = np.lib.format.header_data_from_array_1_0(np.empty(0, values.dtype))
    np.lib.format.write_array_header_1_0(file, described | {"shape": values.shape})
    start = file.tell()
    reserve(file, start + values.nbytes)
    for part in windows_of(values):
        # What stays mapped would count as the process's memory.
        mapped = np.memmap(file.name, values.dtype, "r+", start, values.shape)
        mapped[:, *part] = values[:, *part]
        del mapped
    file.seek(0, os.SEEK_END)


def make_room(count: int) -> None:
    """Removes entries that this process doesn't use, until `count` more bytes fit within the limit.

    Raises:
        UserError: as `limit`.
    """
    allowed = limit()
    for path in folder().glob(".*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                shutil.rmtree(path, ignore_errors=True)
    ages: dict[Path, float] = {}
    for path in _entries():
        with contextlib.suppress(OSError):
            ages[path] = path.stat().st_mtime
    sizes = {path: _size(path) for path in ages}
    taken = count + sum(sizes.values())
    for path in sorted(ages, key=ages.__getitem__):
        if taken > allowed and path not in _used:
            _remove(path)
            taken -= sizes[path]


def _entries() -> list[Path]:
    """All complete entries; the others are being made or removed."""
    return [path for path in folder().glob("*") if not path.name.startswith(".")]


def _size(place: Path) -> int:
    total = 0
    for file in place.glob("*.npy"):
        with contextlib.suppress(FileNotFoundError):  # another process has just removed it
            total += file.stat().st_size
    return total


def _remove(place: Path) -> None:
    """Removes an entry; other processes see all of it or nothing."""
    doomed = place.with_name(f".removing-{uuid4().hex}")
    with contextlib.suppress(OSError):  # another process was faster
        place.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
