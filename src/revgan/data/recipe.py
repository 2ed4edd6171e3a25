"""Prepares a scan: from its file to the values that training crops.

Values stay small integers, as in the file, as long as these can hold them, so that only crops are
expanded to floats.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from nibabel.orientations import io_orientation
from numpy.typing import NDArray
from torch.nn import functional as F

from revgan.data.channels import converted
from revgan.data.config import DataConfig
from revgan.data.foreground import foreground_positions
from revgan.data.formats import KINDS, Affine, Ground, Header, Scan, Values
from revgan.data.grids import MEASURED
from revgan.data.intensity import IntensityConfig, PerScan
from revgan.data.large import Unread
from revgan.data.mappings import Intensity
from revgan.data.missing import Missing, missing_in, with_nan
from revgan.data.preparation import Grid
from revgan.data.refs import ScanRef
from revgan.data.sources import scan_of
from revgan.data.windowed import Look, Windowed, is_large, measured
from revgan.errors import UserError


class Found(NamedTuple):
    """What was found when a scan was read and prepared.

    Attributes:
        channels: their number in the file.
        dtype: the data type in the file.
        shape: the prepared scan's spatial sizes.
        affine: of the prepared scan, from voxels to millimetres in RAS+; None if the format has no
            place.
        nodata: the value, besides NaN, that marks missing data in the prepared values.
        missing: the share of the prepared values that are missing.
        ground: where the scan lies on the ground, before it was scaled to `data.resize`.
    """

    channels: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    affine: Affine | None
    nodata: float | None = None
    missing: float = 0.0
    ground: Ground | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan, prepared as its domain needs it.

    Attributes:
        values: (C, *spatial), read-only, in the file's units: integers or float32, with NaN or
            `found.nodata` where nothing was measured. Those of large scans are still in the file.
        found: what the file held.
        foreground: (N, D) positions to centre samples on, if the configuration asks for them.
        limits: (2, 1) or (2, C), what becomes -1 and 1 in this scan, where each has its own.
    """

    values: Values | Unread
    found: Found
    foreground: NDArray[np.int32] | None = None
    limits: NDArray[np.float64] | None = None

    def cut(self, box: Sequence[slice]) -> "Prepared":
        """A part of it, of which only the values differ."""
        return replace(self, values=self.values[:, *box])

    def continued(self, sizes: Sequence[int]) -> "Prepared":
        """Itself, mirrored at its ends along axes shorter than `sizes`, as in translation."""
        short = [max(0, size - side) for size, side in zip(sizes, self.shape, strict=True)]
        if not any(short):
            return self
        widths = [(0, 0), *((count // 2, count - count // 2) for count in short)]
        return replace(self, values=np.pad(np.asarray(self.values), widths, mode="reflect"))

    @property
    def missing(self) -> Missing | None:
        """Where nothing was measured; None where everything was."""
        if not self.found.missing:
            return None
        return missing_in(np.asarray(self.values), self.found.nodata)

    @property
    def measured(self) -> Values | Unread:
        """The values with NaN where nothing was measured."""
        if isinstance(self.values, Unread):
            return measured(self.values, self.found.nodata) if self.found.missing else self.values
        return with_nan(self.values, self.missing)

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
        intensity: what becomes -1 and 1, where each scan is looked at for itself.
        flat: whether they are label maps, whose colours must not be mixed.
    """

    config: DataConfig
    channels: int | None = None
    intensity: IntensityConfig | None = None
    flat: bool = False

    @property
    def key(self) -> list[Any]:
        """Everything that the result of `apply` depends on, as JSON values."""
        config = self.config
        grid = [config.grid.orientation, config.grid.spacing, config.resize]
        intensity = None if self.intensity is None else asdict(self.intensity)
        return [*grid, self.channels, intensity, self.flat, self.foreground]

    @property
    def foreground(self) -> str | float | None:
        """What foreground to look for, see `DataConfig.foreground_from`; None for none."""
        config = self.config
        return config.foreground_from if config.foreground else None

    def read(self, ref: ScanRef) -> Prepared:
        """Reads a scan and prepares it.

        Raises:
            UserError: it can't be read, nothing in it was measured, or it is constant, which a
                volume must not be, nor any scan that intensities are to be found for.
        """
        with ref.open(self.config.spatial_dims) as source:
            header = source.header
            large = self.config.resize is None and is_large(source)
            scan = None if large else scan_of(source)
        if scan is None:
            prepared = self._of_large(ref, header)
        else:
            if not KINDS[self.config.spatial_dims].photos:
                require_contrast(scan, ref.path)
            prepared = self.apply(scan, ref.path)
        # Slices and blocks at the ends may be empty.
        if prepared.found.missing == 1 and ref.plane is None and ref.block is None:
            raise UserError(
                f"nothing in {ref} was measured: all of it is NaN or nodata; leave it out"
            )
        if self.intensity is None:
            return prepared
        try:
            own = PerScan(self.intensity, Intensity(0, 1)).of_scan([prepared.measured])
        except UserError as error:
            raise UserError(f"in {ref}, {error}") from error
        limits = np.array([np.atleast_1d(own.low), np.atleast_1d(own.high)], np.float64)
        return replace(prepared, limits=limits)

    def _of_large(self, ref: ScanRef, header: Header) -> Prepared:
        """As `apply`, but the values stay in the file, and are looked at part by part."""
        window = Windowed(ref, self.config.spatial_dims, self.channels, self.config.grid)
        nodata, lattice = window.nodata(header), window.lattice(header)
        with window.opened() as values:
            look = Look.at(values, nodata)
            if look.constant is not None and not KINDS[self.config.spatial_dims].photos:
                raise _without_contrast(ref.path, look.constant)
            foreground = None
            if self.foreground not in (None, "mask"):
                known = measured(values, nodata) if look.missing else values
                foreground = self._foreground_of(known, header.dtype)
        found = Found(
            header.channels,
            header.dtype,
            lattice.shape,
            lattice.affine,
            nodata,
            look.missing,
            header.ground,
        )
        return Prepared(replace(values, read=window), found, foreground)

    def apply(self, scan: Scan, path: Path) -> Prepared:
        """Brings a scan to its domain's channels, grid and size.

        Raises:
            UserError: it can't be brought to the domain's channels.
        """
        channels, dtype, nodata = len(scan.values), scan.dtype, scan.nodata
        missing = missing_in(scan.values, nodata)
        moves = self.channels not in (None, channels) or self.config.resize is not None
        if missing is not None and (moves or self.config.grid != Grid() or dtype.kind == "f"):
            scan, nodata = replace(scan, values=with_nan(scan.values, missing)), None
        if self.channels is not None:
            scan = replace(scan, values=converted(scan.values, self.channels, path))
        scan = self.config.grid.bring(scan)
        values = self._resized(scan.values)
        if missing is not None:
            missing = missing_in(values, nodata)
        foreground = None
        if self.foreground not in (None, "mask"):
            foreground = self._foreground_of(with_nan(values, missing), dtype)
        share = 0.0 if missing is None else float(missing.mean())
        found = Found(channels, dtype, values.shape[1:], scan.affine, nodata, share, scan.ground)
        if values is scan.values:  # what was resized has fractions
            values = _compact(values, dtype)
        return Prepared(values, found, foreground)

    def _foreground_of(self, values: Values | Unread, dtype: np.dtype[Any]) -> NDArray[np.int32]:
        """Positions in the foreground of values from files of a type."""
        photo = KINDS[self.config.spatial_dims].photos and dtype in (np.uint8, np.uint16)
        given = self.foreground
        above = given if isinstance(given, int | float) else None
        return foreground_positions(values, colour=photo and len(values) in (3, 4), above=above)

    def _resized(self, values: Values) -> Values:
        """An image (C, H, W) scaled to the configured size; without one, the scan as it is."""
        if self.config.resize is None:
            return values
        height, width = values.shape[1:]
        size = self.config.scaled(height, width)
        if size == (height, width):
            return values
        floats = torch.from_numpy(values.astype(np.float32))
        if self.flat:
            nearest = F.interpolate(floats[None], size, mode="nearest-exact")[0]
            return nearest.numpy().astype(values.dtype)
        if not floats.isnan().any():
            return _smoothed(floats, size).numpy()
        # Each pixel is the mean of what was measured of those that it is made of.
        there = floats.isfinite()
        share = _smoothed(there.float(), size)
        resized = _smoothed(floats.nan_to_num(), size) / share.clamp(min=MEASURED)
        return resized.where(share >= MEASURED, torch.nan).numpy()


def _smoothed(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    resized = F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    return resized.clamp_(image.min(), image.max())


def require_contrast(scan: Scan, path: Path) -> None:
    """Refuses a scan in which all values are equal: there is nothing to learn from it.

    Raises:
        UserError: names the file.
    """
    values, missing = scan.values, missing_in(scan.values, scan.nodata)
    if missing is not None:
        values = values[~missing]
    if values.size and (values == values.flat[0]).all():
        raise _without_contrast(path, values.flat[0])


def _without_contrast(path: Path, value: float) -> UserError:
    return UserError(f"{path} is {value:g} everywhere; remove it, or replace it with a real scan")


def _compact(values: Values, dtype: np.dtype[Any]) -> Values:
    """Values in the file's integer type if that is small and can hold them, else float32."""
    if values.dtype == dtype and dtype.kind in "biu" and dtype.itemsize <= 4:
        return values
    if dtype.kind in "iu" and dtype.itemsize <= 2 and values.dtype.kind == "f":
        if np.isnan(values).any():
            return values.astype(np.float32, copy=False)
        limits = np.iinfo(dtype)
        if limits.min <= values.min() and values.max() <= limits.max:
            integers = values.astype(dtype)
            if np.array_equal(integers, values):
                return integers
    return values.astype(np.float32, copy=False)
