"""Brings translations back from the model's grid to the scan's own."""

import numpy as np
from nibabel.orientations import inv_ornt_aff, io_orientation

from revgan.data.formats import Header, Scan, Values
from revgan.data.grids import resample
from revgan.data.placing import SAME_PLACE


def restore(moved: Scan, original: Header) -> Values:
    """Brings a scan back to the grid of the original.

    If swapping and reversing axes is enough, no value changes. Otherwise values are interpolated
    trilinearly; beyond the outermost voxels, the border's values continue.

    Args:
        moved: values on the grid that the model's volumes are brought to, see `Grid.bring`.
        original: the header of the scan on its own grid; without a place, the two grids are the
            same.

    Returns:
        (C of `moved`, *spatial of `original`).
    """
    if moved.affine is None or original.affine is None:
        return moved.values
    to_original = np.linalg.inv(original.affine) @ moved.affine
    orientation = io_orientation(np.linalg.inv(to_original))  # the original's axes
    undone = inv_ornt_aff(orientation, original.shape)
    if not np.allclose(to_original, undone, rtol=0, atol=SAME_PLACE):
        return resample(moved, original.affine, original.shape)
    axes, signs = orientation.T
    turned = moved.values.transpose(0, *(axes.astype(int) + 1))
    backwards = tuple(int(axis) + 1 for axis in np.flatnonzero(signs < 0))
    return np.ascontiguousarray(np.flip(turned, backwards))
