"""Maps intensities from a file's units to a network's values, and back."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from revgan.data.formats import Values
from revgan.data.large import Unread
from revgan.data.mappings import Intensity, Limit, TypeRange, type_name
from revgan.data.survey import Channel, Survey
from revgan.errors import UserError

Method = Literal["range", "percentiles", "zscore", "percentiles-per-scan", "zscore-per-scan"]
Choice = Literal["auto", "type", Method]
"""What a configuration can ask for: a method, the full range of the files' type, or an automatic
choice."""

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
        method: how low and high are given: "range" in the file's units, such as -1000 and 2000 for
            CT in Hounsfield units; "percentiles" as percentiles of all training scans of the
            domain; "zscore" in standard deviations from their mean; "percentiles-per-scan" and
            "zscore-per-scan" the same within each scan.
        low: the intensity that becomes -1; null takes 0.5 (percentiles) or -4 (zscore).
        high: the intensity that becomes 1; null takes 99.5 (percentiles) or 4 (zscore).
        clip: whether intensities beyond low and high become -1 and 1; a generator that ends in tanh
            can't reach them.
        per_channel: whether each channel has its own limits. A range then has one low and one high
            per channel, or the same for all.
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
                raise ValueError("method range needs low and high in the files' units")
            Intensity(self.low, self.high)  # checks them
            return
        low, high = self.limits
        if not (low < high and math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"low must be below high, not {low:g} and {high:g}")
        if self.kind == "percentiles" and not (low >= 0 and high <= 100):
            raise ValueError(f"percentiles must be from 0 to 100, not {low:g} and {high:g}")

    @property
    def kind(self) -> str:
        """The method, regardless of which scans it looks at."""
        return self.method.removesuffix(PER_SCAN)

    @property
    def per_scan(self) -> bool:
        """Whether each scan has its own limits."""
        return self.method.endswith(PER_SCAN)

    @property
    def limits(self) -> tuple[float, float]:
        """Percentiles, or standard deviations, with the method's defaults."""
        if isinstance(self.low, tuple) or isinstance(self.high, tuple):
            raise ValueError("only method range has a low and a high for each channel")
        low, high = DEFAULT_LIMITS[self.kind]
        return (low if self.low is None else self.low, high if self.high is None else self.high)


@dataclass(frozen=True)
class PerScan:
    """A linear mapping for each scan, found from its own values.

    Attributes:
        config: how it is found.
        typical: the medians of the training scans' limits; translations into the domain are written
            with these, as their own limits can't be known.
    """

    config: IntensityConfig
    typical: Intensity

    def of_scan(self, arrays: Iterable[Values | Unread]) -> Intensity:
        """The mapping of one scan.

        Args:
            arrays: the scan, or its parts, (C, *spatial) with NaN where nothing was measured.

        Raises:
            UserError: all its values are equal.
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
        """Maps by the typical limits, for values that belong to no scan."""
        return self.typical.to_unit(values)

    def from_unit(self, values: NDArray[np.float32], dtype: np.dtype[Any] | None = None) -> Values:
        """Maps by the typical limits."""
        return self.typical.from_unit(values, dtype)

    def output_type(self, source: np.dtype[Any] | None) -> np.dtype[Any] | None:
        """As of `Intensity`."""
        return self.typical.output_type(source)

    def to_dict(self) -> dict[str, Any]:
        """The mapping as plain data, for a model folder."""
        return asdict(self.config) | {"typical": self.typical.to_dict()}


IntensityMapping = Intensity | TypeRange | PerScan
"""A domain's mapping; each kind has `to_unit`, and `from_unit` for the way back."""


def mapping_from_dict(content: Mapping[str, Any]) -> IntensityMapping:
    """The mapping that its `to_dict` described.

    Raises:
        ValueError: the content describes none.
    """
    if content.get("method") == "type" and content.keys() <= {"method", "dtype"}:
        return TypeRange(type_name(content))
    if "typical" in content:
        found = {key: value for key, value in content.items() if key != "typical"}
        return PerScan(IntensityConfig(**found), Intensity.from_dict(content["typical"]))
    return Intensity.from_dict(content)


def of_type(mapping: IntensityMapping, dtype: np.dtype[Any]) -> IntensityMapping:
    """The mapping of a domain whose files have a given type."""
    if isinstance(mapping, PerScan):
        return replace(mapping, typical=replace(mapping.typical, dtype=dtype.name))
    return replace(mapping, dtype=dtype.name)


def fit_intensity(
    config: IntensityConfig, arrays: Iterable[Values | Unread], scans: int = 1
) -> Intensity:
    """Finds one mapping for all training scans of a domain.

    Percentiles are taken from a sample of each scan (see `Survey`), mean and standard deviation
    from all values. The same scans in the same order give the same mapping.

    Args:
        config: the method and its limits.
        arrays: (C, *spatial) for each scan, in the file's units, with NaN where nothing was
            measured. They are read once, one by one, so that a generator holds only one in memory;
            the method "range" reads none.
        scans: about how many scans there are.

    Raises:
        UserError: low and high would be equal, as for constant scans.
        ValueError: there are no scans.
    """
    if config.method == "range":
        assert config.low is not None
        assert config.high is not None
        return Intensity(config.low, config.high, config.clip)
    return _fitted(config, Survey.of(arrays, scans))


def fit_survey(config: IntensityConfig, survey: Survey) -> Intensity:
    """Same as `fit_intensity`, for scans that were already surveyed.

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
    # A channel without measured values takes the others' limits.
    parts = [part if part.count else everything for part in survey.parts(config.per_channel)]
    limits = [_limits_of(part, config.kind, low, high) for part in parts]
    for number, (lowest, highest) in enumerate(limits):
        if not lowest < highest:
            which = f" in channel {number}" if len(limits) > 1 else ""
            raise UserError(
                f"the {what} are both {lowest:g}{which}; set low and high farther apart, or use "
                "the method range with the intensities that become -1 and 1"
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
