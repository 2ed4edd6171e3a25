"""Intensities: how a file's units become a network's values, and come back."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from revgan.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

Method = Literal["range", "percentiles", "zscore"]
Values = TypeVar("Values", NDArray[np.float32], "Tensor")

DEFAULT_LIMITS: dict[Method, tuple[float, float]] = {
    "percentiles": (0.5, 99.5),
    "zscore": (-4.0, 4.0),
}
"""At most 1/16 of any values is more than 4 standard deviations from their mean (Chebyshev's
inequality), and 1/16,000 of normally distributed ones."""

SAMPLE = 2**16
"""Voxels of each volume that percentiles are estimated from, drawn at random, always the same. The
share of voxels below the estimated 0.5th percentile of a single volume is then 0.5% +- 0.03%."""


PIECE = 2**22
"""Voxels whose variance is taken at a time: numpy makes 8 bytes of each meanwhile."""


@dataclass(frozen=True)
class IntensityConfig:
    """Which of a domain's intensities become -1 and 1.

    Attributes:
        method: "range" takes low and high as they are, in the file's units, such as -1000 and 2000
            for CT in Hounsfield units; "percentiles" the percentiles low and high of all training
            volumes of the domain; "zscore" their mean, low and high standard deviations from it.
        low: what becomes -1; null takes 0.5 (percentiles) or -4 (zscore).
        high: what becomes 1; null takes 99.5 (percentiles) or 4 (zscore).
        clip: intensities beyond low and high become -1 and 1, as a generator that ends in tanh
            can't reach them.
    """

    method: Method = "percentiles"
    low: float | None = None
    high: float | None = None
    clip: bool = True

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            known = ", ".join(get_args(Method))
            raise ValueError(f"method must be one of {known}, not {self.method!r}")
        if self.method == "range" and None in (self.low, self.high):
            raise ValueError("method range needs low and high, in the units of the files")
        low, high = self.limits
        if not (low < high and math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"low must be below high, not {low:g} and {high:g}")
        if self.method == "percentiles" and not (low >= 0 and high <= 100):
            raise ValueError(f"percentiles must be from 0 to 100, not {low:g} and {high:g}")

    @property
    def limits(self) -> tuple[float, float]:
        """`low` and `high`, with the method's defaults."""
        low, high = DEFAULT_LIMITS.get(self.method, (math.nan, math.nan))
        return (low if self.low is None else self.low, high if self.high is None else self.high)


@dataclass(frozen=True)
class Intensity:
    """A linear mapping of intensities onto -1 to 1, and back.

    Attributes:
        low: the intensity that becomes -1, in the file's units.
        high: the intensity that becomes 1.
        clip: intensities beyond them become -1 and 1 too.
    """

    low: float
    high: float
    clip: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low must be below high, both finite, not {self.low} and {self.high}")

    def to_unit(self, values: Values) -> Values:
        """The network's values of intensities of any shape and type, float32."""
        if isinstance(values, np.ndarray):  # NumPy would make float64 of integers
            values = values.astype(np.float32, copy=False)
        unit = values - self._middle
        unit /= self._half  # in place: volumes may be large
        return unit.clip(-1, 1) if self.clip else unit

    def from_unit(self, values: Values) -> Values:
        """The intensities of a network's values, also of those beyond -1 and 1.

        After `to_unit`, all that is not clipped is what it was, but for float32's rounding: a
        multiple of its precision at the largest of the intensity, `low` and `high`.
        """
        intensities = values * self._half
        intensities += self._middle
        return intensities

    def to_file(self, values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
        """As `from_unit`, whatever the type of the file that the values are for."""
        return self.from_unit(values)

    def to_dict(self) -> dict[str, Any]:
        """The mapping in plain numbers, for a model folder."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The mapping that `to_dict` described.

        Raises:
            ValueError: the content describes none.
        """
        numbers = [content.get("low"), content.get("high")]
        # bool is an int to Python.
        complete = content.keys() == cls.__dataclass_fields__.keys() and all(
            isinstance(number, int | float) and not isinstance(number, bool) for number in numbers
        )
        if not complete or not isinstance(content["clip"], bool):
            raise ValueError(
                f"an intensity mapping has the numbers low and high, and clip (true or false), not "
                f"{dict(content)}"
            )
        return cls(**content)

    @property
    def _middle(self) -> float:
        return self.low / 2 + self.high / 2

    @property
    def _half(self) -> float:
        return self.high / 2 - self.low / 2


@dataclass(frozen=True)
class TypeRange:
    """The full range of a file's integer type onto -1 to 1, and back: 0 to 255, 0 to 65535.

    Fractions are in [-1, 1] already, as what resizing makes of such integers.
    """

    def to_unit(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """The network's values of values of any shape: float32, in C order, in memory of its own.

        Not by torch, whose threads wait for each other where cores are busy with training.
        """
        unit = np.array(values, dtype=np.float32, order="C")
        if values.dtype.kind == "f":
            return unit
        low, half = _range(values.dtype)
        unit /= half
        unit -= 1 + low / half
        return unit

    def to_file(self, values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The nearest values of a type of integers; those outside [-1, 1] are clamped."""
        limits, (low, half) = np.iinfo(dtype), _range(dtype)
        scaled = (values + np.float32(1 + low / half)) * half
        np.rint(scaled, out=scaled)
        return scaled.clip(limits.min, limits.max, out=scaled).astype(dtype)

    def to_dict(self) -> dict[str, Any]:
        """For a model folder."""
        return {"method": "type"}


IntensityMapping = Intensity | TypeRange
"""What a domain has; the two know how to go `to_unit`, and back as `to_file`."""


def mapping_from_dict(content: Mapping[str, Any]) -> IntensityMapping:
    """The mapping that its `to_dict` described.

    Raises:
        ValueError: the content describes none.
    """
    return TypeRange() if content == TypeRange().to_dict() else Intensity.from_dict(content)


def _range(dtype: np.dtype[Any]) -> tuple[np.float32, np.float32]:
    """The lowest value of a type of integers, and half of the distance to the highest."""
    limits = np.iinfo(dtype)
    return np.float32(limits.min), np.float32((limits.max - limits.min) / 2)


def fit_intensity(config: IntensityConfig, arrays: Iterable[NDArray[np.float32]]) -> Intensity:
    """Finds the mapping for the training volumes of a domain.

    Percentiles are of up to `SAMPLE` voxels of each volume, mean and standard deviation of all. The
    same volumes in the same order give the same mapping.

    Args:
        config: the method, and its limits.
        arrays: one array of any shape for each volume, in the file's units and finite; gone through
            once, one by one, so that a generator never holds more than one in memory. The method
            "range" looks at none.

    Raises:
        UserError: all these intensities would become one, as of constant volumes.
        ValueError: there are no volumes.
    """
    low, high = config.limits
    if config.method == "range":
        return Intensity(low, high, config.clip)
    if config.method == "percentiles":
        what = f"percentiles {low:g} and {high:g} of the training volumes' intensities"
        low, high = (float(value) for value in np.percentile(_sample(arrays), (low, high)))
    else:
        what = f"intensities {low:g} and {high:g} standard deviations from the training volumes'"
        mean, deviation = _mean_and_deviation(arrays)
        low, high = mean + low * deviation, mean + high * deviation
    if not low < high:
        raise UserError(
            f"the {what} are both {low:g}; set low and high farther apart, or the method range "
            "with what shall become -1 and 1"
        )
    return Intensity(low, high, config.clip)


def _sample(arrays: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """At most `SAMPLE` voxels of each array."""
    draws = np.random.default_rng(0)
    samples = [
        array.ravel() if array.size <= SAMPLE else draws.choice(array.ravel(), SAMPLE)
        for array in arrays
    ]
    return np.concatenate(samples)


def _mean_and_deviation(arrays: Iterable[NDArray[np.float32]]) -> tuple[float, float]:
    """Of all values of all arrays, merged piece by piece (Chan et al., Am. Stat. 37, 1983)."""
    count, mean, squares = 0, 0.0, 0.0
    for array in arrays:
        for start in range(0, array.size, PIECE):
            piece = array.ravel()[start : start + PIECE]
            share = piece.size / (count + piece.size)
            distance = float(piece.mean(dtype=np.float64)) - mean
            squares += float(piece.var(dtype=np.float64)) * piece.size
            squares += distance**2 * count * share
            mean += distance * share
            count += piece.size
    if not count:
        raise ValueError("fit_intensity needs at least one volume")
    return mean, math.sqrt(squares / count)
