"""Window and level: which values of a scan are black and white, and pictures that leave it open.

A picture has 8 bits, which are too few for all of a CT: black to white over 4,000 HU is 16 HU a
step. So a scan's levels are narrow where it has many values, and a table says what each one stands
for; whoever shows the picture chooses the window afterwards.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEVELS = 256

EVEN = 0.3
"""The share of levels that are spread evenly over all values, so that none is far from a level."""

_BINS = 1024


def level_table(scans: Sequence[Tensor]) -> NDArray[np.float64]:
    """The value of each level, ascending, for scans that share a picture's levels.

    Args:
        scans: of any shapes; what isn't a number doesn't count.
    """
    values = torch.cat([scan[scan.isfinite()].flatten().double() for scan in scans]).numpy()
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if not low < high:
        low, high = low - 0.5, low + 0.5
    counts, edges = np.histogram(values, _BINS, (low, high))
    # By the root of counts: else air, half of a scan, would have half of the levels.
    crowd = np.sqrt(counts)
    density = EVEN / _BINS + (1 - EVEN) * crowd / max(1.0, crowd.sum())
    rank = np.concatenate(([0.0], density.cumsum()))
    return np.interp(np.linspace(0, rank[-1], LEVELS), rank, edges)


def to_levels(scan: Tensor, table: NDArray[np.float64]) -> Tensor:
    """The nearest level of each value, uint8; the lowest where it isn't a number."""
    between = torch.from_numpy((table[1:] + table[:-1]) / 2)
    values = scan.double().nan_to_num(float(table[0])).contiguous()
    return torch.bucketize(values, between).to(torch.uint8)


def windowed(values: Tensor, centre: float, width: float) -> Tensor:
    """Values as a picture in [-1, 1]: `width` of them around `centre`, the rest black or white."""
    return ((values - centre) / (width / 2)).clamp(-1, 1).nan_to_num(-1).float()
