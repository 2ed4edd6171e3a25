"""From a scan's file to the values that training cuts.

Values stay in the file's own small integers as long as these can hold them, so that a crop is cut
before the rest is made large.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from nibabel.orientations import io_orientation
from numpy.typing import NDArray
from torch.nn import functional as F

from revgan.data.channels import convert_channels
from revgan.data.config import DataConfig
from revgan.data.foreground import foreground_positions
from revgan.data.formats import Affine, Scan, Values
from revgan.data.intensity import TypeRange
from revgan.data.refs import ScanRef
from revgan.errors import UserError


class Found(NamedTuple):
    """What reading and preparing a scan has shown.

    Attributes:
        channels: in the file.
        dtype: in the file.
        shape: sizes of the spatial axes, prepared.
        affine: of the prepared scan, from voxels to millimetres in RAS+; None without a place.
    """

    channels: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    affine: Affine | None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan as its domain has it.

    Attributes:
        values: (C, *spatial), not to be written to: small integers or float32, in the file's
            units; what resizing has mixed of images is in [-1, 1].
        found: what it was made of.
        foreground: (N, D) positions to centre samples on, where these are wanted.
    """

    values: Values
    found: Found
    foreground: NDArray[np.int32] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the spatial axes."""
        return self.values.shape[1:]

    @property
    def left_right(self) -> int:
        """The spatial axis from left to right: by the affine the patient's, else the last."""
        if self.found.affine is None:
            return len(self.shape) - 1
        return int(np.flatnonzero(io_orientation(self.found.affine)[:, 0] == 0)[0])


@dataclass(frozen=True)
class Recipe:
    """What becomes of every scan of a domain.

    Attributes:
        config: the grid, size and foreground.
        channels: what images are converted to (`convert_channels`); None takes them as they are.
        typed: -1 to 1 are the full range of the file's type (`TypeRange`).
        flat: they are label maps, whose colours are not to be mixed.
    """

    config: DataConfig
    channels: int | None = None
    typed: bool = True
    flat: bool = False

    @property
    def key(self) -> list[Any]:
        """All that decides what `apply` gives, as JSON has it."""
        config = self.config
        grid = [config.grid.orientation, config.grid.spacing, config.resize]
        return [*grid, self.channels, self.typed, self.flat, config.foreground > 0]

    def read(self, ref: ScanRef) -> Prepared:
        """Reads a scan and prepares it.

        Raises:
            UserError: it can't be read, or is constant where intensities are not those of a type.
        """
        return self.apply(ref.read(self.config.spatial_dims), ref.path)

    def apply(self, scan: Scan, path: Path) -> Prepared:
        """Brings a scan to its domain's channels, grid and size.

        Raises:
            UserError: all values are equal, where intensities are not those of a type.
        """
        channels, dtype = len(scan.values), scan.dtype
        if not self.typed:
            _require_contrast(scan.values, path)
        if self.channels is not None:
            scan = replace(scan, values=convert_channels(scan.values, self.channels))
        scan = self.config.grid.bring(scan)
        values = self._resized(scan.values)
        foreground = None
        if self.config.foreground:
            foreground = foreground_positions(np.ascontiguousarray(values, np.float32))
        if not self.typed:
            values = _compact(values, dtype)
        return Prepared(values, Found(channels, dtype, values.shape[1:], scan.affine), foreground)

    def _resized(self, values: Values) -> Values:
        """An image (C, H, W) at the configuration's size; any scan where there is none."""
        if self.config.resize is None:
            return values
        height, width = values.shape[1:]
        size = self.config.scaled(height, width)
        if size == (height, width):
            return values
        if self.flat:
            floats = torch.from_numpy(values.astype(np.float32))
            nearest = F.interpolate(floats[None], size, mode="nearest-exact")[0]
            return nearest.numpy().astype(values.dtype)
        unit = torch.from_numpy(TypeRange().to_unit(values))[None]
        resized = F.interpolate(unit, size, mode="bilinear", antialias=True)[0]
        return resized.clamp_(-1, 1).numpy()


def _require_contrast(values: Values, path: Path) -> None:
    """Refuses a scan in which all values are equal: there is nothing to learn from it."""
    value = values.flat[0]
    if (values == value).all():
        raise UserError(f"{path} is {value:g} everywhere; take it out or replace it by a real one")


def _compact(values: Values, dtype: np.dtype[Any]) -> Values:
    """Values in the file's own integers if these are small and hold what there is, or float32."""
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        if values.dtype == dtype:
            return values
        limits = np.iinfo(dtype)
        if limits.min <= values.min() and values.max() <= limits.max:
            integers = values.astype(dtype)
            if np.array_equal(integers, values):
                return integers
    return values.astype(np.float32, copy=False)
