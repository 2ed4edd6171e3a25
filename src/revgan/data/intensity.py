"""Maps intensities from a file's units to a network's values, and back."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from revgan.data.formats import Values
from revgan.data.survey import Channel, Survey
from revgan.errors import UserError

Method = Literal["range", "percentiles", "zscore", "percentiles-per-scan", "zscore-per-scan"]
Choice = Literal["auto", "type", Method]
"""What a configuration may say: a method, the full range of the files' type, or to choose."""

Limit = float | tuple[float, ...]
"""One number, or one for each channel."""

DEFAULT_LIMITS: dict[str, tuple[float, float]] = {
    "percentiles": (0.5, 99.5),
    "zscore": (-4.0, 4.0),
}
"""At most 1/16 of any values is more than 4 standard deviations from their mean (Chebyshev's
inequality), and 1/16,000 of normally distributed values."""

PER_SCAN = "-per-scan"


@dataclass(frozen=True)
class IntensityConfig:
    """Which of a domain's intensities become -1 and 1.

    Attributes:
        method: "range" takes low and high as they are, in the file's units, such as -1000 and 2000
            for CT in Hounsfield units; "percentiles" the percentiles low and high of all training
            scans of the domain; "zscore" their mean, low and high standard deviations from it;
            "percentiles-per-scan" and "zscore-per-scan" those of each scan for itself.
        low: what becomes -1; null takes 0.5 (percentiles) or -4 (zscore).
        high: what becomes 1; null takes 99.5 (percentiles) or 4 (zscore).
        clip: intensities beyond low and high become -1 and 1, as a generator that ends in tanh
            can't reach them.
        per_channel: each channel has limits of its own. A range then has one low and one high for
            each, or the same for all.
    """

    method: Method = "percentiles"
    low: Limit | None = None
    high: Limit | None = None
    clip: bool = True
    per_channel: bool = False

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            known = ", ".join(get_args(Method))
            raise ValueError(f"method must be one of {known}, not {self.method!r}")
        if self.method == "range":
            if self.low is None or self.high is None:
                raise ValueError("method range needs low and high, in the units of the files")
            Intensity(self.low, self.high)  # checks them
            return
        low, high = self.limits
        if not (low < high and math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"low must be below high, not {low:g} and {high:g}")
        if self.kind == "percentiles" and not (low >= 0 and high <= 100):
            raise ValueError(f"percentiles must be from 0 to 100, not {low:g} and {high:g}")

    @property
    def kind(self) -> str:
        """The method, whichever scans it looks at."""
        return self.method.removesuffix(PER_SCAN)

    @property
    def per_scan(self) -> bool:
        """Whether each scan has limits of its own."""
        return self.method.endswith(PER_SCAN)

    @property
    def limits(self) -> tuple[float, float]:
        """Percentiles, or standard deviations, with the method's defaults."""
        if isinstance(self.low, tuple) or isinstance(self.high, tuple):
            raise ValueError("only method range has a low and a high for each channel")
        low, high = DEFAULT_LIMITS[self.kind]
        return (low if self.low is None else self.low, high if self.high is None else self.high)


@dataclass(frozen=True)
class Intensity:
    """A linear mapping of intensities onto -1 to 1, and back.

    Attributes:
        low: the intensity that becomes -1, in the file's units; or that of each channel.
        high: the intensity that becomes 1, likewise.
        clip: intensities beyond them become -1 and 1 too.
        dtype: of the domain's files, by NumPy's name; "" where that isn't known, as in models of
            earlier versions.
    """

    low: Limit
    high: Limit
    clip: bool = True
    dtype: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        low, high = np.broadcast_arrays(*np.atleast_1d(*self._given))
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
            raise ValueError(f"low must be below high, both finite, not {self.low} and {self.high}")

    def to_unit(self, values: Values) -> NDArray[np.float32]:
        """The network's values of intensities (C, *spatial) of any type; NaN stays NaN."""
        wide = values.dtype.kind in "iuf" and values.dtype.itemsize > 2
        wide = wide and values.dtype != np.float32
        middle, half = self._middle_and_half(values.ndim, wide)
        if wide:
            # float32 would round large ones before the middle is taken away.
            exact: Values = (values.astype(np.float64) - middle) / half
            values, middle, half = exact, 0.0, 1.0
        unit: NDArray[np.float32] = values.astype(np.float32, copy=False) - middle
        unit /= half  # in place: volumes may be large
        return unit.clip(-1, 1, out=unit) if self.clip else unit

    def from_unit(self, values: NDArray[np.float32], dtype: np.dtype[Any] | None = None) -> Values:
        """The intensities of a network's values, also of those beyond -1 and 1.

        It undoes `to_unit` for everything that wasn't clipped, up to float32's rounding: a small
        multiple of its precision at the largest of the intensity, `low` and `high`.

        Args:
            values: (C, *spatial).
            dtype: of the file that they are for, which makes no difference here.
        """
        wide = bool(self.dtype) and np.dtype(self.dtype).itemsize > 2 and self.dtype != "float32"
        middle, half = self._middle_and_half(values.ndim, wide)
        if wide:
            exact: Values = values.astype(np.float64) * half + middle
            return exact
        intensities = values * half
        intensities += middle
        return intensities

    def output_type(self, source: np.dtype[Any] | None) -> np.dtype[Any] | None:
        """The type of files of this domain; None where that isn't known."""
        return np.dtype(self.dtype) if self.dtype else None

    def of_scan(self, arrays: Iterable[Values]) -> "Intensity":
        """The mapping of one scan: this one, whatever the scan."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """The mapping in plain numbers, for a model folder."""
        content = {"low": _plain(self.low), "high": _plain(self.high), "clip": self.clip}
        return content | ({"dtype": self.dtype} if self.dtype else {})

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The mapping that `to_dict` described.

        Raises:
            ValueError: the content describes none.
        """
        keys = content.keys() - {"dtype"}
        if keys != {"low", "high", "clip"} or not isinstance(content["clip"], bool):
            raise ValueError(_not_a_mapping(content))
        low, high = (_limit(content[name], content) for name in ("low", "high"))
        return cls(low, high, content["clip"], dtype=_type_name(content))

    @property
    def _given(self) -> tuple[Limit, Limit]:
        return self.low, self.high

    def _middle_and_half(self, ndim: int, wide: bool) -> tuple[Any, Any]:
        """Numbers, or arrays of one for each channel that fit (C, *spatial).

        Args:
            ndim: axes of the values.
            wide: in float64, as of values that float32 would round.
        """
        if not isinstance(self.low, tuple) and not isinstance(self.high, tuple):
            return self.low / 2 + self.high / 2, self.high / 2 - self.low / 2
        shape = (-1, *[1] * (ndim - 1))
        low, high = (np.reshape(np.asarray(limit, np.float64) / 2, shape) for limit in self._given)
        dtype = np.float64 if wide else np.float32
        return (low + high).astype(dtype), (high - low).astype(dtype)


@dataclass(frozen=True)
class TypeRange:
    """Maps the full range of a file's integer type (0 to 255, 0 to 65535) to [-1, 1], and back.

    Attributes:
        dtype: of the domain's files, by NumPy's name, by which fractions between their values are
            mapped; "" where that isn't known, as in models of earlier versions.
    """

    dtype: str = ""

    def to_unit(self, values: Values) -> NDArray[np.float32]:
        """The network's values of values of any shape: float32, in C order, in memory of its own.

        This isn't done by torch, whose threads wait for each other while training keeps the cores
        busy.
        """
        unit = np.array(values, dtype=np.float32, order="C")
        dtype = values.dtype
        if dtype.kind == "f":
            if not self.dtype:
                raise ValueError("fractions have no full range; give the type of their files")
            dtype = np.dtype(self.dtype)
        low, half = _range(dtype)
        unit /= half
        unit -= 1 + low / half
        return unit

    def from_unit(
        self, values: NDArray[np.float32], dtype: np.dtype[Any] | None = None
    ) -> NDArray[np.float32]:
        """The values of a type of integers, not rounded yet."""
        low, half = _range(np.dtype(self.dtype or np.uint8) if dtype is None else dtype)
        return (values + np.float32(1 + low / half)) * half

    def output_type(self, source: np.dtype[Any] | None) -> np.dtype[Any]:
        """That of the file translated, so that photos keep their depth; else that of the domain."""
        own = np.dtype(self.dtype or np.uint8)
        photos = [np.dtype(np.uint8), np.dtype(np.uint16)]
        return source if source is not None and source in photos and own in photos else own

    def of_scan(self, arrays: Iterable[Values]) -> "TypeRange":
        """The mapping of one scan: this one, whatever the scan."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """For a model folder."""
        return {"method": "type"} | ({"dtype": self.dtype} if self.dtype else {})


@dataclass(frozen=True)
class PerScan:
    """A linear mapping of each scan's own, from what its values are like.

    Attributes:
        config: how it is found.
        typical: the medians of the training scans' limits; translations into the domain are written
            by these, as no scan tells how it would have been measured.
    """

    config: IntensityConfig
    typical: Intensity

    def of_scan(self, arrays: Iterable[Values]) -> Intensity:
        """The mapping of one scan.

        Args:
            arrays: the scan, or its parts, (C, *spatial) with NaN where nothing was measured.

        Raises:
            UserError: its values are all the same.
        """
        return replace(_fitted(self.config, Survey.of(arrays)), dtype=self.typical.dtype)

    def by_limits(self, limits: NDArray[np.float64]) -> Intensity:
        """The mapping of a scan whose limits, (2, 1) or (2, C), are known."""
        low, high = limits.tolist()
        return replace(self.typical, low=_joined(low), high=_joined(high))

    @classmethod
    def from_limits(cls, config: IntensityConfig, limits: Iterable[NDArray[np.float64]]) -> Self:
        """The mapping of a domain from its training scans' limits, (2, 1) or (2, C) each."""
        low, high = np.median(list(limits), axis=0).tolist()
        return cls(config, Intensity(_joined(low), _joined(high), config.clip))

    def to_unit(self, values: Values) -> NDArray[np.float32]:
        """By the typical limits, for what is of no scan."""
        return self.typical.to_unit(values)

    def from_unit(self, values: NDArray[np.float32], dtype: np.dtype[Any] | None = None) -> Values:
        """By the typical limits."""
        return self.typical.from_unit(values, dtype)

    def output_type(self, source: np.dtype[Any] | None) -> np.dtype[Any] | None:
        """As of `Intensity`."""
        return self.typical.output_type(source)

    def to_dict(self) -> dict[str, Any]:
        """For a model folder."""
        return asdict(self.config) | {"typical": self.typical.to_dict()}


IntensityMapping = Intensity | TypeRange | PerScan
"""What a domain has; each knows how to go `to_unit`, and back by `from_unit`."""


def mapping_from_dict(content: Mapping[str, Any]) -> IntensityMapping:
    """The mapping that its `to_dict` described.

    Raises:
        ValueError: the content describes none.
    """
    if content.get("method") == "type" and content.keys() <= {"method", "dtype"}:
        return TypeRange(_type_name(content))
    if "typical" in content:
        found = {key: value for key, value in content.items() if key != "typical"}
        return PerScan(IntensityConfig(**found), Intensity.from_dict(content["typical"]))
    return Intensity.from_dict(content)


def of_type(mapping: IntensityMapping, dtype: np.dtype[Any]) -> IntensityMapping:
    """The mapping of a domain whose files are of a type."""
    if isinstance(mapping, PerScan):
        return replace(mapping, typical=replace(mapping.typical, dtype=dtype.name))
    return replace(mapping, dtype=dtype.name)


def in_type(values: Values, dtype: np.dtype[Any] | None) -> Values:
    """Values in the type of a file: integers are the nearest ones that the type has.

    Args:
        values: of any shape; NaN becomes any value of a type of integers.
        dtype: None leaves them as they are.
    """
    if dtype is None or values.dtype == dtype:
        return values
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    low, high = _limits(dtype)
    if dtype.itemsize > 2:
        values = values.astype(np.float64)  # which has every such integer
        high = min(high, int(np.nextafter(2.0**63, 0)))
    rounded: Values = np.rint(np.nan_to_num(values, nan=low))
    rounded.clip(low, high, out=rounded)
    return rounded.astype(dtype)


def fit_intensity(config: IntensityConfig, arrays: Iterable[Values], scans: int = 1) -> Intensity:
    """Finds one mapping for all training scans of a domain.

    Percentiles are of a sample of each scan (see `Survey`), mean and standard deviation of all
    values. The same scans in the same order give the same mapping.

    Args:
        config: the method, and its limits.
        arrays: (C, *spatial) for each scan, in the file's units, NaN where nothing was measured;
            gone through once, one by one, so that a generator never holds more than one in memory.
            The method "range" looks at none.
        scans: about how many there are.

    Raises:
        UserError: all these intensities would become one, as of constant scans.
        ValueError: there are no scans.
    """
    if config.method == "range":
        assert config.low is not None
        assert config.high is not None
        return Intensity(config.low, config.high, config.clip)
    return _fitted(config, Survey.of(arrays, scans))


def fit_survey(config: IntensityConfig, survey: Survey) -> Intensity:
    """As `fit_intensity`, for scans that were looked at already.

    Raises:
        UserError: as `fit_intensity`.
    """
    return _fitted(config, survey)


def _fitted(config: IntensityConfig, survey: Survey) -> Intensity:
    low, high = config.limits
    of = "the scan's" if config.per_scan else "the training scans'"
    what = f"intensities {low:g} and {high:g} standard deviations from {of}"
    if config.kind == "percentiles":
        what = f"percentiles {low:g} and {high:g} of {of} intensities"
    everything = Channel.joined(survey.channels)
    # A channel that was nowhere measured goes with the others.
    parts = [part if part.count else everything for part in survey.parts(config.per_channel)]
    limits = [_limits_of(part, config.kind, low, high) for part in parts]
    for number, (lowest, highest) in enumerate(limits):
        if not lowest < highest:
            which = f" in channel {number}" if len(limits) > 1 else ""
            raise UserError(
                f"the {what} are both {lowest:g}{which}; set low and high farther apart, or the "
                "method range with what shall become -1 and 1"
            )
    lows, highs = zip(*limits, strict=True)
    return Intensity(_joined(lows), _joined(highs), config.clip)


def _limits_of(part: Channel, kind: str, low: float, high: float) -> tuple[float, float]:
    if kind == "percentiles":
        lowest, highest = part.percentiles(low, high)
        return lowest, highest
    return part.mean + low * part.deviation, part.mean + high * part.deviation


def _joined(limits: Iterable[float]) -> Limit:
    """One number, or a tuple of several."""
    several = tuple(map(float, limits))
    return several if len(several) > 1 else several[0]


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The lowest and the highest value of a type of integers, or of bool."""
    if dtype.kind == "b":
        return 0, 1
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _range(dtype: np.dtype[Any]) -> tuple[np.float32, np.float32]:
    """The lowest value of a type of integers, and half of the distance to the highest."""
    low, high = _limits(dtype)
    return np.float32(low), np.float32((high - low) / 2)


def _plain(limit: Limit) -> float | list[float]:
    return list(limit) if isinstance(limit, tuple) else limit


def _limit(content: Any, whole: Mapping[str, Any]) -> Limit:
    numbers = content if isinstance(content, list) and content else [content]
    # bool is an int to Python.
    if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in numbers):
        raise ValueError(_not_a_mapping(whole))
    return tuple(numbers) if isinstance(content, list) else content


def _type_name(content: Mapping[str, Any]) -> str:
    name = content.get("dtype", "")
    if name and (not isinstance(name, str) or np.dtype(name).kind not in "buif"):
        raise ValueError(_not_a_mapping(content))
    return str(name)


def _not_a_mapping(content: Mapping[str, Any]) -> str:
    return (
        "an intensity mapping has the numbers low and high, and clip (true or false), not "
        f"{dict(content)}"
    )
