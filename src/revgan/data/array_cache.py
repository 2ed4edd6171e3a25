"""Arrays that come of files, kept on the disk until the files change.

An entry is a folder of plain NumPy files, memory-mapped, so that a crop reads no more than itself.
Its place depends on the file (path, size, time of change) and on what was made of it, so that a
changed file gets an entry anew. Entries appear whole, and several processes may write the same one
at once. Whatever is in a cache can be removed at any time when no training runs.
"""

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from revgan.environment import cache_folder
from revgan.errors import UserError
from revgan.files import making_folder


@dataclass(frozen=True)
class ArrayCache:
    """The entries of one kind.

    Attributes:
        kind: what they come of, such as "volumes"; names their folder.
        version: of what entries hold; another one makes old entries unused.
    """

    kind: str
    version: int

    @property
    def folder(self) -> Path:
        """Where the entries are."""
        return cache_folder() / self.kind

    def size(self) -> int:
        """Bytes that all entries ever written take together."""
        total = 0
        for path in self.folder.glob("*/*.npy"):
            with contextlib.suppress(FileNotFoundError):  # another process has just finished it
                total += path.stat().st_size
        return total

    def place(self, path: Path, *what: Any) -> Path:
        """Where the entry of a file is, or would be.

        Args:
            path: the file.
            what: all else that decides what the entry holds, as JSON has it.

        Raises:
            UserError: there is no such file.
        """
        try:
            status = path.stat()
        except OSError as error:
            raise UserError(
                f"{path} cannot be opened ({error.strerror}); give an existing, readable file"
            ) from error
        file = [self.version, str(path.resolve()), status.st_size, status.st_mtime_ns]
        text = json.dumps([*file, *what])
        return self.folder / hashlib.sha256(text.encode()).hexdigest()[:32]

    def write(self, place: Path, arrays: dict[str, NDArray[Any]], path: Path) -> None:
        """Writes an entry for the file `path`, unless another process was faster.

        Raises:
            UserError: the disk is full or not writable.
        """
        try:
            with making_folder(place) as building:
                for name, array in arrays.items():
                    with (building / f"{name}.npy").open("wb") as file:
                        np.save(file, array, allow_pickle=False)
                        file.flush()
                        os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"what was made of {path} can't be written to {self.folder} "
                f"({error.strerror or error}); make room there, or set XDG_CACHE_HOME to a folder "
                "on another disk"
            ) from error


def read_array(place: Path, name: str) -> NDArray[Any]:
    """An array of an entry, memory-mapped and read-only."""
    array: NDArray[Any] = np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    return array
