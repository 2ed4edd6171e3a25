"""The windows in which a report shows a domain's grey scans at first, or by name."""

from typing import NamedTuple

import numpy as np

from revgan.data.domains import Domain
from revgan.data.intensity import PerScan
from revgan.data.mappings import TypeRange
from revgan.evaluation.scales import Scale


class Window(NamedTuple):
    """A window by name, in the files' units.

    Attributes:
        name: in the report.
        centre: the value in the middle, which becomes grey.
        width: from black to white.
    """

    name: str
    centre: float
    width: float


CT_WINDOWS = (
    Window("soft tissue", 40, 400),
    Window("brain", 40, 80),
    Window("lung", -600, 1500),
    Window("bone", 400, 1800),
)
"""Usual ones, in Hounsfield units."""


def windows_of(domain: Domain, scale: Scale, *, ct: bool) -> list[Window]:
    """The windows of a domain, the first of which is the one at first: what its networks see.

    Args:
        domain: with test scans.
        scale: theirs.
        ct: whether they are in Hounsfield units.

    Returns:
        None at all where the full range of a type is shown, as of photos.
    """
    mapping = domain.intensity
    if isinstance(mapping, TypeRange):
        return []
    intensity = mapping.typical if isinstance(mapping, PerScan) else mapping
    found = [
        _between("range of the run", float(np.min(intensity.low)), float(np.max(intensity.high))),
        _between("all values", scale.lowest, scale.highest),
    ]
    return [*found, *(CT_WINDOWS if ct else ())]


def _between(name: str, low: float, high: float) -> Window:
    return Window(name, (low + high) / 2, (high - low) or 1.0)
