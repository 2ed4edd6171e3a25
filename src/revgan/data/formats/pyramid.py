"""Pyramids: a scan at several resolutions, the finest first, in one file."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from revgan.data.formats.contract import Selection, Values, Window
from revgan.errors import UserError

AS_IS = 0.01
"""A level isn't resampled if its pixel size differs by less than this share from the wanted one."""

Read = Callable[[Window], Values]
"""Reads the values (C, *window) of a level."""


@dataclass(frozen=True)
class Level:
    """A level of a pyramid of images.

    Attributes:
        number: 0 for the finest.
        shape: (H, W).
        scale: how many of its pixels, along each axis, make one wanted pixel.
    """

    number: int
    shape: tuple[int, ...]
    scale: float = 1.0

    @property
    def scaled(self) -> tuple[int, ...]:
        """The (H, W) at the wanted resolution."""
        if self.scale == 1:
            return self.shape
        return tuple(max(1, round(side / self.scale)) for side in self.shape)

    def read(self, read: Read, window: Window) -> Values:
        """Reads the values (C, *window) at the wanted resolution.

        Pixels are weighted means of the level's, by a triangle as wide as two of the larger of both
        pixels. So a window has the values that it has in the whole, but for float32's rounding.

        Args:
            read: reads windows of the level.
            window: on the wanted grid.
        """
        if self.scale == 1:
            return read(window)
        source, box, sides = [], [], []
        for part, side, scaled in zip(window, self.shape, self.scaled, strict=True):
            first, end, _ = part.indices(scaled)
            step = side / scaled
            reach = math.ceil(max(step, 1)) + 1
            low = max(0, math.floor(first * step) - reach)
            high = min(side, math.ceil(end * step) + reach)
            source.append(slice(low, high))
            box.append((first * step - low, min(end * step, side) - low))
            sides.append(end - first)
        values = read(tuple(source))
        (top, bottom), (left, right) = box
        # In float32, as Pillow rounds 8 bits differently.
        planes = [
            Image.fromarray(np.ascontiguousarray(plane, np.float32)).resize(
                (sides[1], sides[0]), Image.Resampling.BILINEAR, (left, top, right, bottom)
            )
            for plane in values
        ]
        return rounded(np.stack([np.asarray(plane) for plane in planes]), values.dtype)


def choose(
    path: Path,
    selection: Selection,
    shapes: Sequence[tuple[int, ...]],
    pixel_sizes: Sequence[float] | None,
) -> Level:
    """Chooses a level, and how to resample it.

    For a pixel size, it is the coarsest level that isn't coarser.

    Args:
        path: the file.
        selection: its level or its pixel size; neither means the finest level.
        shapes: (H, W) of each level.
        pixel_sizes: each level's, in micrometres; None if the file doesn't say.

    Raises:
        UserError: there is no such level, the file gives no pixel size, or both are given.
    """
    wanted, number = selection.pixel_size, selection.level or 0
    if wanted is None:
        if not 0 <= number < len(shapes):
            raise UserError(
                f"{path} has {len(shapes)} level{'s'[: len(shapes) > 1]}; give level from 0, the "
                f"finest, to {len(shapes) - 1}"
            )
        return Level(number, shapes[number])
    if selection.level is not None:
        raise UserError(f"{path} can't be read by level and pixel_size at once; leave out one")
    if pixel_sizes is None:
        raise UserError(
            f"{path} does not say how large its pixels are; give level instead of pixel_size"
        )
    if not 0 < wanted < math.inf:
        raise UserError(f"pixel_size must be above 0 micrometres, not {wanted:g}")
    fine = [each for each, size in enumerate(pixel_sizes) if size <= wanted * (1 + AS_IS)]
    number = fine[-1] if fine else 0
    scale = wanted / pixel_sizes[number]
    return Level(number, shapes[number], 1.0 if abs(scale - 1) < AS_IS else scale)


def lengths(
    sizes: Sequence[float],
    starts: Sequence[float],
    shape: tuple[int, ...],
    other: tuple[int, ...],
) -> tuple[list[float], list[float]]:
    """Pixel sizes and the first pixel's centre at another resolution.

    Both cover the same, or the coarser one has an integer factor and one pixel more or less at the
    end.

    Args:
        sizes: of a scan's pixels along each axis.
        starts: the centre of its first pixel.
        shape: of the scan.
        other: of the same scan in the other resolution.
    """
    factors = [_factor(side, count) for side, count in zip(shape, other, strict=True)]
    new = [size * factor for size, factor in zip(sizes, factors, strict=True)]
    return new, [at + (n - old) / 2 for at, n, old in zip(starts, new, sizes, strict=True)]


def _factor(side: int, coarser: int) -> float:
    whole = round(side / coarser)
    return whole if whole and coarser in (side // whole, -(-side // whole)) else side / coarser


def halvings(
    shape: tuple[int, ...], sizes: Sequence[float], least: int
) -> Iterator[tuple[int, ...]]:
    """The factors, 1 or 2 along each axis, from level to level of a pyramid to write.

    Axes whose pixels are at least twice as large as the others', as is common in depth, aren't
    halved until the others have caught up.

    Args:
        shape: of the finest level.
        sizes: its pixel sizes along each axis, in any unit.
        least: the last level is the first whose sides are all at most this long.
    """
    while max(shape) > least:
        finest = min(size for size, side in zip(sizes, shape, strict=True) if side > 1)
        factors = tuple(
            2 if side > 1 and size < 2 * finest else 1
            for size, side in zip(sizes, shape, strict=True)
        )
        yield factors
        sizes = [size * factor for size, factor in zip(sizes, factors, strict=True)]
        shape = coarser(shape, factors)


def coarser(shape: tuple[int, ...], factors: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the next coarser level."""
    return tuple(-(-side // factor) for side, factor in zip(shape, factors, strict=True))


def means(values: Values, factors: tuple[int, ...]) -> Values:
    """Means over 1 or 2 pixels along each axis, in the same type; at the end, over what is left.

    Args:
        values: (C, *spatial).
        factors: along each spatial axis.
    """
    total: Values = values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)
    for axis, factor in enumerate(factors, start=1):
        if factor == 2:
            along = np.moveaxis(total, axis, 0)
            halved, odds = along[::2].copy(), along[1::2]
            halved[: len(odds)] += odds
            halved[: len(odds)] /= 2
            total = np.moveaxis(halved, 0, axis)
    return rounded(total, values.dtype)


def rounded(values: Values, dtype: np.dtype[Any]) -> Values:
    """Floats in another type, rounded to nearest if it is an integer type."""
    if dtype.kind == "f":
        return values.astype(dtype)
    if dtype.kind == "b":
        return values >= 0.5
    limits = np.iinfo(dtype)
    return np.rint(values).clip(limits.min, limits.max).astype(dtype)


def blocks(shape: tuple[int, ...], sides: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Windows that cover a scan once, in the order of its array.

    Args:
        shape: of the scan.
        sides: the blocks'; those at the ends are smaller if necessary.
    """
    starts = (range(0, size, side) for size, side in zip(shape, sides, strict=True))
    for corner in product(*starts):
        yield tuple(
            slice(start, min(start + side, size))
            for start, side, size in zip(corner, sides, shape, strict=True)
        )
