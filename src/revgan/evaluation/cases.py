"""The test scans of a report: all of them, in as many pixels as a page can hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from revgan.figures.pictures import shown_channels
from revgan.figures.slices import Affine, Triple, foreground_centre
from revgan.figures.stacks import Stack, stack
from revgan.figures.windows import level_table, to_levels

Levels = NDArray[np.float64]
"""(256,): what the levels of a picture stand for."""

PIXELS = 64 * 10**6
"""Pixels in all pictures of a page, roughly: some 10 MB."""

LARGEST, SMALLEST = {2: 1024**2, 3: 128**3}, {2: 64**2, 3: 32**3}
"""Pixels or voxels of one picture, by spatial dimensions."""

Kind = Literal["input", "translation", "truth", "difference", "round trip"]

KINDS: tuple[Kind, ...] = ("input", "translation", "truth", "difference", "round trip")
"""A case's pictures, in the order in which they are shown."""

Side = Literal["input", "truth"]

SIDES: Mapping[Kind, Side] = {
    "input": "input",
    "round trip": "input",
    "translation": "truth",
    "truth": "truth",
}
"""The pictures of the domain translated from, and those of the other, which share their windows."""


@dataclass(frozen=True)
class Case:
    """A test scan and what became of it, for display.

    Attributes:
        name: the scan's.
        stacks: "input", "translation", "round trip" and, if it is known, "truth": (C, D, H, W) in
            [-1, 1] as 8 bits, C = 1 or 3, all of the same D, H and W; see `revgan.figures.stacks`.
            Those of a side with a table hold its levels instead.
        difference: translation minus truth, the mean over the channels shown, in the truth's units,
            (D, H, W); None if the truth is unknown.
        spacing: of slices, rows and columns.
        centre: the slice, row and column in the middle of what the input shows.
        volume: whether it has slices in three planes.
        sides_known: whether a volume's right and left, and the other sides, are known.
        tables: by side, the value of each level in the files' units, see `revgan.figures.windows`.
    """

    name: str
    stacks: Mapping[Kind, Tensor]
    difference: Tensor | None
    spacing: Triple = (1.0, 1.0, 1.0)
    centre: tuple[int, int, int] = (0, 0, 0)
    volume: bool = False
    sides_known: bool = False
    tables: Mapping[Side, Levels] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns."""
        depth, height, width = self.stacks["input"].shape[1:]
        return depth, height, width

    @property
    def kinds(self) -> list[Kind]:
        """The pictures that it has."""
        return [
            kind
            for kind in KINDS
            if kind in self.stacks or (kind == "difference" and self.difference is not None)
        ]


def room(scans: int, spatial_dims: int) -> int:
    """How many pixels or voxels each picture may have on a page that shows this many scans."""
    most = PIXELS // max(1, scans * len(KINDS))
    return max(SMALLEST[spatial_dims], min(LARGEST[spatial_dims], most))


def make_case(
    name: str,
    scans: Mapping[Kind, Tensor],
    difference: Tensor | None,
    affine: Affine | None,
    most: int,
    values: Mapping[Kind, Tensor] | None = None,
) -> Case:
    """Prepares a test scan for display.

    Args:
        name: the scan's.
        scans: see `Case.stacks`; (C, *spatial) in [-1, 1], all of the same spatial sizes.
        difference: (C, *spatial), translation minus truth in the truth's units.
        affine: of a volume's voxels, see `revgan.figures.stacks.stack`.
        most: see `room`.
        values: scans in the files' units, (C, *spatial), of the sides whose windows can be chosen;
            those of colours are left as they are.

    Raises:
        ValueError: the sizes differ, or see `revgan.figures.stacks.stack`.
    """
    sizes = [tuple(scan.shape[1:]) for scan in scans.values()]
    if len(set(sizes)) > 1:
        raise ValueError(f"the scans of a case must be of one size, not {sizes}")
    small = {
        kind: stack(shown_channels(scan), affine).reduced(most) for kind, scan in scans.items()
    }
    shown = {kind: _in_8_bits(of_kind.values) for kind, of_kind in small.items()}
    levels, tables = _levels(values or {}, affine, most)
    apart = None
    if difference is not None:
        mean = shown_channels(difference).mean(0, keepdim=True)
        apart = stack(mean, affine).reduced(most).values[0].to(torch.float32)
    return Case(
        name=name,
        stacks=shown | levels,
        difference=apart,
        spacing=small["input"].spacing,
        centre=_centre(small["input"]),
        volume=small["input"].volume,
        sides_known=affine is not None,
        tables=tables,
    )


def _levels(
    values: Mapping[Kind, Tensor], affine: Affine | None, most: int
) -> tuple[dict[Kind, Tensor], dict[Side, Levels]]:
    """Grey scans as levels, and what these stand for, by side."""
    grey = {
        kind: stack(shown_channels(scan), affine).reduced(most).values
        for kind, scan in values.items()
        if len(shown_channels(scan)) == 1
    }
    tables = {
        side: level_table([scan for kind, scan in grey.items() if SIDES[kind] == side])
        for side in dict.fromkeys(SIDES[kind] for kind in grey)
    }
    return {kind: to_levels(scan, tables[SIDES[kind]]) for kind, scan in grey.items()}, tables


def _in_8_bits(values: Tensor) -> Tensor:
    return (values.float().add(1).div(2).clamp(0, 1) * 255).round().byte()


def _centre(scan: Stack) -> tuple[int, int, int]:
    first, second, third = foreground_centre(scan.values)
    return first, second, third
