"""Arrays that may be larger than memory: in files of a temporary folder where they are."""

import os
import shutil
import tempfile
import weakref
from itertools import product
from math import prod
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
    take it as it is. Files aren't mapped: the system maps more than what is asked for, and all of
    it counts as the process's memory. They have no name, so that nothing is left of them after any
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
        assert self._memory is not None  # nothing is read in a rehearsal
        box = self._box(window, channels)
        if isinstance(self._memory, np.ndarray):
            values = np.array(self._memory[box])
        else:
            values = _Runs(box, self._stored, self.dtype).read(self._memory.fileno())
        return values if self.planes else np.moveaxis(values, -1, 0)

    def write(self, window: Window, values: NDArray[Any]) -> None:
        """Takes (C, *window).

        Raises:
            OSError: the disk is full.
        """
        assert self._memory is not None
        box = self._box(window, slice(None))
        stored = values if self.planes else np.moveaxis(values, 0, -1)
        if isinstance(self._memory, np.ndarray):
            self._memory[box] = stored
        else:
            _Runs(box, self._stored, self.dtype).write(self._memory.fileno(), stored)

    @property
    def whole(self) -> NDArray[Any]:
        """All of it, (C, *spatial), as a view; on the disk, what is looked at counts as memory."""
        memory = self._memory
        assert memory is not None
        if not isinstance(memory, np.ndarray):
            memory = np.memmap(memory, self.dtype, "r+", shape=self._stored)
        return memory if self.planes else np.moveaxis(memory, -1, 0)

    @property
    def _stored(self) -> tuple[int, ...]:
        return _stored(self.shape, planes=self.planes)

    def _box(self, window: Window, channels: slice) -> Window:
        return (channels, *window) if self.planes else (*window, channels)


def _stored(shape: tuple[int, ...], *, planes: bool) -> tuple[int, ...]:
    """The order of the axes on the disk."""
    return shape if planes else (*shape[1:], shape[0])


class _Runs:
    """Where a part of an array is in its file: in runs of the same length.

    Args:
        box: the part, a slice for each axis.
        shape: of the array.
        dtype: of the array.
    """

    def __init__(self, box: Window, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        ranges = [range(*part.indices(size)) for part, size in zip(box, shape, strict=True)]
        self._shape, self._dtype = tuple(map(len, ranges)), dtype
        strides = [prod(shape[axis + 1 :]) * dtype.itemsize for axis in range(len(shape))]
        inner = len(shape) - 1  # the axis along which a run goes; those behind are in it whole
        while inner and len(ranges[inner]) == shape[inner]:
            inner -= 1
        self._length = prod(self._shape[inner:])
        steps = [
            [index * stride for index in along]
            for along, stride in zip(ranges[:inner], strides[:inner], strict=True)
        ]
        first = ranges[inner].start * strides[inner]
        self._places = [first + sum(each) for each in product(*steps)]

    def read(self, file: int) -> NDArray[Any]:
        """The part."""
        values = np.empty((len(self._places), self._length), self._dtype)
        for place, row in zip(self._places, values, strict=True):
            data = row.view(np.uint8).data
            while data:
                piece = os.pread(file, len(data), place)
                data[: len(piece)] = piece
                place, data = place + len(piece), data[len(piece) :]
        return values.reshape(self._shape)

    def write(self, file: int, values: NDArray[Any]) -> None:
        """Writes the part."""
        rows = np.ascontiguousarray(values, self._dtype).reshape(len(self._places), self._length)
        for place, row in zip(self._places, rows, strict=True):
            data = row.view(np.uint8).data
            while data:
                count = os.pwrite(file, data, place)
                place, data = place + count, data[count:]


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
            memory = self._file(size) if on_disk else np.zeros(_stored(shape, planes=planes), dtype)
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

    A mapped file without them would end the process where the disk is full; others fail late.

    Raises:
        OSError: the disk hasn't so many.
    """
    if hasattr(os, "posix_fallocate"):  # macOS has none
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)
