"""What the scores of a domain are relative to, and what of it the run can't express."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from revgan.data.domains import Domain
from revgan.data.formats import Kind
from revgan.data.intensity import PerScan
from revgan.data.mappings import Intensity, TypeRange
from revgan.directions import DomainName
from revgan.errors import UserError, notice
from revgan.evaluation.wanted import DataRange

Scales = Mapping[DomainName, "Scale"]
"""By domain."""


def said_of_scores(scales: Scales, clipped: tuple[float, float] | None = None) -> str:
    """A sentence or two for readers of scores: their units, and the data ranges of PSNR and SSIM.

    Args:
        scales: of the domains.
        clipped: what the PSNR and MS-SSIM of synthetic CT are clipped to; None if there is none.
    """
    ranges = {
        name: f"{scale.low:g} to {scale.high:g} ({scale.chosen})" for name, scale in scales.items()
    }
    over = " and ".join(f"{said} in {name.upper()}" for name, said in ranges.items())
    if len(set(ranges.values())) == 1:
        over = next(iter(ranges.values()))
    said = f"MAE is in the units of the truth's files; PSNR and SSIM are over {over}."
    if clipped is None:
        return said
    return (
        f"{said} PSNR and MS-SSIM of synthetic CT are clipped to {clipped[0]:g} to {clipped[1]:g}."
    )


def scale_table(scales: Scales) -> list[list[str]]:
    """A line for each domain: its name, data range, where that is from, and what is beyond."""
    lines = []
    for name, scale in scales.items():
        data_range = f"{scale.low:g} to {scale.high:g}"
        run_range, beyond, excess = "all that files of this type can hold", "none", "none"
        if scale.run_range is not None:
            run_range = f"{scale.run_range[0]:g} to {scale.run_range[1]:g}"
        if scale.beyond:
            beyond, excess = f"{100 * scale.beyond:.2g}%", f"{scale.excess:g}"
        lines.append([name.upper(), data_range, scale.chosen, run_range, beyond, excess])
    return lines


SCALE_HEADINGS = (
    "domain",
    "data range",
    "taken from",
    "range of the run",
    "values beyond",
    "by up to",
)
"""Of `scale_table`."""


@dataclass(frozen=True)
class Scale:
    """The scale of a domain's test scans, in their files' units.

    Attributes:
        low: lower end of the data range of PSNR and SSIM.
        high: its upper end.
        chosen: where the data range comes from, in words.
        lowest: the lowest value of the test scans; that of their type, where they weren't read.
        highest: the highest, in the same way.
        step: the least difference between values of the files: 1 for integers, 0 for others.
        run_range: what the run maps to -1 and 1, if that isn't the full range of the files' type.
        beyond: the share of the test scans' values beyond `run_range`, which no translation reaches
            if it ends in tanh.
        excess: how far beyond it the worst of them lies.
    """

    low: float
    high: float
    chosen: str
    lowest: float
    highest: float
    step: float = 0.0
    run_range: tuple[float, float] | None = None
    beyond: float = 0.0
    excess: float = 0.0

    @property
    def limits(self) -> tuple[float, float]:
        """Lower and upper end of the data range."""
        return self.low, self.high

    def to_dict(self) -> dict[str, Any]:
        """As in scans.json."""
        found: dict[str, Any] = {"data_range": list(self.limits), "data_range_from": self.chosen}
        if self.run_range is None:
            return found
        return found | {
            "run_range": list(self.run_range),
            "beyond_run_range": self.beyond,
            "worst_excess": self.excess,
        }


def measure_scale(domain: Domain, name: DomainName, wanted: DataRange, kind: Kind) -> Scale:
    """Finds the scale of a domain's test scans; tells the user what is beyond the run's range.

    Args:
        domain: with test scans.
        name: which one it is, for messages.
        wanted: the data range, see `ScoreOptions`.
        kind: what its scans are.

    Raises:
        UserError: the files' type has no range that was wanted, or all test scans are one value.
    """
    given = {np.dtype(domain.found[ref].dtype) for ref in domain.test}
    dtype = np.dtype(np.result_type(*given))  # that all have, or that can hold what they have
    if wanted == "auto":
        wanted = "type" if dtype == np.uint8 else "set"
    extent = None
    if wanted == "set" or dtype != np.uint8 or not isinstance(domain.intensity, TypeRange):
        extent = _Extent(domain)
    if wanted == "set":
        assert extent is not None
        if not extent.low < extent.high:
            raise UserError(
                f"all test {kind.many} of {name.upper()} are {extent.low:g} everywhere, which is "
                "no range for PSNR and SSIM; give one with --data-range"
            )
        low, high, chosen = extent.low, extent.high, "the test set"
    elif wanted == "type":
        low, high = _of_type(dtype, given, name)
        chosen = f"the type {dtype}"
    else:
        (low, high), chosen = wanted, "the option --data-range"
    step = 1.0 if dtype.kind in "iu" else 0.0
    if extent is None:
        ends = _of_type(dtype, given, name)
    else:  # where nothing was measured at all, ends are infinite
        ends = (extent.low, extent.high) if extent.count else (low, high)
    if extent is None or extent.run_range is None:
        return Scale(low, high, chosen, *ends, step)
    beyond = extent.beyond / max(1, extent.count)
    scale = Scale(low, high, chosen, *ends, step, extent.run_range, beyond, extent.excess)
    if beyond:
        notice(_said(scale, name, kind))
    return scale


def _said(scale: Scale, name: DomainName, kind: Kind) -> str:
    assert scale.run_range is not None
    low, high = scale.run_range
    return (
        f"{scale.beyond:.2%} of the {kind.elements} in the test {kind.many} of {name.upper()} lie "
        f"beyond the run's range of {low:g} to {high:g}, by up to {scale.excess:g}; scores count "
        "them as they are"
    )


def _of_type(
    dtype: np.dtype[Any], given: set[np.dtype[Any]], name: DomainName
) -> tuple[float, float]:
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind not in "iu":
        raise UserError(
            f"--data-range type needs files of integers, but those of {name.upper()} are {dtype}; "
            "give set or two numbers"
        )
    if not given.issuperset({dtype}):
        kinds = " and ".join(sorted(map(str, given)))
        raise UserError(
            f"--data-range type needs files of one type, but those of {name.upper()} are {kinds}; "
            "give set or two numbers"
        )
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)


class _Extent:
    """The lowest and highest of a domain's test values, and how many are beyond the run's range."""

    def __init__(self, domain: Domain) -> None:
        self.low, self.high = np.inf, -np.inf
        self.count = self.beyond = 0
        self.excess = 0.0
        mapping = domain.intensity
        intensity = mapping.typical if isinstance(mapping, PerScan) else mapping
        self.run_range: tuple[float, float] | None = None
        if isinstance(intensity, Intensity):
            self.run_range = float(np.min(intensity.low)), float(np.max(intensity.high))
        for ref in domain.test:
            self._add(domain.values(ref), intensity)

    def _add(self, values: Tensor, intensity: Intensity | TypeRange) -> None:
        channels = values.flatten(1).numpy()
        measured = np.isfinite(channels)
        if not measured.any():
            return
        self.low = min(self.low, float(channels.min(where=measured, initial=np.inf)))
        self.high = max(self.high, float(channels.max(where=measured, initial=-np.inf)))
        self.count += int(measured.sum())
        if isinstance(intensity, Intensity):
            low, high = (np.reshape(end, (-1, 1)) for end in (intensity.low, intensity.high))
            excess = np.maximum(low - channels, channels - high)
            # Limits that come from the values themselves may have been rounded.
            self.beyond += int((excess > 1e-6 * (high - low)).sum())
            self.excess = max(self.excess, float(excess.max(where=measured, initial=0)))
