"""Images and volumes that are computed part by part, when a part is read.

A field is a tensor (1, C, *spatial) that need not exist whole. It knows how to compute any window
of itself from windows of the fields that it is made of. Nothing is kept, unless it is stored.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from revgan.data.scratch import ScratchArray, Window
from revgan.networks.axes import PerAxis, per_axis


class Field(ABC):
    """See above.

    Attributes:
        channels: C.
        sizes: of the spatial axes.
        cost: numbers that are in memory at a time for each position that is read, over the widest
            of the tensors on the way.
    """

    channels: int
    sizes: tuple[int, ...]
    cost: float

    @abstractmethod
    def read(self, window: Window) -> Tensor:
        """A window (1, C, *window), which the caller may change.

        Args:
            window: a slice without a step for each spatial axis, with both ends given.
        """


class Given(Field):
    """What is read from elsewhere, such as from a file, with mirrored borders.

    Args:
        read: gives a window (C, *window) of what is there.
        channels: C.
        sizes: of what is there.
        padding: positions before and behind, for each axis.
        device: where to put it.
    """

    def __init__(
        self,
        read: Callable[[Window], Tensor],
        channels: int,
        sizes: Sequence[int],
        padding: Sequence[tuple[int, int]],
        device: torch.device,
    ) -> None:
        self._read, self._inner, self._device = read, tuple(sizes), device
        self._before = [before for before, _ in padding]
        # As F.pad does it, which mirrors at most size - 1 positions, else the border is repeated.
        self._mirrors = all(max(pad) < size for pad, size in zip(padding, sizes, strict=True))
        self.channels = channels
        self.sizes = tuple(
            size + before + after for size, (before, after) in zip(sizes, padding, strict=True)
        )
        self.cost = channels

    def read(self, window: Window) -> Tensor:
        places = [
            self._places(part, before, size)
            for part, before, size in zip(window, self._before, self._inner, strict=True)
        ]
        starts = [int(place.min()) for place in places]
        inner = tuple(
            slice(start, int(place.max()) + 1) for start, place in zip(starts, places, strict=True)
        )
        x = self._read(inner)
        for axis, (start, place) in enumerate(zip(starts, places, strict=True), start=1):
            wanted = torch.from_numpy(place - start)
            if len(wanted) != x.shape[axis] or not torch.equal(wanted, torch.arange(len(wanted))):
                x = x.index_select(axis, wanted.to(x.device))
        return x[None].to(self._device)

    def _places(self, part: slice, before: int, size: int) -> NDArray[np.int64]:
        """Which of the positions that are there stand at those of a window."""
        places: NDArray[np.int64] = np.arange(part.start, part.stop) - before
        if not self._mirrors:
            return places.clip(0, size - 1)
        places = np.abs(places)
        return np.where(places >= size, 2 * (size - 1) - places, places)


class Stored(Field):
    """What is in a scratch array."""

    def __init__(self, array: ScratchArray, device: torch.device) -> None:
        self._array, self._device = array, device
        self.channels, *sizes = array.shape
        self.sizes = tuple(sizes)
        self.cost = self.channels

    def read(self, window: Window) -> Tensor:
        return torch.from_numpy(self._array.read(window))[None].to(self._device)


class Held(Field):
    """A tensor in memory."""

    def __init__(self, x: Tensor) -> None:
        self._x = x
        self.channels, self.sizes = x.shape[1], tuple(x.shape[2:])
        self.cost = self.channels

    def read(self, window: Window) -> Tensor:
        return self._x[(slice(None), slice(None), *window)].clone()


class Pointwise(Field):
    """A function of fields of the same sizes that works position by position.

    Args:
        function: from windows (1, C, *window) to one; it may write into them.
        channels: of the result.
        *sources: what it is of.
    """

    def __init__(self, function: Callable[..., Tensor], channels: int, *sources: Field) -> None:
        self._function, self._sources = function, sources
        self.channels, self.sizes = channels, sources[0].sizes
        self.cost = max(channels, *(source.cost for source in sources))

    def read(self, window: Window) -> Tensor:
        return self._function(*(source.read(window) for source in self._sources))


class Local(Field):
    """A function that sees a neighbourhood of each position, and treats borders in its own way.

    Both sides are divided into cells, as many here as there; a cell of the result depends on cells
    of the source up to `margin` away. The function gets so many more than are asked for, and what
    it makes of these is dropped, as it takes their ends for borders.

    Args:
        function: from (1, C, *sizes) to (1, C', *sizes).
        channels: C'.
        source: what it is of.
        cell: positions of the source along a side of a cell; one number, or one per axis, as below.
        made: positions of the result there.
        margin: see above.
        least: cells that the function takes at least.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        channels: int,
        source: Field,
        cell: PerAxis = 1,
        made: PerAxis = 1,
        *,
        margin: PerAxis,
        least: PerAxis = 1,
    ) -> None:
        self._function, self._source = function, source
        numbers = (per_axis(value, len(source.sizes)) for value in (cell, made, margin, least))
        self._axes = [_Cells(*each) for each in zip(source.sizes, *numbers, strict=True)]
        self.channels = channels
        self.sizes = tuple(axis.count * axis.made for axis in self._axes)
        fewer = prod(axis.cell / axis.made for axis in self._axes)
        self.cost = max(channels, source.cost * fewer)

    def read(self, window: Window) -> Tensor:
        needed = [axis.needed(part) for axis, part in zip(self._axes, window, strict=True)]
        ends = list(zip(window, self._axes, needed, strict=True))
        x = self._source.read(
            tuple(slice(first * axis.cell, end * axis.cell) for _, axis, (first, end) in ends)
        )
        y = self._function(x)
        inside = (
            slice(part.start - first * axis.made, part.stop - first * axis.made)
            for part, axis, (first, _) in ends
        )
        return y[(slice(None), slice(None), *inside)]


@dataclass(frozen=True)
class _Cells:
    """The cells along one axis of a `Local`.

    Attributes:
        size: of the source.
        cell, made, margin, least: see `Local`.
    """

    size: int
    cell: int
    made: int
    margin: int
    least: int

    @property
    def count(self) -> int:
        """How many there are."""
        return self.size // self.cell

    def needed(self, part: slice) -> tuple[int, int]:
        """The first cell that is needed for a part, and the one behind the last."""
        first = max(0, part.start // self.made - self.margin)
        end = min(self.count, -(-part.stop // self.made) + self.margin)
        lacking = self.least - (end - first)
        if lacking > 0:
            end = min(self.count, end + lacking)
            first = max(0, end - self.least)
        return first, end
