"""Arrays that may be larger than memory: in files of a temporary folder where they are."""

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from revgan.errors import UserError
from revgan.memory import format_bytes

IN_MEMORY = 2**27
"""Bytes of arrays that a scratch keeps in memory; more go to the disk."""

Window = tuple[slice, ...]


class ScratchArray:
    """Numbers (C, *spatial) to write and read window by window.

    By default, the channels are last on the disk, so that a window is in few pieces, and networks
    take it as it is. A file is mapped for the time of a reading or writing alone: what stays mapped
    would count as the process's memory. It has no name, so that nothing is left of it after any
    end.

    Attributes:
        shape: (C, *spatial).
        dtype: of the numbers.
        planes: whether the channels come first, where they are read one by one.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        memory: NDArray[Any] | IO[bytes] | None,
        *,
        planes: bool = False,
    ) -> None:
        self.shape, self.dtype, self.planes = shape, dtype, planes
        self._memory = memory

    def read(self, window: Window, channels: slice = slice(None)) -> NDArray[Any]:
        """A copy (C, *window), in the order of the disk; of some channels, if they are named."""
        if self.planes:
            return np.array(self._stored()[channels, *window])
        return np.moveaxis(np.array(self._stored()[*window, channels]), -1, 0)

    def write(self, window: Window, values: NDArray[Any]) -> None:
        """Takes (C, *window)."""
        self.whole[:, *window] = values

    @property
    def whole(self) -> NDArray[Any]:
        """All of it, (C, *spatial), as a view; on the disk, what is looked at counts as memory."""
        return self._stored() if self.planes else np.moveaxis(self._stored(), -1, 0)

    def _stored(self) -> NDArray[Any]:
        assert self._memory is not None  # nothing is read in a rehearsal
        if isinstance(self._memory, np.ndarray):
            return self._memory
        return np.memmap(self._memory, self.dtype, "r+", shape=_stored(self.shape, self.planes))


def _stored(shape: tuple[int, ...], planes: bool) -> tuple[int, ...]:
    return shape if planes else (*shape[1:], shape[0])


class Scratch:
    """Makes scratch arrays, each of which is there as long as anything refers to it.

    Files go to the system's folder for temporary ones, or to that of the environment variable
    TMPDIR.

    Args:
        in_memory: bytes that are kept in memory.
        rehearsal: arrays hold nothing; only their size is added up.

    Attributes:
        peak: the most bytes on the disk at a time so far.
    """

    def __init__(self, in_memory: int = IN_MEMORY, *, rehearsal: bool = False) -> None:
        self._in_memory = in_memory
        self.rehearsal = rehearsal
        self._bytes = {True: 0, False: 0}  # by whether they are on the disk
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
        free = shutil.disk_usage(self.place).free
        if size > free:
            raise UserError(
                f"scratch files of {format_bytes(size)} are needed, and {self.place} has "
                f"{format_bytes(free)} free; name a folder with more room by the environment "
                "variable TMPDIR, or use --statistics approximate"
            )

    def array(
        self, shape: tuple[int, ...], dtype: Any = np.float32, *, planes: bool = False
    ) -> ScratchArray:
        """An array (C, *spatial) of zeros.

        Raises:
            UserError: the disk is full.
        """
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        on_disk = self._bytes[False] + size > self._in_memory
        memory: NDArray[Any] | IO[bytes] | None = None
        if not self.rehearsal:
            memory = self._file(size) if on_disk else np.zeros(_stored(shape, planes), dtype)
        array = ScratchArray(shape, dtype, memory, planes=planes)
        self._bytes[on_disk] += size
        self.peak = max(self.peak, self._bytes[True])
        file = None if isinstance(memory, np.ndarray) else memory
        weakref.finalize(array, self._release, file, size, on_disk)
        return array

    def _file(self, size: int) -> IO[bytes]:
        try:
            file = tempfile.TemporaryFile(prefix="revgan-scratch-")  # noqa: SIM115 - of the array
            reserve(file, size)
        except OSError as error:
            raise UserError(
                f"a scratch file of {format_bytes(size)} can't be made in {self.place} "
                f"({error.strerror}); name a folder with more room by the environment variable "
                "TMPDIR"
            ) from error
        return file

    def _release(self, file: IO[bytes] | None, size: int, on_disk: bool) -> None:
        self._bytes[on_disk] -= size
        if file is not None:
            file.close()


def reserve(file: IO[bytes], size: int) -> None:
    """Makes a file as large as so many bytes, which the disk sets aside.

    A mapped file without them would end the process where the disk is full.

    Raises:
        OSError: the disk hasn't so many.
    """
    if hasattr(os, "posix_fallocate"):  # macOS has none
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)
