"""Diffusion tensors of diffusion-weighted volumes, at full and at half the resolution.

The tensor D tells how fast water diffuses in each direction: measured with the b-value b and the
direction g, the signal is S = S0 exp(-b g^T D g) (Basser et al., J. Magn. Reson. B 103, 1994). D is
symmetric, so that six elements say all of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import numpy as np

from revgan.data.datasets.diffusion_scans import B0_LIMIT, Array, Gradients, Mask, Scan
from revgan.data.grids import double, halve
from revgan.errors import UserError

ELEMENTS = ("Dxx", "Dxy", "Dyy", "Dxz", "Dyz", "Dzz")
"""The order of the channels: the lower triangle row by row, as in NIfTI and dipy. x, y and z are
the axes in which the directions of the gradients are given."""

UNIT = 1e-3
"""Of the elements, in mm2/s: free water at body temperature has 3, white matter 0.7 on average."""

SIGNAL_FLOOR = 0.01
"""Signals below this share of the one without weighting are noise: of free water, where diffusion
is fastest, b = 1500 s/mm2 leaves 0.011."""

BLOCK = 5000
"""Voxels that one thread fits at a time."""

Progress = Callable[[float], None]
"""Called with the share of the work that was done since the last call."""


def require_dipy() -> None:
    """Makes sure that dipy is there, which fits tensors and finds brains.

    Raises:
        UserError: it is not installed.
    """
    if find_spec("dipy") is None:
        raise UserError("diffusion tensors need the package dipy: pip install 'revgan[diffusion]'")


def fit_tensors(scan: Scan, advance: Progress) -> Array:
    """Fits a tensor in each voxel of the brain.

    Args:
        scan: the measured volumes (N, X, Y, Z).
        advance: told about progress, 1 in sum.

    Returns:
        (6, X, Y, Z): `ELEMENTS` in 10^-3 mm2/s; 0 outside the mask.
    """
    return _fit(scan.volume.values, scan.gradients, scan.mask, advance)


def low_resolution_tensors(scan: Scan, advance: Progress) -> Array:
    """Tensors as a scan of half the resolution shows them, on the grid of the full one.

    The signals are averaged over 2 x 2 x 2 voxels, the tensors fitted, and interpolated trilinearly
    to the size of the high-resolution ones (Section 1.1, "3d Architecture"). Only voxels that the
    mask touches take part in the interpolation, so that its values don't fade at the brain's edge.

    Arguments and result are those of `fit_tensors`.
    """
    signals = halve(scan.volume.values)
    inside = halve(scan.mask[None].astype(np.float32))[0] > 0
    inside &= scan.gradients.baseline(signals) > 0
    tensors = double(_fit(signals, scan.gradients, inside, advance), scan.mask.shape)
    weights = double(inside[None].astype(np.float32), scan.mask.shape)
    return np.divide(tensors, weights, out=np.zeros_like(tensors), where=scan.mask & (weights > 0))


def _fit(signals: Array, gradients: Gradients, mask: Mask, advance: Progress) -> Array:
    """Weighted least squares (Chung et al., NeuroImage 33, 2006), on all cores.

    Eigenvalues below 0, which noise can make, are raised to (almost) 0.
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
