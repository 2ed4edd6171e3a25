"""What is in a folder, and which of it can be read without harm."""

import stat
from pathlib import Path

from revgan.data.formats.contract import HEAD
from revgan.errors import UserError


def visible(folder: Path) -> list[Path]:
    """What is in a folder, ordered by name, without what is hidden.

    Raises:
        UserError: it can't be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder} can't be listed ({error.strerror}); make it readable") from error


def unreadable(path: Path) -> str | None:
    """Why a path is neither a file nor a folder; None if it is one.

    To read a pipe or a device may take forever, and change it.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return "a link that leads nowhere" if path.is_symlink() else None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return "a pipe, socket or device, not a file"


def first_bytes(path: Path) -> bytes:
    """The first `HEAD` bytes of a file, or all of a shorter one.

    Raises:
        UserError: it can't be read, or isn't a file.
    """
    if why := unreadable(path):
        raise UserError(f"{path} is {why}; give a file")
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise UserError(
            f"{path} cannot be opened ({error.strerror}); give an existing, readable file"
        ) from error
