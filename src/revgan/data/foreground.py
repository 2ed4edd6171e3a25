"""Finds a scan's foreground, for samples that are centred on it."""

import numpy as np
from numpy.typing import NDArray

POSITIONS = 2**16
"""Foreground positions kept per scan, drawn at random from all."""


def foreground_positions(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """The positions whose mean over channels is above Otsu's threshold.

    Args:
        values: (C, *spatial), NaN where nothing was measured, which no such position is.

    Returns:
        (N, D) of D spatial axes, at most `POSITIONS` of them, ordered; all measured positions where
        the mean is the same everywhere.
    """
    mean = values[0] if len(values) == 1 else values.mean(axis=0)  # large volumes: no copy
    there = np.isfinite(mean)
    measured = mean if there.all() else mean[there]
    if measured.size and np.ptp(measured):
        chosen = np.flatnonzero(mean > otsu_threshold(measured))
    else:
        chosen = np.flatnonzero(there) if measured.size else np.arange(mean.size)
    if len(chosen) > POSITIONS:
        draws = np.random.default_rng(0)
        chosen = np.sort(draws.choice(chosen, POSITIONS, replace=False))
    return np.stack(np.unravel_index(chosen, mean.shape), axis=1).astype(np.int32)


def otsu_threshold(values: NDArray[np.float32]) -> float:
    """The threshold that splits values into the two classes that vary least (Otsu, 1979)."""
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    # For the classes below and above each edge; neither is empty, as both ends hold a value.
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * centres)[:-1]
    above, other_sums = counts.sum() - below, (counts * centres).sum() - sums
    between = below * above * (sums / below - other_sums / above) ** 2
    return float(edges[1 + np.argmax(between)])
