"""Maps intensities from a file's units to a network's values, and back."""

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
inequality), and 1/16,000 of normally distributed values."""

SAMPLE = 2**16
"""Voxels of each volume that percentiles are estimated from, drawn at random but always the same.
The share of voxels below the estimated 0.5th percentile of a single volume is then 0.5% +-
0.03%."""


PIECE = 2**22
"""Voxels whose variance is computed at a time: NumPy takes 8 bytes for each while it does."""


@dataclass(frozen=True)
class IntensityConfig:
    """Which of a domain's intensities become -1 and 1.

    Attributes:
        method: how low and high are given: "range" in the file's units, such as -1000 and 2000 for
            CT in Hounsfield units; "percentiles" as percentiles of all training volumes of the
            domain; "zscore" in standard deviations from their mean.
        low: the intensity that becomes -1; null takes 0.5 (percentiles) or -4 (zscore).
        high: the intensity that becomes 1; null takes 99.5 (percentiles) or 4 (zscore).
        clip: whether intensities beyond low and high become -1 and 1; a generator that ends in tanh
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
            raise ValueError("method range needs low and high in the files' units")
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
        clip: whether intensities beyond them become -1 and 1 too.
    """

    low: float
    high: float
    clip: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low must be below high, both finite, not {self.low} and {self.high}")

    def to_unit(self, values: Values) -> Values:
        """Maps intensities of any shape and type to the network's values, float32."""
        if isinstance(values, np.ndarray):  # NumPy would make float64 of integers
            values = values.astype(np.float32, copy=False)
        unit = values - self._middle
        unit /= self._half  # in place: volumes may be large
        return unit.clip(-1, 1) if self.clip else unit

    def from_unit(self, values: Values) -> Values:
        """Maps a network's values, including those beyond -1 and 1, to intensities.

        It undoes `to_unit` for everything that wasn't clipped, up to float32's rounding: a small
        multiple of its precision at the largest of the intensity, `low` and `high`.
        """
        intensities = values * self._half
        intensities += self._middle
        return intensities

    def to_file(self, values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Same as `from_unit`, whatever the type of the file that the values are for."""
        return self.from_unit(values)

    def to_dict(self) -> dict[str, Any]:
        """The mapping as plain data, for a model folder."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The mapping that `to_dict` described.

        Raises:
            ValueError: the content describes none.
        """
        numbers = [content.get("low"), content.get("high")]
        # In Python, bool is an int.
        complete = content.keys() == cls.__dataclass_fields__.keys() and all(
            isinstance(number, int | float) and not isinstance(number, bool) for number in numbers
        )
        if not complete or not isinstance(content["clip"], bool):
            raise ValueError(
                "an intensity mapping has two numbers, low and high, and clip (true or false), not "
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
    """Maps the full range of a file's integer type (0 to 255, 0 to 65535) to [-1, 1], and back.

    Floating-point values are in [-1, 1] already: resizing makes them from such integers.
    """

    def to_unit(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Maps values of any shape to the network's: a new float32 array in C order.

        This isn't done by torch, whose threads wait for each other while training keeps the cores
        busy.
        """
        unit = np.array(values, dtype=np.float32, order="C")
        if values.dtype.kind == "f":
            return unit
        low, half = _range(values.dtype)
        unit /= half
        unit -= 1 + low / half
        return unit

    def to_file(self, values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Maps to the nearest values of an integer type; those outside [-1, 1] are clamped."""
        limits, (low, half) = np.iinfo(dtype), _range(dtype)
        scaled = (values + np.float32(1 + low / half)) * half
        np.rint(scaled, out=scaled)
        return scaled.clip(limits.min, limits.max, out=scaled).astype(dtype)

    def to_dict(self) -> dict[str, Any]:
        """The mapping as plain data, for a model folder."""
        return {"method": "type"}


IntensityMapping = Intensity | TypeRange
"""A domain's mapping; both kinds have `to_unit`, and `to_file` for the way back."""


def mapping_from_dict(content: Mapping[str, Any]) -> IntensityMapping:
    """The mapping that its `to_dict` described.

    Raises:
        ValueError: the content describes none.
    """
    return TypeRange() if content == TypeRange().to_dict() else Intensity.from_dict(content)


def _range(dtype: np.dtype[Any]) -> tuple[np.float32, np.float32]:
    """The lowest value of an integer type, and half the distance to the highest."""
    limits = np.iinfo(dtype)
    return np.float32(limits.min), np.float32((limits.max - limits.min) / 2)


def fit_intensity(config: IntensityConfig, arrays: Iterable[NDArray[np.float32]]) -> Intensity:
    """Finds the mapping for the training volumes of a domain.

    Percentiles are taken from up to `SAMPLE` voxels of each volume, mean and standard deviation
    from all voxels. The same volumes in the same order give the same mapping.

    Args:
        config: the method and its limits.
        arrays: one array of any shape for each volume, finite and in the file's units. They are
            read once, one by one, so that a generator holds only one in memory; the method "range"
            reads none.

    Raises:
        UserError: low and high would be equal, as for constant volumes.
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
            f"the {what} are both {low:g}; set low and high farther apart, or use the method range "
            "with the intensities that become -1 and 1"
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
    """Mean and standard deviation, merged piece by piece (Chan et al., Am. Stat. 37, 1983)."""
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
