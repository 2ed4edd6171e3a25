"""A bound on what a cache takes of the disk: entries that were used longest ago go first.

A cache is a folder of entries, each a folder of files. What a running process uses is never
removed, even where it alone is beyond the bound. Processes tell each other what they use by locked
files, whose locks the system drops when a process ends, however it ends. Where there are no such
locks (on Windows, on some network disks), nothing is ever removed.
"""

import atexit
import contextlib
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from uuid import uuid4

from revgan.errors import UserError

LIMIT = "REVGAN_CACHE_GB"
"""The environment variable of the bound, in GB (10^9 bytes)."""

DEFAULT_GB = 100.0
"""1,200 scans of 512 x 512 x 160 voxels, 16 bits each."""

ABANDONED = 24 * 3600.0
"""Seconds without a change after which an unfinished entry is that of a process that was killed."""

_leases: dict[Path, TextIO] = {}
"""By cache, the locked file in which this process lists the entries that it uses."""


def cache_limit() -> int:
    """The bound in bytes.

    Raises:
        UserError: the environment variable holds no number from 0 up.
    """
    text = os.environ.get(LIMIT) or str(DEFAULT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not 0 <= limit < math.inf:
        raise UserError(f"{LIMIT} must be a number of GB from 0 up, not {text!r}")
    return int(limit * 1e9)


def use(entry: Path) -> None:
    """Keeps an entry until this process ends, and notes that it was used now.

    To be called before a look whether the entry is there: then it stays.
    """
    with contextlib.suppress(ImportError, OSError), _alone(entry.parent) as locks:
        lease = _leases.get(entry.parent)
        if lease is None:
            lease = (locks / f"{uuid4().hex}.used").open("w", encoding="utf-8")
            _lock(lease, wait=True)
            _leases[entry.parent] = lease
            atexit.register(lease.close)
        lease.write(f"{entry.name}\n")
        lease.flush()
        os.utime(entry)


def make_room(cache: Path, size: int) -> None:
    """Removes entries that no process uses, until `size` bytes more are within the bound.

    Args:
        cache: the folder of entries.
        size: of the entry that is about to be written.

    Raises:
        UserError: as `cache_limit`.
    """
    limit = cache_limit()
    with contextlib.suppress(ImportError, OSError), _alone(cache) as locks:
        _remove_abandoned(cache)
        used = _used(locks)
        entries = {path: path.stat().st_mtime for path in cache.iterdir() if _is_entry(path)}
        sizes = {path: _size(path) for path in entries}
        taken = size + sum(sizes.values())
        for path in sorted(entries, key=entries.__getitem__):
            if taken > limit and path.name not in used:
                _remove(path)
                taken -= sizes[path]


@contextmanager
def _alone(cache: Path) -> Iterator[Path]:
    """Keeps others out of here for this cache; the folder of its locks."""
    locks = cache.with_name(f"{cache.name}.locks")
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / "lock").open("w", encoding="utf-8") as file:
        _lock(file, wait=True)
        yield locks


def _used(locks: Path) -> set[str]:
    """The names of the entries that running processes use; forgets processes that have ended."""
    names: set[str] = set()
    for path in locks.glob("*.used"):
        with path.open("r+", encoding="utf-8") as lease:
            if _lock(lease, wait=False):
                path.unlink()
            else:
                names |= set(lease.read().split())
    return names


def _lock(file: TextIO, *, wait: bool) -> bool:
    """Locks an open file until it is closed; False if another one has it and we don't wait.

    Raises:
        ImportError: the system has no such locks.
        OSError: the disk has none.
    """
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _is_entry(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")  # such are being made or removed


def _size(entry: Path) -> int:
    return sum(file.stat().st_size for file in entry.iterdir())


def _remove(entry: Path) -> None:
    """Removes an entry, of which others see all or nothing meanwhile."""
    doomed = entry.with_name(f".removing-{uuid4().hex}")
    entry.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _remove_abandoned(cache: Path) -> None:
    for path in cache.glob(".*"):
        if time.time() - path.stat().st_mtime > ABANDONED:
            shutil.rmtree(path, ignore_errors=True)
