"""How much the page keeps: uploads and results on the disk, pictures and bodies in memory."""

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Protocol

import torch

from revgan.errors import UserError
from revgan.memory import format_bytes, free_budget

SPARE = 2**28
"""Bytes of the disk, or a twentieth of it if that is less, that are left to others."""

PICTURES = 2**30
"""Bytes of memory for the pictures of results; those of the latest result are kept in any case."""


class Shown(Protocol):
    """A result, as far as it takes room."""

    @property
    def folder(self) -> Path:
        """Holds its files."""

    @property
    def memory(self) -> int:
        """Bytes of its pictures."""

    def remove(self) -> None:
        """Removes its files and pictures."""


class FullError(UserError):
    """There is no room, and none that could be made."""


@dataclass
class Keeping:
    """Makes room for what comes by removing the oldest of what is there.

    Attributes:
        folder: what is in its folders counts, and can go; entry by entry.
        most: bytes that all of it may have together.
    """

    folder: Path
    most: int
    _lock: Lock = field(default_factory=Lock)
    _coming: int = 0  # bytes that are being received or written
    _held: int = 0  # bytes of memory for bodies that are being received
    _busy: Counter[Path] = field(default_factory=Counter)
    _results: list[Shown] = field(default_factory=list)  # the oldest first

    @contextmanager
    def receiving(self, memory: int, disk: int = 0) -> Iterator[None]:
        """Room, within the context, for the body of a request.

        Args:
            memory: bytes that it may take in memory.
            disk: bytes that its files may have.

        Raises:
            FullError: there is none.
        """
        with self._lock:
            if self._held + memory > free_budget(torch.device("cpu")) // 2:
                raise FullError("too much is being sent to this page; try again in a minute")
            self._held += memory
        try:
            with self.writing(disk):
                yield
        finally:
            with self._lock:
                self._held -= memory

    @contextmanager
    def writing(self, size: int, entry: Path | None = None) -> Iterator[None]:
        """Room, within the context, for files.

        Args:
            size: of all together, in bytes; what is written of them may count twice until the end.
            entry: which is in use meanwhile, and so doesn't go; None if nothing is.

        Raises:
            FullError: there is none.
        """
        used = entry or self.folder
        with self._lock:
            self._busy[used] += 1
            self._coming += size
        try:
            with self._lock:
                self._make_room()
            yield
        finally:
            with self._lock:
                self._coming -= size
                self._busy[used] -= 1

    def add(self, result: Shown) -> None:
        """Keeps a result, and removes the oldest whose pictures take too much memory."""
        with self._lock:
            self._results.append(result)
            while len(self._results) > 1 and self._pictures() > PICTURES:
                self._results.pop(0).remove()

    def drop(self, result: Shown) -> None:
        """Removes a result."""
        with self._lock:
            self._results = [each for each in self._results if each is not result]
        result.remove()

    def _pictures(self) -> int:
        return sum(result.memory for result in self._results)

    def _make_room(self) -> None:
        """Removes what must go for what is coming."""
        if not self._coming:
            return
        sizes = {entry: _size(entry) for entry in self._entries()}
        disk = shutil.disk_usage(self.folder)
        free = disk.free - min(SPARE, disk.total // 20)
        going = sorted((entry for entry in sizes if not self._busy[entry]), key=_changed)
        used = sum(sizes.values())
        while used + self._coming > self.most or self._coming > free:
            if not going:
                raise FullError(
                    f"this page has no room for {format_bytes(self._coming)} at the moment; try "
                    "again later"
                )
            entry = going.pop(0)
            self._remove(entry)
            used -= sizes[entry]
            free += sizes[entry]

    def _entries(self) -> list[Path]:
        found = []
        for place in self.folder.iterdir():
            with suppress(OSError):
                found += list(place.iterdir())
        return found

    def _remove(self, entry: Path) -> None:
        for result in self._results:
            if result.folder == entry:
                result.remove()
        self._results = [each for each in self._results if each.folder != entry]
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _size(entry: Path) -> int:
    """Bytes of a file, or of all files in a folder; what two folders share counts twice."""
    total = 0
    for path in (entry, *entry.rglob("*")):
        with suppress(OSError):  # it may go meanwhile
            total += path.lstat().st_size
    return total


def _changed(entry: Path) -> float:
    with suppress(OSError):
        return entry.lstat().st_mtime
    return 0.0
