"""What the values of many scans are like, channel by channel, found in one pass over them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from revgan.data.formats import Values
from revgan.data.large import Unread, windows_of

SAMPLE = 2**16
"""Values of each scan that percentiles are estimated from, drawn at random, always the same. The
share of values below the estimated 0.5th percentile of a single scan is then 0.5% +- 0.03%."""

SAMPLE_IN_ALL = 2**25
"""Values that all scans' samples have together, at most: 128 MiB."""

FEWEST = 2**10
"""Values of a channel that are drawn of each scan at least, of however many channels."""

PIECE = 2**22
"""Values whose variance is taken at a time: numpy makes 8 bytes of each meanwhile."""

Floats = NDArray[np.float64]


@dataclass
class Channel:
    """What one channel's measured values are like."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    lowest: float = math.inf
    highest: float = -math.inf
    samples: list[Values] = field(default_factory=list)

    def add(self, values: Values) -> None:
        """Merges further values, piece by piece (Chan et al., Am. Stat. 37, 1983)."""
        for start in range(0, values.size, PIECE):
            piece = values[start : start + PIECE]
            squares = float(piece.var(dtype=np.float64)) * piece.size
            self._merge(piece.size, float(piece.mean(dtype=np.float64)), squares)
        self.lowest = min(self.lowest, float(values.min()))
        self.highest = max(self.highest, float(values.max()))

    def _merge(self, count: int, mean: float, squares: float) -> None:
        share = count / (self.count + count)
        distance = mean - self.mean
        self.squares += squares + distance**2 * self.count * share
        self.mean += distance * share
        self.count += count

    @classmethod
    def joined(cls, channels: list["Channel"]) -> "Channel":
        """What all channels' values together are like."""
        joined = cls()
        for channel in channels:
            if channel.count:
                joined._merge(channel.count, channel.mean, channel.squares)
            joined.samples += channel.samples
            joined.lowest = min(joined.lowest, channel.lowest)
            joined.highest = max(joined.highest, channel.highest)
        return joined

    @property
    def deviation(self) -> float:
        """The standard deviation; 0 of no values."""
        return math.sqrt(self.squares / max(self.count, 1))

    def percentiles(self, *shares: float) -> list[float]:
        """Estimates from the sample."""
        return [float(value) for value in np.percentile(np.concatenate(self.samples), shares)]


class Survey:
    """What the values of scans are like.

    Attributes:
        channels: of each channel.
    """

    def __init__(self, channels: list[Channel]) -> None:
        self.channels = channels

    @classmethod
    def of(cls, arrays: Iterable[Values | Unread], scans: int = 1) -> "Survey":
        """Goes through scans once, one by one, so that a generator never holds more than one.

        The same scans in the same order give the same survey.

        Args:
            arrays: (C, *spatial) each; NaN is ignored.
            scans: about how many scans there are, for the size of the sample.

        Raises:
            ValueError: there are no scans, or no value in them.
        """
        channels: list[Channel] = []
        draws = np.random.default_rng(0)
        of_scan = min(SAMPLE, max(FEWEST, SAMPLE_IN_ALL // max(scans, 1)))
        for array in arrays:
            channels = channels or [Channel() for _ in range(len(array))]
            size = max(of_scan // len(array), min(FEWEST, of_scan))
            parts = windows_of(array)
            size = max(1, size // len(parts))
            for part in parts:
                for channel, values in zip(channels, array[:, *part], strict=True):
                    measured = _measured(values)
                    if measured.size:
                        channel.add(measured)
                        few = measured.size <= size
                        channel.samples.append(measured if few else draws.choice(measured, size))
        if not any(channel.count for channel in channels):
            raise ValueError("a survey needs at least one scan with a measured value")
        return cls(channels)

    def parts(self, per_channel: bool) -> list[Channel]:
        """Each channel separately, or all of them as one."""
        return self.channels if per_channel else [Channel.joined(self.channels)]


def _measured(values: Values) -> Values:
    """(N,): all values that are not NaN."""
    flat = values.ravel()
    if flat.dtype.kind != "f":
        return flat
    missing = np.isnan(flat)
    return flat[~missing] if missing.any() else flat
