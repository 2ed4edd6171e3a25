"""Fits diffusion tensors to diffusion-weighted volumes, at full and half resolution.

The tensor D describes how fast water diffuses in each direction: measured with b-value b and
direction g, the signal is S = S0 exp(-b g^T D g) (Basser et al., J. Magn. Reson. B 103, 1994). D is
symmetric, so it has six elements.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from revgan.data.datasets.diffusion_scans import B0_LIMIT, Array, Gradients, Mask, Scan
from revgan.data.grids import double, halve
from revgan.errors import require_package

ELEMENTS = ("Dxx", "Dxy", "Dyy", "Dxz", "Dyz", "Dzz")
"""The order of the channels: the lower triangle row by row, as in NIfTI and dipy. x, y and z are
the axes in which the directions of the gradients are given."""

UNIT = 1e-3
"""The elements' unit in mm2/s: in it, free water at body temperature has 3, white matter 0.7 on
average."""

SIGNAL_FLOOR = 0.01
"""Signals below this share of the unweighted one are noise: even free water, where diffusion is
fastest, has 0.011 at b = 1500 s/mm2."""

BLOCK = 5000
"""Voxels that a thread fits at a time."""

Progress = Callable[[float], None]
"""Called with the share of the work done since the last call."""


def require_dipy() -> None:
    """Requires dipy, which fits tensors and finds brains.

    Raises:
        UserError: it isn't installed.
    """
    require_package("dipy", "diffusion", "a diffusion tensor")


def fit_tensors(scan: Scan, advance: Progress) -> Array:
    """Fits a tensor in each voxel of the brain.

    Args:
        scan: the measured volumes (N, X, Y, Z).
        advance: called with progress, which adds up to 1.

    Returns:
        (6, X, Y, Z): `ELEMENTS` in 10^-3 mm2/s; 0 outside the mask.
    """
    return _fit(scan.volume.values, scan.gradients, scan.mask, advance)


def low_resolution_tensors(scan: Scan, advance: Progress) -> Array:
    """Tensors as a scan at half the resolution would show them, on the full grid.

    The signals are averaged over 2 x 2 x 2 voxels, and the fitted tensors are interpolated
    trilinearly to the full size (Section 1.1, "3d Architecture"). Only voxels that touch the mask
    are used, so that values don't fade at the brain's edge.

    Arguments and result are as in `fit_tensors`.
    """
    signals = halve(scan.volume.values)
    inside = halve(scan.mask[None].astype(np.float32))[0] > 0
    inside &= scan.gradients.baseline(signals) > 0
    tensors = double(_fit(signals, scan.gradients, inside, advance), scan.mask.shape)
    weights = double(inside[None].astype(np.float32), scan.mask.shape)
    return np.divide(tensors, weights, out=np.zeros_like(tensors), where=scan.mask & (weights > 0))


def _fit(signals: Array, gradients: Gradients, mask: Mask, advance: Progress) -> Array:
    """Weighted least squares (Chung et al., NeuroImage 33, 2006), on all cores.

    Eigenvalues below 0, which noise can cause, are raised to (almost) 0.
    """
    model = _tensor_model(gradients)
    voxels = signals[:, mask]
    baseline = gradients.baseline(voxels)
    fitted = np.empty((len(ELEMENTS), baseline.size), np.float32)

    def fit(start: int) -> float:
        block = slice(start, start + BLOCK)
        shares = (voxels[:, block] / baseline[block]).T.astype(np.float64)
        elements = model.fit(np.maximum(shares, SIGNAL_FLOOR)).lower_triangular()
        fitted[:, block] = elements.T / UNIT
        return len(elements) / baseline.size

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for share in pool.map(fit, range(0, baseline.size, BLOCK)):
            advance(share)
    tensors = np.zeros((len(ELEMENTS), *mask.shape), np.float32)
    tensors[:, mask] = fitted
    return tensors


def _tensor_model(gradients: Gradients) -> Any:
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    table = gradient_table(gradients.bvals, bvecs=gradients.bvecs, b0_threshold=B0_LIMIT)
    return TensorModel(table, fit_method="WLS")
