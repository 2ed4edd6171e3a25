"""Mirroring along some spatial axes, of whole arrays and of windows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

from torch import Tensor

from revgan.data.formats import Window


@dataclass(frozen=True)
class Mirror:
    """Mirrors arrays of some sizes along some axes; twice changes nothing.

    Attributes:
        axes: spatial ones, from 0.
        sizes: of all spatial axes.
    """

    axes: tuple[int, ...]
    sizes: Sequence[int]

    def window(self, window: Window) -> Window:
        """Where a window of the mirrored array comes from."""
        return tuple(
            slice(size - part.stop, size - part.start) if axis in self.axes else part
            for axis, (part, size) in enumerate(zip(window, self.sizes, strict=True))
        )

    def values(self, x: Tensor) -> Tensor:
        """Mirrors (..., *window)."""
        first = x.ndim - len(self.sizes)
        return x.flip([first + axis for axis in self.axes]) if self.axes else x


def ways(axes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """All sets of these axes, from none to all."""
    return chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1))
