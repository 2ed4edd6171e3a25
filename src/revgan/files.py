"""Writes files that appear complete or not at all."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from revgan.errors import UserError

ABANDONED = 24 * 3600.0
"""Seconds without a change after which what is unfinished counts as left by a killed process."""


@contextmanager
def replacing(path: Path, suffix: str | None = None) -> Iterator[Path]:
    """A path beside `path` to write to; at the end of the context it replaces `path`.

    It has the same suffix, in lower case, because some libraries rely on it; `suffix` tells one of
    several parts, such as .ome.tif. After an error it is removed, and what was at `path` before is
    untouched. It may be a folder, which can also replace a folder.

    Raises:
        OSError: the error names `path`, not the file beside it.
    """
    begins = f".{uuid4().hex}.part"
    unfinished = path.with_name(f"{begins}{suffix or path.suffix.lower()}")
    try:
        try:
            yield unfinished
        except BaseException:
            for beside in path.parent.glob(f"{begins}?*"):  # what libraries made on the way
                if beside != unfinished and beside.is_file():
                    with contextlib.suppress(OSError):
                        beside.unlink()
            raise
        if unfinished.is_dir() and path.is_dir():
            _replace_folder(unfinished, path)
        else:
            unfinished.replace(path)
    except OSError as error:
        if error.errno is None and "requested and" in str(error):
            # NumPy says only how much less than wanted was written: the disk is full.
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(unfinished))
        named = str(error.filename or unfinished)  # none is named when the disk is full
        if named.startswith(str(unfinished)):
            error.filename, error.filename2 = named.replace(str(unfinished), str(path)), None
        raise error
    finally:
        if unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
        with contextlib.suppress(OSError):
            unfinished.unlink()


def _replace_folder(unfinished: Path, folder: Path) -> None:
    """Replaces one folder with another, which no system does in one step."""
    former = folder.with_name(f".{uuid4().hex}.former")
    folder.rename(former)
    try:
        unfinished.rename(folder)
    except OSError:
        former.rename(folder)
        raise
    shutil.rmtree(former, ignore_errors=True)


def remove_abandoned(folder: Path) -> None:
    """Removes what `replacing` left in a folder when its process was killed, a day ago or longer.

    Anything later may be of a process that is writing now.
    """
    for path in folder.glob(".*"):
        if re.fullmatch(r"\.[0-9a-f]{32}\.(part.*|former)", path.name):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime < ABANDONED:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


@contextmanager
def making_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill; at the end of the context it becomes `folder`, complete or not at all.

    If another process was faster, its folder stays and this one is dropped.

    Raises:
        OSError: the disk is full or not writable.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        yield building
        building.chmod(0o755)
        building.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def is_there(path: Path) -> bool:
    """Whether there is a file that need not be there.

    Raises:
        UserError: there is something else of its name, such as a folder or a pipe.
    """
    if path.is_file():
        return True
    if os.path.lexists(path):
        raise UserError(f"{path} is not a file; replace it with an undamaged copy")
    return False


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all, and flushed to the disk.

    Names of files that aren't UTF-8 get escapes.

    Raises:
        OSError: the disk is full or not writable.
    """
    content = text.encode("utf-8", "backslashreplace")
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush(path: Path) -> None:
    """Makes what was written to a file, or renamed in a folder, survive a power cut.

    Raises:
        OSError: it can't be.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """While active, an `OSError` without a file name gets that of `path`."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
