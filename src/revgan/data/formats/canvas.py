"""An array on disk that can be written in any order, for files that must be written in one."""

import os
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]
"""A part of an array: a slice without a step for each axis."""


class Canvas:
    """An array in a temporary file, 0 where nothing was written.

    The file isn't memory-mapped, because mapped pages count as the process's memory, and a full
    disk would kill the process.

    Args:
        path: the file to make.
        shape: of the array.
        dtype: of the array.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        self._path = path
        self._strides = [prod(shape[axis + 1 :]) * dtype.itemsize for axis in range(len(shape))]
        self._file = path.open("w+b", buffering=0)
        self._file.truncate(prod(shape) * dtype.itemsize)

    def write(self, box: Box, values: NDArray[Any]) -> None:
        """Writes a part of the array.

        Raises:
            OSError: the disk is full.
        """
        places, shape = self._runs(box)
        rows = np.ascontiguousarray(values, self.dtype).reshape(len(places), shape[-1])
        for place, row in zip(places, rows, strict=True):
            data = row.tobytes()
            while data:
                count = os.pwrite(self._file.fileno(), data, place)
                place, data = place + count, data[count:]

    def read(self, box: Box) -> NDArray[Any]:
        """Reads a part of the array."""
        places, shape = self._runs(box)
        values = np.empty((len(places), shape[-1]), self.dtype)
        for place, row in zip(places, values, strict=True):
            os.preadv(self._file.fileno(), [row.view(np.uint8)], place)
        return values.reshape(shape)

    def _runs(self, box: Box) -> tuple[list[int], tuple[int, ...]]:
        """Where each run along the last axis starts in the file, and the part's shape."""
        ranges = [range(*part.indices(side)) for part, side in zip(box, self.shape, strict=True)]
        *outer, last = ranges
        steps = [
            [index * stride for index in along]
            for along, stride in zip(outer, self._strides[:-1], strict=True)
        ]
        first = last.start * self.dtype.itemsize
        return [first + sum(each) for each in product(*steps)], tuple(map(len, ranges))

    def close(self) -> None:
        """Removes the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)
