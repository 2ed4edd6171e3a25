"""How scans are prepared for a network, and how a model folder records it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import permutations, product
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from revgan.data.formats import WHOLE, Scan, Selection
from revgan.data.grids import resample
from revgan.data.intensity import IntensityMapping, mapping_from_dict
from revgan.data.mappings import TypeRange
from revgan.data.views import View
from revgan.directions import DOMAINS, DomainName
from revgan.errors import UserError, one_line
from revgan.files import is_there, write_text
from revgan.plain_yaml import parse_yaml, whole_yaml

PREPARATION = "intensity.yaml"
"""The file in a model folder that records it."""

SIDES = (("L", "R"), ("P", "A"), ("I", "S"))
ORIENTATIONS = frozenset(
    "".join(letters) for order in permutations(SIDES) for letters in product(*order)
)
"""The 48 orientations that an array's axes can have in a patient."""


@dataclass(frozen=True)
class Grid:
    """The orientation and spacing that all volumes are brought to; images stay as they are.

    Attributes:
        orientation: the directions that the three axes point to, such as RAS (right, anterior,
            superior). Axes are swapped and reversed without resampling; None leaves them.
        spacing: millimetres from voxel to voxel along these axes; None keeps the resolution.
    """

    orientation: str | None = None
    spacing: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.orientation is not None and self.orientation not in ORIENTATIONS:
            raise ValueError(
                "orientation must be null or have a letter for each axis, such as RAS or LPS, not "
                f"{self.orientation!r}"
            )
        if self.spacing is not None and not all(0 < mm < math.inf for mm in self.spacing):
            raise ValueError(
                f"spacing must be null or three numbers above 0, not {list(self.spacing)}"
            )

    def bring(self, scan: Scan) -> Scan:
        """Brings a scan to this grid, by trilinear interpolation if its resolution differs.

        Returns:
            The values (C, X, Y, Z), float32, with their place in space; `source` and `dtype` stay
            those of the file. A scan that is on this grid already is returned as it is.
        """
        if self == Grid():
            return scan
        from monai.data import MetaTensor  # importing MONAI takes seconds
        from monai.transforms import Orientation, Spacing

        values = np.ascontiguousarray(scan.values, dtype=np.float32)
        moved = MetaTensor(torch.from_numpy(values), torch.from_numpy(scan.place))
        if self.orientation is not None:
            moved = Orientation(self.orientation, labels=SIDES)(moved)
        values = np.ascontiguousarray(moved.as_tensor().numpy())
        turned = replace(scan, values=values, affine=moved.affine.numpy())
        if self.spacing is None:
            return turned
        placed = Spacing(self.spacing)(moved, lazy=True)  # computes the grid, but no voxels
        affine, shape = placed.peek_pending_affine().numpy(), placed.peek_pending_shape()
        if np.array_equal(affine, turned.place):
            return turned
        return replace(turned, values=resample(turned, affine, shape), affine=affine)


Fill = float | Literal["low"]


def fill_in_unit(
    mapping: IntensityMapping, fill: Fill, channels: int, spatial_dims: int
) -> NDArray[np.float32]:
    """What the networks see where nothing was measured: (1, *1) or (channels, *1).

    Args:
        mapping: the mapping of the scan's intensities.
        fill: see `Preparation.fill`.
        channels: the scan's.
        spatial_dims: its spatial axes.
    """
    ones = [1] * spatial_dims
    if fill == "low":
        return np.full((1, *ones), -1, np.float32)
    return mapping.to_unit(np.full((channels, *ones), fill, np.float32))


@dataclass(frozen=True)
class Preparation:
    """How a model's scans are prepared for the network.

    Attributes:
        a: the intensity mapping of A.
        b: the intensity mapping of B.
        grid: the orientation and spacing of the scans.
        fill: what the networks see where nothing was measured: "low" is the intensity that becomes
            -1; a number is in the files' units.
        part_a: which channels and which resolution of A's files it was.
        part_b: the same for B.
        slices: which slices of volumes its images are; None for images.
    """

    a: IntensityMapping
    b: IntensityMapping
    grid: Grid = Grid()
    fill: Fill = "low"
    part_a: Selection = WHOLE
    part_b: Selection = WHOLE
    slices: View | None = None

    def of(self, domain: DomainName) -> IntensityMapping:
        """The intensity mapping of a domain."""
        return self.a if domain == "a" else self.b

    def part(self, domain: DomainName) -> Selection:
        """Which part of a domain's files it was."""
        return self.part_a if domain == "a" else self.part_b

    def with_intensity(self, domain: DomainName, mapping: IntensityMapping) -> Self:
        """The same with another intensity mapping for a domain."""
        return replace(self, a=mapping) if domain == "a" else replace(self, b=mapping)

    def write(self, folder: Path) -> None:
        """Writes it into a model folder, complete or not at all; makes the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / PREPARATION, self.to_yaml())

    def to_yaml(self) -> str:
        """The content of the file."""
        content: dict[str, Any] = {
            "a": self.a.to_dict(),
            "b": self.b.to_dict(),
            "orientation": self.grid.orientation,
            "spacing": self.grid.spacing and list(self.grid.spacing),
        }
        if self.fill != "low":
            content["fill"] = self.fill
        parts = {domain: _part_to_dict(self.part(domain)) for domain in DOMAINS}
        if any(parts.values()):
            content["parts"] = parts
        if self.slices is not None:
            content["slices"] = self.slices
        return whole_yaml(content)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Reads what `write` wrote; None if there is no file, as in older models of images.

        Raises:
            UserError: the file can't be understood.
        """
        path = folder / PREPARATION
        if not is_there(path):
            return None
        try:
            return cls.from_yaml(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(
                f"{path} can't be understood ({one_line(error)}); replace it with the one that "
                "came with the model"
            ) from error

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """What `to_yaml` wrote.

        Raises:
            ValueError: it can't be understood.
        """
        content = parse_yaml(text)
        if not isinstance(content, dict):
            raise ValueError("it holds nothing by name")
        try:
            return cls._from_dict(content)
        except KeyError as error:
            raise ValueError(f"{error.args[0]} is missing") from error
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error

    @classmethod
    def _from_dict(cls, content: Mapping[str, Any]) -> Self:
        a, b = (mapping_from_dict(content[domain]) for domain in DOMAINS)
        spacing = content["spacing"]
        if spacing is not None:
            x, y, z = map(float, spacing)
            spacing = x, y, z
        fill = content.get("fill", "low")
        slices = content.get("slices")
        if slices not in (None, *get_args(View)):
            raise ValueError(f"slices are {', '.join(get_args(View))}, not {slices!r}")
        parts = content.get("parts", {})
        part_a, part_b = (_part_from_dict(parts.get(domain, {})) for domain in DOMAINS)
        return cls(
            a,
            b,
            Grid(content["orientation"], spacing),
            fill if fill == "low" else float(fill),
            part_a,
            part_b,
            slices,
        )


def learnt_part(selection: Selection) -> Selection:
    """What of a selection decides what networks see of a scan, not which scan of a file it is."""
    return Selection(
        level=selection.level, pixel_size=selection.pixel_size, channels=selection.channels
    )


def _part_to_dict(part: Selection) -> dict[str, Any]:
    content = {name: getattr(part, name) for name in part.given}
    if part.channels is not None:
        content["channels"] = list(part.channels)
    return content


def _part_from_dict(content: Mapping[str, Any]) -> Selection:
    channels, level, size = (content.get(name) for name in ("channels", "level", "pixel_size"))
    return Selection(
        level=None if level is None else int(level),
        pixel_size=None if size is None else float(size),
        channels=None if channels is None else tuple(map(str, channels)),
    )


WITHOUT_FILE = {2: Preparation(TypeRange(), TypeRange())}
"""The preparation of models without the file, by spatial dimensions: the full range of their type
for images; for volumes, it can't be guessed."""
