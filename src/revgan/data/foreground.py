"""Finds a scan's foreground, for samples that are centred on it."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from revgan.data.large import Unread

POSITIONS = 2**16
"""Foreground positions kept per scan, drawn at random from all."""


COARSE = 1024
"""Pixels a side of an image in which the foreground is looked for, at most."""

VOXELS = 2**26
"""Voxels in which the foreground is looked for, at most, of volumes that aren't in memory."""

BAND = 2**25
"""Values that are read at a time: a file's tiles are high, and reading them twice takes time."""

PERCENTILES = 0.5, 99.5
"""Between which Otsu's threshold is looked for: a hot spot of PET must not take over."""

AIR = -1024
"""Hounsfield units below which nothing is, but for noise and what CT scanners write around a scan,
such as -3024."""

APART = 0.1
"""How far that is from all values measured, at least, as a share of their range."""

SAMPLED = 2**20
"""Values from which percentiles are taken, at most."""


def foreground_positions(
    values: NDArray[Any] | Unread, *, colour: bool = False, above: float | None = None
) -> NDArray[np.int32]:
    """Positions in the foreground: above a threshold in a low resolution, by default Otsu's.

    Args:
        values: (C, *spatial), NaN where nothing was measured, which no such position is.
        above: the threshold for the mean over channels, in the values' units.
        colour: it is a threshold of how far red, green and blue are apart, not of the mean over
            channels: of stained slides, whose tissue is darker than the glass around it.

    Returns:
        (N, D) of D spatial axes, at most `POSITIONS` of them, ordered; all measured positions where
        all are alike.
    """
    shape = values.shape[1:]
    coarse, factor = _low_resolution(values)
    if colour and above is None:
        level = np.ptp(coarse[:3], axis=0)  # without alpha
    else:
        level = coarse[0] if len(coarse) == 1 else coarse.mean(axis=0)  # large volumes: no copy
    there = np.isfinite(level)
    measured = level if there.all() else level[there]
    threshold = above
    if above is None and measured.size and np.ptp(measured):
        threshold = otsu_threshold(_typical(measured))
    chosen = np.flatnonzero(level > (-np.inf if threshold is None else threshold))
    if not len(chosen):  # nothing is above it, or measured at all
        chosen = np.flatnonzero(there) if measured.size else np.arange(level.size)
    draws = np.random.default_rng(0)
    if len(chosen) > POSITIONS:
        chosen = np.sort(draws.choice(chosen, POSITIONS, replace=False))
    found = np.stack(np.unravel_index(chosen, level.shape), axis=1)
    if factor > 1:  # anywhere in what the mean was of
        found = found * factor + draws.integers(factor, size=found.shape)
        found = np.minimum(found, np.array(shape) - 1)
    return found.astype(np.int32)


def _low_resolution(values: NDArray[Any] | Unread) -> tuple[NDArray[np.float32], int]:
    """Means over squares, so that no side of an image is above `COARSE`.

    Volumes stay as they are; of those that aren't in memory, means over cubes, so that they have
    at most `VOXELS`.

    Returns:
        (C, *spatial) and the side of the squares or cubes.
    """
    first, *rest = shape = values.shape[1:]
    factor = -(-max(shape) // COARSE) if len(shape) < 3 else 1
    if len(shape) > 2 and isinstance(values, Unread):
        factor = math.ceil((math.prod(shape) / VOXELS) ** (1 / len(shape)))
    if factor == 1:
        return np.asarray(values, np.float32), 1
    rows = []
    band = factor * max(1, BAND // (factor * math.prod(rest) * len(values)))
    for start in range(0, first, band):  # a band at a time: slides are larger than memory
        part = values[:, start : min(start + band, first)]
        for top in range(0, part.shape[1], factor):
            strip = part[:, top : top + factor].mean(axis=1, dtype=np.float32)
            for axis, size in enumerate(rest, start=1):
                starts = np.arange(0, size, factor)
                widths = np.diff([*starts, size]).reshape(-1, *(1,) * (len(rest) - axis))
                strip = np.add.reduceat(strip, starts, axis=axis) / widths
            rows.append(strip)
    return np.stack(rows, axis=1).astype(np.float32), factor


def _typical(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values without what is only around a scan, and none beyond the `PERCENTILES`."""
    lowest = values.min()
    if lowest < AIR:
        rest = values[values > lowest]
        # Of one value, and far from all others: it was never measured.
        if 0 < rest.size < values.size - 1 and rest.min() - lowest > APART * np.ptp(rest) > 0:
            values = rest
    sample = values.ravel()[:: -(-values.size // SAMPLED)]
    low, high = np.percentile(sample, PERCENTILES)
    return values.clip(low, high) if low < high else values


def otsu_threshold(values: NDArray[np.float32]) -> float:
    """The threshold that splits values into the two classes that vary least (Otsu, 1979)."""
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    # For the classes below and above each edge; neither is empty, as both ends hold a value.
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * centres)[:-1]
    above, other_sums = counts.sum() - below, (counts * centres).sum() - sums
    between = below * above * (sums / below - other_sums / above) ** 2
    return float(edges[1 + np.argmax(between)])
