"""Arrays that may be larger than memory: in files of a temporary folder where they are."""

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from revgan.errors import UserError
from revgan.memory import format_bytes

IN_MEMORY = 2**27
"""Bytes of arrays that a scratch keeps in memory; more go to the disk."""

Window = tuple[slice, ...]


class ScratchArray:
    """Numbers (C, *spatial) to write and read window by window.

    On the disk, the channels are last, so that a window is in few pieces, and networks take it as
    it is. A file is mapped for the time of a reading or writing alone: what stays mapped would
    count as the process's memory.

    Attributes:
        shape: (C, *spatial).
        dtype: of the numbers.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], memory: NDArray[Any] | Path | None
    ) -> None:
        self.shape, self.dtype = shape, dtype
        self._memory = memory

    def read(self, window: Window) -> NDArray[Any]:
        """A copy (C, *window), whose channels are last in memory."""
        return np.moveaxis(np.array(self._stored()[window]), -1, 0)

    def write(self, window: Window, values: NDArray[Any]) -> None:
        """Takes (C, *window)."""
        self._stored()[window] = np.moveaxis(values, 0, -1)

    @property
    def whole(self) -> NDArray[Any]:
        """All of it, (C, *spatial), as a view; on the disk, what is looked at counts as memory."""
        return np.moveaxis(self._stored(), -1, 0)

    def _stored(self) -> NDArray[Any]:
        if isinstance(self._memory, Path):
            shape = (*self.shape[1:], self.shape[0])
            return np.memmap(self._memory, self.dtype, "r+", shape=shape)
        assert self._memory is not None  # nothing is read in a rehearsal
        return self._memory


class Scratch:
    """Makes scratch arrays, each of which is there as long as anything refers to it.

    Files go to the system's folder for temporary ones, which the environment variable TMPDIR names.
    A context: at its end, all are gone.

    Args:
        in_memory: bytes that are kept in memory.
        rehearsal: arrays hold nothing; only their size is added up.

    Attributes:
        peak: the most bytes on the disk at a time so far.
    """

    def __init__(self, in_memory: int = IN_MEMORY, *, rehearsal: bool = False) -> None:
        self._in_memory = in_memory
        self.rehearsal = rehearsal
        self._folder: Path | None = None
        self._bytes = {True: 0, False: 0}  # by whether they are on the disk
        self._count = 0
        self.peak = 0

    @property
    def place(self) -> Path:
        """Where files go."""
        return Path(tempfile.gettempdir())

    def like(self, *, rehearsal: bool) -> "Scratch":
        """Another one with the same bounds."""
        return Scratch(self._in_memory, rehearsal=rehearsal)

    def require_room(self, size: int) -> None:
        """Refuses what the disk has no room for.

        Raises:
            UserError: says what is needed, and what is free.
        """
        try:
            free = shutil.disk_usage(self.place).free
        except OSError as error:
            raise UserError(
                f"the folder {self.place} can't hold scratch files ({error.strerror}); name "
                "another one by the environment variable TMPDIR"
            ) from error
        if size > free:
            raise UserError(
                f"scratch files of {format_bytes(size)} are needed, and {self.place} has "
                f"{format_bytes(free)} free; name a folder with more room by the "
                "environment variable TMPDIR, or take --statistics approximate"
            )

    def array(self, shape: tuple[int, ...], dtype: Any = np.float32) -> ScratchArray:
        """An array (C, *spatial) of any content.

        Raises:
            UserError: the disk is full.
        """
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        on_disk = self._bytes[False] + size > self._in_memory
        array = ScratchArray(shape, dtype, self._memory(shape, dtype, size, on_disk))
        self._bytes[on_disk] += size
        self.peak = max(self.peak, self._bytes[True])
        path = array._memory if isinstance(array._memory, Path) else None
        weakref.finalize(array, self._release, path, size, on_disk)
        return array

    def _memory(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], size: int, on_disk: bool
    ) -> NDArray[Any] | Path | None:
        if self.rehearsal:
            return None
        if not on_disk:
            return np.empty((*shape[1:], shape[0]), dtype)
        try:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="revgan-scratch-"))
            self._count += 1
            path = self._folder / str(self._count)
            reserve(path, size)
        except OSError as error:
            raise UserError(
                f"a scratch file of {format_bytes(size)} can't be made in {self.place} "
                f"({error.strerror}); name a folder with more room by the environment "
                "variable TMPDIR"
            ) from error
        return path

    def _release(self, path: Path | None, size: int, on_disk: bool) -> None:
        self._bytes[on_disk] -= size
        if path is not None:
            path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Removes all files."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def reserve(path: Path, size: int) -> None:
    """Makes a file of so many bytes that the disk has set aside.

    A mapped file without them would end the process where the disk is full.

    Raises:
        OSError: the disk hasn't so many.
    """
    with path.open("r+b" if path.exists() else "wb") as file:
        if hasattr(os, "posix_fallocate"):  # macOS has none
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
