"""How translations agree with the truth: differences by size (Bland and Altman, 1986).

A mean error says nothing of where errors lie. `AgreementTally` takes scans one by one and keeps
what three plots need: each scan's mean difference, how often which difference occurs beside which
mean of the two, and the errors at each intensity of the truth.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from revgan.scores.intervals import bootstrap
from revgan.scores.numbers import require_numbers

LIMIT = 1.96
"""Limits of agreement are so many standard deviations from the mean difference."""

MOST_BINS = 128
"""Bins of intensities, at most."""

REACH = 30
"""Bins of differences, to either side of the one around 0."""

SHOWN = 0.998
"""The share of differences that lie within them, at least."""

CHUNK = 2**22
"""Values that are counted at a time."""

_FINE = 16
"""While scans are added, differences are counted in bins that are so much narrower."""

_REACH = _FINE * MOST_BINS

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ScanDifference:
    """One scan, over all its values.

    Attributes:
        scan: its name.
        mean: the mean of translation and truth together.
        difference: the mean of translation minus truth.
        deviation: the standard deviation of translation minus truth.
        count: how many values were compared.
    """

    scan: str
    mean: float
    difference: float
    deviation: float
    count: int


@dataclass(frozen=True)
class Limits:
    """Within which differences lie, if they are normally distributed.

    Attributes:
        difference: their mean, and the ends of its 95% interval, None if there is none.
        lower: 1.96 standard deviations below, in the same way.
        upper: 1.96 standard deviations above, in the same way.
    """

    difference: tuple[float, float | None, float | None]
    lower: tuple[float, float | None, float | None]
    upper: tuple[float, float | None, float | None]


@dataclass(frozen=True)
class Band:
    """The errors where the truth is at least `low` and less than `high`.

    Attributes:
        low: lower end.
        high: upper end; the first and last bands also have what lies beyond all of them.
        count: how many values of the truth are there.
        difference: the mean of translation minus truth.
        deviation: the standard deviation of translation minus truth.
        mae: the mean of its size.
    """

    low: float
    high: float
    count: int
    difference: float
    deviation: float
    mae: float


@dataclass(frozen=True)
class Agreement:
    """Translations beside the truth, in the truth's units.

    Attributes:
        scans: one by one.
        limits: over the scans' mean differences; None for a single scan.
        difference: the mean of translation minus truth over all values of all scans.
        deviation: its standard deviation.
        count: how many values were compared; every channel counts.
        mean_edges: of bins of the mean of translation and truth, (M + 1).
        difference_edges: of bins of translation minus truth, (D + 1), the middle one around 0.
        counts: of values in these bins, (M, D). What lies beyond the first or last mean counts in
            that bin.
        beyond: how many values have differences beyond the bins.
        bands: by intensity of the truth, without empty ones.
        masked: whether only what is inside masks was compared.
    """

    scans: Sequence[ScanDifference]
    limits: Limits | None
    difference: float
    deviation: float
    count: int
    mean_edges: Sequence[float]
    difference_edges: Sequence[float]
    counts: Sequence[Sequence[int]]
    beyond: int
    bands: Sequence[Band]
    masked: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What `to_dict` described.

        Raises:
            KeyError, TypeError, ValueError: it described none.
        """
        limits = content["limits"]
        whole = cls(
            **{
                **content,
                "scans": [ScanDifference(**scan) for scan in content["scans"]],
                "limits": None
                if limits is None
                else Limits(**{name: _ends(*ends) for name, ends in limits.items()}),
                "bands": [Band(**band) for band in content["bands"]],
            }
        )
        if not all(isinstance(scan.scan, str) for scan in whole.scans):
            raise TypeError("a scan's name must be text")
        scans = [{**scan, "scan": None} for scan in content["scans"]]
        require_numbers({**content, "scans": scans, "masked": None})
        for edges in (whole.mean_edges, whole.difference_edges):
            if any(low >= high for low, high in pairwise(edges)):
                raise ValueError("the edges of bins must ascend")
        shape = (len(whole.mean_edges) - 1, len(whole.difference_edges) - 1)
        if np.shape(whole.counts) != shape or 0 in shape or not whole.scans:
            raise ValueError(f"the counts of {shape} bins can't be {np.shape(whole.counts)}")
        return whole


def _ends(
    value: float, low: float | None, high: float | None
) -> tuple[float, float | None, float | None]:
    return value, low, high


def _power(base: float, least: float) -> float:
    """The least power of a base that isn't below a number above 0."""
    return base ** math.ceil(math.log(least, base) - 1e-9)  # a logarithm may be off by rounding


class AgreementTally:
    """Collects scans, one by one.

    Bins of means and intensities are a power of 2 wide and have 0 as an edge; the narrow bins of
    differences are a power of 3 wide, an odd number, as one of them is around 0. So the bins of one
    tally fit into those of another of a greater range, and tallies can be joined.

    Args:
        low: the lowest value of the truth.
        high: the highest.
        step: the least difference between values: 1 for files of integers, 0 for others.
        masked: see `Agreement`.
    """

    def __init__(self, low: float, high: float, step: float = 0.0, masked: bool = False) -> None:
        self._low, self._high, self._step, self._masked = low, high, step, masked
        span = high - low or abs(low) or 1.0
        # Two less, as the first and the last may stick out.
        self._width = _power(2.0, max(span / (MOST_BINS - 2), step))
        self._first = math.floor(low / self._width)
        self._bins = math.floor(high / self._width) - self._first + 1
        self._narrow = _power(3.0, max(self._width / _FINE, step))
        self._counts = np.zeros((self._bins, 2 * _REACH + 1), np.int64)
        self._bands = np.zeros((4, self._bins))  # count, and sums of error, its square and its size
        self._scans: list[ScanDifference] = []
        self._subjects: list[str] = []

    def add(
        self, scan: str, subject: str, prediction: Tensor, truth: Tensor, mask: Tensor | None
    ) -> None:
        """Adds one more scan.

        Args:
            scan: its name.
            subject: whom it shows; "" if that is unknown.
            prediction: (C, *spatial), finite in the mask.
            truth: of the same shape, finite there too.
            mask: (*spatial), bool: what counts, at least one position; None counts all.
        """
        total = _Moments()
        means = 0.0
        for made, true in _chunks(prediction, truth, mask):
            difference, mean = made - true, (made + true) / 2
            total.add(difference)
            means += float(mean.sum())
            self._count(mean, difference)
            self._count_bands(true, difference)
        self._subjects.append(subject)
        self._scans.append(
            ScanDifference(
                scan, means / total.count, total.mean, total.deviation, count=total.count
            )
        )

    @classmethod
    def joined(cls, tallies: "Sequence[AgreementTally]") -> "AgreementTally":
        """One tally of the scans of several, at least one, such as of the folds of a data set.

        It is what adding all scans to one tally of the whole range would have given, but that
        values beyond a tally's range stay in the outer bin of that tally.
        """
        whole = cls(
            min(each._low for each in tallies),
            max(each._high for each in tallies),
            max(each._step for each in tallies),
            any(each._masked for each in tallies),
        )
        for each in tallies:
            wider, fine = round(whole._width / each._width), round(whole._narrow / each._narrow)
            rows = (each._first + np.arange(each._bins)) // wider - whole._first
            columns = (np.arange(-_REACH, _REACH + 1) + fine // 2) // fine
            columns[[0, -1]] = -_REACH, _REACH  # which hold all that is beyond
            np.add.at(whole._counts, (rows[:, None], columns[None] + _REACH), each._counts)
            np.add.at(whole._bands.T, rows, each._bands.T)
            whole._scans += each._scans
            whole._subjects += each._subjects
        return whole

    def __bool__(self) -> bool:
        """Whether any scan was added."""
        return bool(self._scans)

    def result(self) -> Agreement | None:
        """The agreement over all scans; None if there was none."""
        if not self._scans:
            return None
        count, mean, square = (float(row.sum()) for row in self._bands[:3])
        bins, reach = self._bin_widths()
        columns, beyond = self._coarse(bins, reach)
        used = np.flatnonzero(columns.any(axis=1))
        first, last = (int(used[0]), int(used[-1])) if len(used) else (0, 0)
        return Agreement(
            scans=list(self._scans),
            limits=limits_of_agreement([one.difference for one in self._scans], self._subjects),
            difference=mean / count,
            deviation=_deviation(count, mean, square),
            count=int(count),
            mean_edges=self._edges(range(first, last + 2)),
            difference_edges=[
                (place - 0.5) * bins * self._narrow for place in range(-reach, reach + 2)
            ],
            counts=columns[first : last + 1].tolist(),
            beyond=beyond,
            bands=self._found_bands(),
            masked=self._masked,
        )

    def _count(self, mean: Floats, difference: Floats) -> None:
        place = np.floor(difference / self._narrow + 0.5).clip(-_REACH, _REACH).astype(np.int64)
        size = self._counts.size
        flat = self._place(mean) * (2 * _REACH + 1) + place + _REACH
        self._counts += np.bincount(flat, minlength=size).reshape(self._counts.shape)

    def _count_bands(self, truth: Floats, difference: Floats) -> None:
        place = self._place(truth)
        for row, weights in enumerate((None, difference, difference**2, np.abs(difference))):
            self._bands[row] += np.bincount(place, weights, minlength=self._bins)

    def _place(self, values: Floats) -> NDArray[np.int64]:
        place = np.floor(values / self._width) - self._first
        return place.clip(0, self._bins - 1).astype(np.int64)

    def _edges(self, places: Sequence[int]) -> list[float]:
        return [(self._first + place) * self._width for place in places]

    def _bin_widths(self) -> tuple[int, int]:
        """How many narrow bins become one, an odd number, and how many bins there are aside 0."""
        sizes = self._counts.sum(axis=0)
        to_either_side = sizes[_REACH:] + sizes[_REACH::-1]
        to_either_side[0] = sizes[_REACH]
        inside = to_either_side.cumsum()
        most = int(np.searchsorted(inside, SHOWN * inside[-1]))
        bins = 1
        while REACH * bins + bins // 2 < most:
            bins += 2
        return bins, min(REACH, math.ceil(max(0, most - bins // 2) / bins) + 1)

    def _coarse(self, bins: int, reach: int) -> tuple[NDArray[np.int64], int]:
        """The counts in wider bins of differences, and the number beyond them."""
        places = np.arange(-_REACH, _REACH + 1)
        wide = np.floor((places + bins // 2) / bins).astype(np.int64)
        columns = np.zeros((self._bins, 2 * reach + 1), np.int64)
        for place in range(-reach, reach + 1):
            columns[:, place + reach] = self._counts[:, wide == place].sum(axis=1)
        return columns, int(self._counts.sum() - columns.sum())

    def _found_bands(self) -> list[Band]:
        found = []
        for place, (count, mean, square, size) in enumerate(self._bands.T):
            if count:
                low, high = self._edges((place, place + 1))
                deviation = _deviation(count, mean, square)
                found.append(Band(low, high, int(count), mean / count, deviation, size / count))
        return found


class _Moments:
    """Mean and standard deviation of values that come in parts (Chan et al., 1979)."""

    def __init__(self) -> None:
        self.count, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, values: Floats) -> None:
        count, mean = len(values), float(values.mean())
        both, apart = self.count + count, mean - self.mean
        self._squares += float(((values - mean) ** 2).sum())
        self._squares += apart**2 * self.count * count / both
        self.mean += apart * count / both
        self.count = both

    @property
    def deviation(self) -> float:
        return math.sqrt(self._squares / max(1, self.count - 1))


def _deviation(count: float, total: float, squares: float) -> float:
    return math.sqrt(max(0.0, squares - total**2 / count) / max(1, count - 1))


def _chunks(
    prediction: Tensor, truth: Tensor, mask: Tensor | None
) -> Iterator[tuple[Floats, Floats]]:
    """Both in parts of at most `CHUNK` values, of those that count."""
    made, true = (values.detach().cpu().flatten(1) for values in (prediction, truth))
    inside = None if mask is None else mask.cpu().flatten()
    for channel in range(len(true)):
        for start in range(0, true.shape[1], CHUNK):
            part = slice(start, start + CHUNK)
            one, other = made[channel, part].double(), true[channel, part].double()
            if inside is not None:
                one, other = one[inside[part]], other[inside[part]]
            if len(one):
                yield one.numpy(), other.numpy()


def limits_of_agreement(
    differences: Sequence[float], subjects: Sequence[str] | None = None
) -> Limits | None:
    """The mean difference and the limits of agreement, with bootstrap intervals.

    Args:
        differences: one for each scan.
        subjects: whom each shows, "" where unknown, as of `bootstrap`.

    Returns:
        None for fewer than two scans.
    """
    count = len(differences)
    if count < 2:
        return None
    values = torch.tensor(differences, dtype=torch.float64)
    middle = values.mean()  # subtracted first, so that squares keep their digits

    def statistic(means: Tensor) -> Tensor:
        mean, square = means.unbind(1)
        deviation = ((square - mean**2).clamp(min=0) * count / (count - 1)).sqrt()
        return torch.stack((mean, mean - LIMIT * deviation, mean + LIMIT * deviation), 1) + middle

    apart = values - middle
    drawn = [name or place for place, name in enumerate(subjects or [""] * count)]
    found = bootstrap(torch.stack((apart, apart**2), 1), statistic, drawn)
    mean, lower, upper = ((one.value, one.low, one.high) for one in found)
    return Limits(mean, lower, upper)
