"""Brings volumes to other grids: resampled, to half the resolution, and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from revgan.data.formats import Scan

SLAB = 2**22
"""Voxels that are resampled at a time: each takes ten times its own memory while that runs."""


MEASURED = 0.5
"""The share of what a voxel is made of that has to be measured, or nothing of it is."""


def resample(
    scan: Scan,
    affine: NDArray[np.float64],
    shape: tuple[int, ...],
    *,
    nearest: bool = False,
) -> NDArray[np.float32]:
    """Resamples a scan's values onto another grid.

    They are interpolated trilinearly; beyond the outermost voxels, the border's values continue.
    Where NaN stands for nothing measured, they are those of the voxels that were; NaN where these
    are less than half of what a voxel is made of.

    Args:
        scan: with values (C, X, Y, Z).
        affine: the other grid's, in millimetres.
        shape: the other grid's (X, Y, Z).
        nearest: takes the nearest voxel's value instead, as of labels.

    Returns:
        (C, *shape).
    """
    if nearest:
        return _resampled(scan, affine, shape, "nearest")
    if scan.values.dtype.kind == "f" and (missing := np.isnan(scan.values)).any():
        share = _resampled(replace(scan, values=~missing), affine, shape)
        there = replace(scan, values=np.nan_to_num(scan.values))
        resampled = _resampled(there, affine, shape)
        resampled /= np.maximum(share, MEASURED)
        resampled[share < MEASURED] = np.nan
        return resampled
    return _resampled(scan, affine, shape)


def _resampled(
    scan: Scan, affine: NDArray[np.float64], shape: tuple[int, ...], mode: str = "bilinear"
) -> NDArray[np.float32]:
    from monai.data import MetaTensor  # importing MONAI takes seconds
    from monai.transforms import SpatialResample

    image = MetaTensor(_tensor(scan.values), torch.from_numpy(scan.place))
    transform = SpatialResample(mode, padding_mode="border", dtype=np.float32)
    x, y, z = shape
    resampled = np.empty((len(scan.values), x, y, z), np.float32)
    thickness = max(1, SLAB // (y * z))
    for start in range(0, x, thickness):
        slab = resampled[:, start : start + thickness]
        place = affine.copy()
        place[:3, 3] += start * affine[:3, 0]
        slab[:] = transform(image, torch.from_numpy(place), slab.shape[1:]).numpy()
    return resampled


def halve(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means over 2 x 2 x 2 voxels, as a scan at half the resolution would measure them.

    Args:
        values: (C, X, Y, Z). At the end of an axis of odd size, the mean is over the voxels that
            are there.

    Returns:
        (C, ceil(X / 2), ceil(Y / 2), ceil(Z / 2)).
    """
    return F.avg_pool3d(_tensor(values), 2, ceil_mode=True).numpy()


def double(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Interpolates the result of `halve` trilinearly, back onto the grid of twice the resolution.

    Voxels stay where they are in space: the centre of a large voxel lies between those of the eight
    small ones in it. Beyond the outermost centres, the border's values continue.

    Args:
        values: (C, ceil(X / 2), ceil(Y / 2), ceil(Z / 2)).
        shape: (X, Y, Z) of the result.

    Returns:
        (C, X, Y, Z).
    """
    doubled = F.interpolate(_tensor(values)[None], scale_factor=2.0, mode="trilinear")[0]
    x, y, z = shape
    return np.ascontiguousarray(doubled[:, :x, :y, :z].numpy())


def _tensor(values: NDArray[np.generic]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
