"""Windows that cover a scan."""

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

from revgan.data.scratch import Window


def tiles(region: Window, side: int, multiple: int = 1) -> Iterator[Window]:
    """A region in tiles of nearly the same size, row by row.

    Args:
        region: with both ends of each slice given.
        side: of the tiles, at most, but where `multiple` is larger.
        multiple: bounds of tiles are multiples of it, counted from the region's start.
    """
    axes = []
    for part in region:
        size = part.stop - part.start
        count = -(-size // max(side, multiple))
        step = -(-size // (count * multiple)) * multiple
        starts = range(part.start, part.stop, step)
        axes.append([slice(start, min(start + step, part.stop)) for start in starts])
    return product(*axes)


def whole(sizes: Sequence[int]) -> Window:
    """The window of all of a scan, or of a field."""
    return tuple(slice(0, size) for size in sizes)


def positions(window: Window) -> int:
    """How many there are."""
    return prod(part.stop - part.start for part in window)
