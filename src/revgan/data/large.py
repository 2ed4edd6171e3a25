"""Values of scans that are never whole in memory: read from their files window by window."""

from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np

from revgan.data.formats import Values, Window
from revgan.data.tiling import tiles, whole

LARGE = 2**28
"""Bytes of a scan's values from which they are read window by window, where the format can."""

AT_A_TIME = 2**22
"""How many values of a scan are looked at at a time, where all are."""

LEAST = 64
"""The least side of such a part."""


class Reads(Protocol):
    """Gives the values (C, *window) of a scan."""

    def __call__(self, window: Window, /) -> Values: ...


@dataclass(frozen=True, eq=False)
class Unread:
    """Values (C, *spatial) that are read where they are needed; windows as of an array.

    Attributes:
        read: gives a window.
        shape: (C, *spatial).
        dtype: of what `read` gives.
    """

    read: Reads
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, key: tuple[slice, ...]) -> Values:
        channels, *parts = (*key, *(slice(None),) * (len(self.shape) - len(key)))
        ends = (part.indices(size) for part, size in zip(parts, self.shape[1:], strict=True))
        return self.read(tuple(slice(first, end) for first, end, _ in ends))[channels]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Values:
        return np.asarray(self.read(whole(self.shape[1:])), dtype)

    def __len__(self) -> int:
        return self.shape[0]


def windows_of(values: Values | Unread) -> list[Window]:
    """The parts in which values are looked at, where all are; an array in memory is one part."""
    channels, *shape = values.shape
    side = max(shape)
    if isinstance(values, Unread):
        side = max(LEAST, int((AT_A_TIME / channels) ** (1 / len(shape))))
    return list(tiles(whole(shape), side))
