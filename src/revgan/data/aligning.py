"""Brings a scan onto the grid of another that shows the same place: B onto A's, by `data.align`."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from revgan.data.formats import NOWHERE, Affine, Ground, Header, Scan, Window, header_of_part
from revgan.data.formats.ground import crs_of, same_crs, transform_of
from revgan.data.grids import resample
from revgan.data.missing import missing_in, with_nan
from revgan.data.placing import Read
from revgan.errors import UserError

SAME = 1e-3
"""Scans whose positions differ by at most this share of a pixel are left as they are."""


MARGIN = 2
"""Pixels around a window that interpolation looks at, of the coarser grid."""

BORDER = 21
"""Points along a side of a grid that tell where it lies in another CRS, as GDAL takes them."""


def align(scan: Scan, to: Header, name: str, *, nearest: bool = False) -> Scan:
    """A scan, resampled linearly onto the grid of another.

    Args:
        scan: values (C, *spatial) and their place.
        to: the header of the other scan, whose grid is used.
        name: the scan's, for messages.
        nearest: whether to take the nearest value instead, as for labels.

    Returns:
        (C, *spatial of `to`), float32, with NaN where the scan has no data; the scan itself if it
        is on that grid already.

    Raises:
        UserError: one of the two doesn't say where it is, or they don't overlap.
    """
    if on_same_grid(scan.header, to, name):
        return scan
    if scan.ground is not None and to.ground is not None:
        values = _warped(_with_gaps(scan), scan.ground, to, nearest)
    else:
        assert to.affine is not None
        values = _resampled(_with_gaps(scan), to.affine, to.shape, nearest)
    if np.isnan(values).all():
        raise UserError(
            f"{name} has nothing in common with the place of its partner: by their headers, their "
            f"centres are {centres_apart(scan.header, to)} apart; check that the two are a pair"
        )
    return replace(scan, values=values, nodata=None, affine=to.affine, ground=to.ground)


def on_same_grid(header: Header, to: Header, name: str) -> bool:
    """Whether two scans have the same grid already, so that none needs resampling.

    Raises:
        UserError: one of the two doesn't say where it is, and their sizes differ.
    """
    alike = header.shape == to.shape
    if header.ground is not None and to.ground is not None:
        return alike and on_ground(header.ground, to.ground, to.shape) <= SAME
    if _in_space(header, to):
        assert header.affine is not None
        assert to.affine is not None
        return alike and apart(header.affine, to.affine, to.shape) <= SAME
    if not alike:
        raise UserError(
            f"{name} can't be aligned, as it or its partner doesn't say where it is, and their "
            "sizes differ; resample one onto the other's grid"
        )
    return True


def aligned_window(
    read: Read, header: Header, to: Header, window: Window, *, nearest: bool = False
) -> NDArray[np.float32]:
    """A window of what `align` makes, for which only a part of the scan is read.

    Args:
        read: gives windows of the scan, float32 with NaN where it has no data.
        header: the scan's.
        to: as of `align`; its grid isn't the scan's.
        window: on that grid.
        nearest: as of `align`.
    """
    grid = header_of_part(to, window)
    box = _covering(header, grid)
    if any(part.start >= part.stop for part in box):  # beyond the scan
        return np.full((header.channels, *grid.shape), np.nan, np.float32)
    own = header_of_part(header, box)
    scan = Scan(read(box), own.affine, None, np.dtype(np.float32), own.ground)
    if own.ground is not None and grid.ground is not None:
        return _warped(scan, own.ground, grid, nearest)
    assert grid.affine is not None
    return _resampled(scan, grid.affine, grid.shape, nearest, header)


def _covering(header: Header, grid: Header) -> Window:
    """The window of a scan that another grid's values are made of."""
    if header.ground is not None and grid.ground is not None:
        places = _on_scan(header.ground, grid.ground, grid.shape)
    else:
        assert header.affine is not None
        assert grid.affine is not None
        places = np.linalg.inv(header.affine) @ grid.affine @ _corners(grid.shape)
    low, high = places[:-1].min(1), places[:-1].max(1)
    reach = np.ceil(MARGIN * np.maximum(1, (high - low) / max(grid.shape)))
    first = np.clip(np.floor(low) - reach, 0, header.shape).astype(int)
    end = np.clip(np.ceil(high) + reach + 1, 0, header.shape).astype(int)
    return tuple(slice(*ends) for ends in zip(first.tolist(), end.tolist(), strict=True))


def _on_scan(own: Ground, grid: Ground, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Where a grid's border lies among a scan's pixels: rows, columns and ones, (3, N)."""
    border = _corners(shape, points=BORDER)
    x, y, _ = grid.affine @ border
    if not same_crs(own.crs, grid.crs):
        from rasterio.warp import transform

        x, y = map(np.array, transform(crs_of(grid.crs), crs_of(own.crs), x, y))
    known = np.isfinite(x) & np.isfinite(y)
    there = np.stack([x[known], y[known], np.ones(known.sum())])
    return np.asarray(np.linalg.inv(own.affine) @ there)


def _corners(shape: tuple[int, ...], points: int = 2) -> NDArray[np.float64]:
    """Indices from end to end of all axes, so many along each, (D + 1, N) with a row of ones."""
    axes = (np.linspace(0, size - 1, points) for size in shape)
    grid = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(len(shape), -1)
    return np.vstack([grid, np.ones(grid.shape[1])])


def have_places(one: Header, other: Header) -> bool:
    """Whether `align` can bring one scan onto the grid of the other."""
    on_ground = one.ground is not None and other.ground is not None
    return on_ground or _in_space(one, other)


def _in_space(*headers: Header) -> bool:
    """Whether all say where they are in the patient, or on a microscope's stage."""
    return all(each.affine is not None and each.affine is not NOWHERE for each in headers)


@dataclass(frozen=True)
class Distance:
    """How far two grids' centres are apart.

    Attributes:
        length: in `unit`.
        unit: of the place: millimetres, or those of the map.
        pixels: the same in sides of the second grid's smallest pixel.
    """

    length: float
    unit: str
    pixels: float

    def __str__(self) -> str:
        return f"{self.length:.3g} {self.unit}"


def centres_apart(one: Header, other: Header) -> Distance | None:
    """How far the centres of two grids are apart; None if one of them has no place."""
    if one.ground is not None and other.ground is not None:
        if not same_crs(one.ground.crs, other.ground.crs):
            return Distance(np.inf, "units of unlike CRSs", np.inf)
        places, unit = (one.ground.affine, other.ground.affine), "units of their CRS"
    elif one.affine is not None and other.affine is not None and _in_space(one, other):
        places, unit = (one.affine, other.affine), "mm"
    else:
        return None
    centres = [
        (place @ [*((side - 1) / 2 for side in grid.shape), 1])[:-1]
        for place, grid in zip(places, (one, other), strict=True)
    ]
    length = float(np.linalg.norm(centres[0] - centres[1]))
    side = np.linalg.norm(places[1][:-1, :-1], axis=0).min()
    return Distance(length, unit, float(length / side))


def apart(one: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """How far two affines put the same index apart at most, in sides of the smallest pixel.

    Args:
        one: (D + 1, D + 1), from indices to coordinates.
        other: of the same shape.
        shape: D sizes, of the indices that count.
    """
    distance = (one - other) @ _corners(shape)  # nothing is farther apart than at the corners
    side = np.linalg.norm(one[:-1, :-1], axis=0).min()
    return float(np.linalg.norm(distance[:-1], axis=0).max() / side)


def on_ground(one: Ground, other: Ground, shape: tuple[int, ...]) -> float:
    """As `apart`, of two places on the ground; infinite in other CRSs."""
    if not same_crs(one.crs, other.crs):
        return float("inf")
    return apart(one.affine, other.affine, shape)


def _with_gaps(scan: Scan) -> Scan:
    known = with_nan(scan.values, missing_in(scan.values, scan.nodata))
    return replace(scan, values=known.astype(np.float32, copy=False))


def _warped(scan: Scan, ground: Ground, to: Header, nearest: bool) -> NDArray[np.float32]:
    """By GDAL, from one CRS and grid to others."""
    from rasterio.warp import Resampling, reproject

    assert to.ground is not None
    values = np.full((len(scan.values), *to.shape), np.nan, np.float32)
    reproject(
        np.ascontiguousarray(scan.values),
        values,
        src_transform=transform_of(ground),
        src_crs=crs_of(ground.crs or to.ground.crs),
        src_nodata=np.nan,
        dst_transform=transform_of(to.ground),
        dst_crs=crs_of(to.ground.crs or ground.crs),
        dst_nodata=np.nan,
        resampling=Resampling.nearest if nearest else Resampling.bilinear,
    )
    return values


def _resampled(
    scan: Scan,
    affine: Affine,
    shape: tuple[int, ...],
    nearest: bool,
    whole: Header | None = None,
) -> NDArray[np.float32]:
    """By the affines, in the patient; NaN beyond the outermost voxels of the whole scan."""
    flat = [1] * (3 - len(shape))  # an image is a volume of one slice
    volume = replace(
        scan,
        values=scan.values.reshape(len(scan.values), *flat, *scan.shape),
        affine=_of_volume(scan.place),
    )
    values = resample(volume, _of_volume(affine), (*flat, *shape), nearest=nearest)
    values = values.reshape(-1, *shape)
    whole = whole or scan.header
    to_index = np.linalg.inv(scan.place if whole.affine is None else whole.affine) @ affine
    index = np.indices(shape, np.float32, sparse=True)
    for axis, side in enumerate(whole.shape):
        position = to_index[axis, -1] + sum(
            np.float32(weight) * each
            for weight, each in zip(to_index[axis, :-1], index, strict=True)
        )
        values[:, (position < -0.5) | (position > side - 0.5)] = np.nan
    return values


def _of_volume(affine: Affine) -> Affine:
    """The affine of an image as that of a volume whose first axis has one slice."""
    volume = np.eye(4)
    volume[-len(affine) :, -len(affine) :] = affine
    return volume
