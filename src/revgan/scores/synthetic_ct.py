"""Scores of synthetic CT inside a mask, as SynthRAD2025 takes them.

The definitions are those of the challenge's page (synthrad2025.grand-challenge.org/metrics-ranking)
and of its evaluation (github.com/SynthRAD2025/evaluation, `image_metrics.py`, MIT licence): MAE in
HU, unclipped; PSNR and MS-SSIM of values clipped to -1024 to 3000 HU.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from revgan.scores.metrics import PSNR_CAP

CT_RANGE = (-1024.0, 3000.0)
"""HU that PSNR and MS-SSIM are clipped to."""

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales, from full resolution on (Wang et al., 2003, Section 3.2)."""

SMALLEST = 97
"""Smaller volumes are continued to this many voxels, so that the window fits the coarsest scale."""

WINDOW = 7
"""Voxels along each side of the cube in which local means and variances are taken."""


def score_synthetic_ct(
    prediction: Tensor, truth: Tensor, mask: Tensor, limits: tuple[float, float] = CT_RANGE
) -> Tensor:
    """(MAE, bias, PSNR, MS-SSIM) of one scan, float64.

    Args:
        prediction: (1, *spatial) in HU.
        truth: of the same shape.
        mask: (*spatial), bool: the voxels that count, at least one.
        limits: what PSNR and MS-SSIM are clipped to, in HU.

    Returns:
        MAE and bias (the mean of prediction minus truth) in HU, PSNR in dB and at most `PSNR_CAP`,
        MS-SSIM in [0, 1], or NaN if a coarse scale has no voxel of the mask.
    """
    x, y = (values.detach().cpu().double() for values in (prediction, truth))
    error = (x - y)[:, mask]
    x, y = (values.clamp(*limits) for values in (x, y))
    square = (x - y)[:, mask].square().mean()
    psnr = (-10 * (square / (limits[1] - limits[0]) ** 2).log10()).clamp(max=PSNR_CAP)
    similarity = masked_ms_ssim(x[0], y[0], mask, limits)
    return torch.stack((error.abs().mean(), error.mean(), psnr, similarity))


def masked_ms_ssim(x: Tensor, y: Tensor, mask: Tensor, limits: tuple[float, float]) -> Tensor:
    """Multi-scale SSIM inside a mask, which is thinned out with the image at every scale.

    At each scale, the product of luminance, contrast and structure, each raised to the scale's
    weight, is averaged over the mask; the scales' averages are multiplied. Values outside the mask
    count as the lower limit.

    Args:
        x: (*spatial) within the limits, float64.
        y: of the same shape.
        mask: of the same shape, bool.
        limits: the lowest and highest possible value.
    """
    low, high = limits
    x, y = (_continued(values.where(mask, low) - low) for values in (x, y))
    inside = _continued(mask.double()) > 0
    total = x.new_ones(())
    for weight in SCALE_WEIGHTS:
        similarity = _similarity(x, y, high - low, weight)
        total = total * similarity[_within(inside)].mean().clamp(0, 1)
        x, y = _halved(x), _halved(y)
        inside = inside[(slice(None, None, 2),) * inside.ndim]
    return total


def _similarity(x: Tensor, y: Tensor, span: float, weight: float) -> Tensor:
    """Luminance, contrast and structure, where the whole window is within the volume."""
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    count = WINDOW**x.ndim
    unbiased = count / (count - 1)
    mean_x, mean_y = _local_mean(x), _local_mean(y)
    variance_x = unbiased * (_local_mean(x * x) - mean_x * mean_x)
    variance_y = unbiased * (_local_mean(y * y) - mean_y * mean_y)
    covariance = unbiased * (_local_mean(x * y) - mean_x * mean_y)
    deviations = variance_x.clamp(min=0).sqrt() * variance_y.clamp(min=0).sqrt()
    luminance = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    contrast = (2 * deviations + c2) / (variance_x + variance_y + c2)
    structure = (covariance + c2 / 2) / (deviations + c2 / 2)
    product = torch.ones_like(x[_slices(x.ndim)])
    for part in (luminance, contrast, structure):
        product *= part.clamp(min=0) ** weight
    return product


def _local_mean(values: Tensor) -> Tensor:
    """The mean over each window that is within the volume, axis by axis."""
    for axis in range(values.ndim):
        values = values.unfold(axis, WINDOW, 1).mean(-1)
    return values


def _slices(dims: int) -> tuple[slice, ...]:
    """What `_local_mean` keeps: the positions whose windows are within the volume."""
    margin = WINDOW // 2
    return (slice(margin, -margin),) * dims


def _within(values: Tensor) -> Tensor:
    return values[_slices(values.ndim)]


def _halved(values: Tensor) -> Tensor:
    """Means over two voxels per axis, at 2i - 1 and 2i, with 0 before the first."""
    for axis in range(values.ndim):
        padded = F.pad(values.movedim(axis, -1), (1, 0))
        values = padded.unfold(-1, 2, 2).mean(-1).movedim(-1, axis)
    return values


def _continued(values: Tensor) -> Tensor:
    """Values whose borders go on to `SMALLEST` voxels along each axis, as far as it is shorter."""
    for axis, size in enumerate(values.shape):
        before = max(0, SMALLEST - size) // 2
        index = torch.arange(max(SMALLEST, size)) - before
        values = values.index_select(axis, index.clamp(0, size - 1))
    return values
