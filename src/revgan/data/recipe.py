"""Prepares a scan: from its file to the values that training crops.

Values stay small integers, as in the file, as long as these can hold them, so that only crops are
expanded to floats.
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
    """What was found when a scan was read and prepared.

    Attributes:
        channels: their number in the file.
        dtype: the data type in the file.
        shape: the prepared scan's spatial sizes.
        affine: of the prepared scan, from voxels to millimetres in RAS+; None if the format has no
            place.
    """

    channels: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    affine: Affine | None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan, prepared as its domain needs it.

    Attributes:
        values: (C, *spatial), read-only: small integers or float32 in the file's units, or float32
            in [-1, 1] for images that were resized.
        found: what the file held.
        foreground: (N, D) positions to centre samples on, if the configuration asks for them.
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
        """The spatial axis from left to right, according to the affine; without one, the last."""
        if self.found.affine is None:
            return len(self.shape) - 1
        return int(np.flatnonzero(io_orientation(self.found.affine)[:, 0] == 0)[0])


@dataclass(frozen=True)
class Recipe:
    """How every scan of a domain is prepared.

    Attributes:
        config: the grid, size and foreground.
        channels: what images are converted to (`convert_channels`); None takes them as they are.
        typed: whether [-1, 1] is the full range of the file's type (`TypeRange`).
        flat: whether they are label maps, whose colours must not be mixed.
    """

    config: DataConfig
    channels: int | None = None
    typed: bool = True
    flat: bool = False

    @property
    def key(self) -> list[Any]:
        """Everything that the result of `apply` depends on, as JSON values."""
        config = self.config
        grid = [config.grid.orientation, config.grid.spacing, config.resize]
        return [*grid, self.channels, self.typed, self.flat, config.foreground > 0]

    def read(self, ref: ScanRef) -> Prepared:
        """Reads a scan and prepares it.

        Raises:
            UserError: it can't be read, or is constant although intensities aren't those of a type.
        """
        return self.apply(ref.read(self.config.spatial_dims), ref.path)

    def apply(self, scan: Scan, path: Path) -> Prepared:
        """Brings a scan to its domain's channels, grid and size.

        Raises:
            UserError: all values are equal although intensities aren't those of a type.
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
        """An image (C, H, W) scaled to the configured size; without one, the scan as it is."""
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
        raise UserError(
            f"{path} is {value:g} everywhere; remove it, or replace it with a real scan"
        )


def _compact(values: Values, dtype: np.dtype[Any]) -> Values:
    """Values in the file's integer type if that is small and can hold them, else float32."""
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        if values.dtype == dtype:
            return values
        limits = np.iinfo(dtype)
        if limits.min <= values.min() and values.max() <= limits.max:
            integers = values.astype(dtype)
            if np.array_equal(integers, values):
                return integers
    return values.astype(np.float32, copy=False)
