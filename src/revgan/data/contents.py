"""Digests of what files hold, computed once for each state of a file.

A file's state is its place on the disk, its size, and when it was changed. With every change the
system sets `st_ctime`, which programs can't set back as they can the time that `touch` sets. Known
digests are kept beside the prepared scans, one file for each folder, if they took long to compute.
"""

import hashlib
import json
import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from threading import Lock

from revgan.environment import cache_folder
from revgan.errors import UserError
from revgan.files import write_text

LONG = 2**26
"""Bytes of a folder's files whose digests are worth keeping: a tenth of a second's work."""

SETTLED = 2.0
"""Seconds after a change before which another one might get the same time, on a coarse clock."""

State = list[int]

_known: dict[Path, dict[str, tuple[State, str]]] = {}
"""Digests by folder and name."""

_computed: Counter[Path] = Counter()
"""Bytes of each folder whose digests aren't on disk yet."""

_lock = Lock()


def digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal. Thread-safe.

    Raises:
        UserError: it can't be read.
    """
    path = path.absolute()
    try:
        state = _state(path)
        with _lock:
            known = _folder(path.parent).get(path.name)
        if known is not None and known[0] == state:
            return known[1]
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        settled = _state(path) == state and time.time() - state[-1] / 1e9 > SETTLED
    except OSError as error:
        raise UserError(
            f"{path} cannot be opened ({error.strerror}); give an existing, readable file"
        ) from error
    if settled:
        with _lock:
            _folder(path.parent)[path.name] = state, found
            _computed[path.parent] += state[2]
    return found


def keep() -> None:
    """Writes the digests that took long, for later processes."""
    with _lock:
        for folder in [folder for folder, size in _computed.items() if size >= LONG]:
            del _computed[folder]
            with suppress(OSError):  # it only saves time
                _place(folder).parent.mkdir(parents=True, exist_ok=True)
                write_text(_place(folder), json.dumps(_known[folder]))


def _state(path: Path) -> State:
    status = path.stat()
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _folder(folder: Path) -> dict[str, tuple[State, str]]:
    """The known digests of a folder's files."""
    if folder not in _known:
        _known[folder] = {}
        # None yet, or damaged: then they are computed again.
        with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
            content = json.loads(_place(folder).read_text(encoding="utf-8"))
            _known[folder] = {
                name: (list(map(int, state)), str(found))
                for name, (state, found) in content.items()
            }
    return _known[folder]


def _place(folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
    return cache_folder() / "digests" / f"{name}.json"
