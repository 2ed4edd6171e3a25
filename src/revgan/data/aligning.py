"""Brings a scan onto the grid of another that shows the same place: B onto A's, by `data.align`."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from revgan.data.formats import Affine, Ground, Header, Scan
from revgan.data.formats.ground import crs_of, same_crs, transform_of
from revgan.data.grids import resample
from revgan.data.missing import missing_in, with_nan
from revgan.errors import UserError

SAME = 1e-3
"""Scans whose positions differ by at most this share of a pixel are left as they are."""


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
    if scan.ground is not None and to.ground is not None:
        if scan.shape == to.shape and on_ground(scan.ground, to.ground, to.shape) <= SAME:
            return scan
        values = _warped(_with_gaps(scan), scan.ground, to, nearest)
    elif scan.affine is not None and to.affine is not None:
        if scan.shape == to.shape and apart(scan.affine, to.affine, to.shape) <= SAME:
            return scan
        values = _resampled(_with_gaps(scan), to.affine, to.shape, nearest)
    elif scan.shape == to.shape:
        return scan
    else:
        raise UserError(
            f"{name} can't be aligned, as it or its partner doesn't say where it is, and their "
            "sizes differ; resample one onto the other's grid"
        )
    if np.isnan(values).all():
        raise UserError(
            f"{name} has nothing in common with the place of its partner; check that the two are a "
            "pair"
        )
    return replace(scan, values=values, nodata=None, affine=to.affine, ground=to.ground)


def apart(one: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """How far two affines put the same index apart at most, in sides of the smallest pixel.

    Args:
        one: (D + 1, D + 1), from indices to coordinates.
        other: of the same shape.
        shape: D sizes, of the indices that count.
    """
    dims = len(shape)
    # Nothing is farther apart than at the corners.
    corners = np.indices((2,) * dims).reshape(dims, -1) * (np.array(shape)[:, None] - 1)
    distance = (one - other) @ np.vstack([corners, np.ones(2**dims)])
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
    scan: Scan, affine: Affine, shape: tuple[int, ...], nearest: bool
) -> NDArray[np.float32]:
    """By the affines, in the patient; NaN beyond the scan's outermost voxels."""
    values = resample(scan, affine, shape, nearest=nearest)
    to_index = np.linalg.inv(scan.place) @ affine
    index = np.indices(shape, np.float32, sparse=True)
    for axis, side in enumerate(scan.shape):
        position = to_index[axis, 3] + sum(
            np.float32(weight) * each
            for weight, each in zip(to_index[axis, :3], index, strict=True)
        )
        values[:, (position < -0.5) | (position > side - 0.5)] = np.nan
    return values
