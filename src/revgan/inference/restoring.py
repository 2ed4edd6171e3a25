"""Back to a volume's own grid, from the one that a model's volumes are brought to."""

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from nibabel.orientations import inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from revgan.data.volumes import Volume

SAME_PLACE = 1e-3
"""Voxels are not resampled if they lie within this share of a voxel of where they should be."""

SLAB = 2**22
"""Voxels that are resampled at a time: each takes ten times its own memory meanwhile."""

FloatArray = NDArray[np.float32]


def restore(moved: Volume, original: Volume) -> FloatArray:
    """Brings a volume back to the grid of another that shows the same.

    Axes are swapped and reversed where that is enough, which changes no value. Otherwise values are
    interpolated trilinearly, and continued constantly beyond the outermost ones.

    Args:
        moved: values on a grid that a model's volumes are brought to, see `Grid.bring`.
        original: a volume on its own grid.

    Returns:
        (C of `moved`, *spatial of `original`).
    """
    to_original = np.linalg.inv(original.affine) @ moved.affine
    orientation = io_orientation(np.linalg.inv(to_original))  # of the original's axes
    undone = inv_ornt_aff(orientation, original.values.shape[1:])
    if not np.allclose(to_original, undone, rtol=0, atol=SAME_PLACE):
        return _resample(moved, original)
    axes, signs = orientation.T
    turned = moved.values.transpose(0, *(axes.astype(int) + 1))
    backwards = tuple(int(axis) + 1 for axis in np.flatnonzero(signs < 0))
    return np.ascontiguousarray(np.flip(turned, backwards))


def _resample(moved: Volume, original: Volume) -> FloatArray:
    image = MetaTensor(torch.from_numpy(moved.values), torch.from_numpy(moved.affine))
    resample = SpatialResample(padding_mode="border", dtype=np.float32)
    x, y, z = original.values.shape[1:]
    restored = np.empty((len(moved.values), x, y, z), np.float32)
    thickness = max(1, SLAB // (y * z))
    for start in range(0, x, thickness):
        slab = restored[:, start : start + thickness]
        affine = original.affine.copy()
        affine[:3, 3] += start * affine[:3, 0]
        slab[:] = resample(image, torch.from_numpy(affine), slab.shape[1:]).numpy()
    return restored
