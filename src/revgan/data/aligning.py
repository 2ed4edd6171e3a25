"""Brings a scan onto the grid of another that shows the same place: B onto A's, by `data.align`."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from revgan.data.formats import Affine, Ground, Header, Scan
from revgan.data.formats.ground import crs_of, same_crs, transform_of
from revgan.data.grids import resample
from revgan.data.missing import missing_in, with_nan
from revgan.errors import UserError, notice

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
            f"{name} has nothing in common with the place of its partner: by their headers, their "
            f"centres are {centres_apart(scan.header, to)} apart; check that the two are a pair"
        )
    return replace(scan, values=values, nodata=None, affine=to.affine, ground=to.ground)


def align_mask(mask: Scan, to: Header, name: str, of: str) -> Scan:
    """A mask on the grid of its scan, by the places in both headers.

    By shape alone, if one of the two formats has no place. The user is told if a part of the mask
    is beyond the scan, or if a mask of the scan's very shape lies elsewhere, as it does where a
    tool has lost its affine.

    Args:
        mask: values (C, *spatial), above 0 inside.
        to: the scan's header.
        name: the mask's, for messages.
        of: the scan's, for messages.

    Returns:
        (C, *spatial of `to`), uint8, 1 inside; where a format has no place, of the mask's shape.

    Raises:
        UserError: by the headers, no part of the mask is in the scan.
    """
    inside = replace(mask, values=(mask.values > 0).astype(np.uint8), nodata=None)
    placed = inside.header.placed and to.placed
    if not (placed and _comparable(inside.header, to) and inside.values.any()):
        return inside
    far = centres_apart(inside.header, to)
    try:
        aligned = align(inside, to, name, nearest=True)
        values = (aligned.values == 1).astype(np.uint8)
    except UserError:
        values = np.zeros(0, np.uint8)
    if not values.any():
        raise UserError(
            f"no part of the mask {name} lies in {of}: by their headers, their centres are {far} "
            "apart; give the mask the place of its scan"
        )
    if inside.shape == to.shape and far.voxels > 0.5:
        notice(
            f"{name} has the shape of {of}, but by their headers their centres are {far} apart; "
            "the mask counts where its header says"
        )
    return replace(aligned, values=values)


def _comparable(one: Header, other: Header) -> bool:
    """Whether both are on the ground, or both in the patient."""
    both = [(one.ground, other.ground), (one.affine, other.affine)]
    return any(ours is not None and theirs is not None for ours, theirs in both)


@dataclass(frozen=True)
class Distance:
    """How far two grids' centres are apart.

    Attributes:
        length: in `unit`.
        unit: of the place: millimetres, or those of the map.
        voxels: the same in sides of the smallest pixel.
    """

    length: float
    unit: str
    voxels: float

    def __str__(self) -> str:
        return f"{self.length:.3g} {self.unit}"


def centres_apart(one: Header, other: Header) -> Distance:
    """How far the centres of two grids are apart that both have a place."""
    if one.ground is not None and other.ground is not None:
        if not same_crs(one.ground.crs, other.ground.crs):
            return Distance(np.inf, "units of unlike CRSs", np.inf)
        places, unit = (one.ground.affine, other.ground.affine), "units of their CRS"
    else:
        assert one.affine is not None
        assert other.affine is not None
        places, unit = (one.affine, other.affine), "mm"
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
    if len(shape) == 2:  # a slice of one voxel
        flat = replace(scan, values=scan.values[:, None], affine=_deep(scan.place))
        return _resampled(flat, _deep(affine), (1, *shape), nearest)[:, 0]
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


def _deep(affine: Affine) -> Affine:
    """The affine of an image as that of a volume of one slice, along a first axis."""
    volume = np.eye(4)
    volume[1:, 1:] = affine
    return volume
