"""Structural similarity of images and volumes."""

import torch
from torch import Tensor

_SIGMA, _REACH = 1.5, 5
"""The window's standard deviation, and how many positions it reaches to either side."""


def ssim_map(x: Tensor, y: Tensor) -> Tensor:
    """SSIM at each position, with a Gaussian window; Wang et al. (2004), equation 13.

    torchmetrics computes the same, but convolves volumes with a cube of 1,331 weights instead of
    three lines of 11.

    Args:
        x: (C, *spatial) in [0, 1], float32 or float64.
        y: of the same shape.

    Returns:
        (C, *spatial) in [-1, 1].
    """
    c1, c2 = 0.01**2, 0.03**2
    mean_x, mean_y = _local_mean(x), _local_mean(y)
    square_x, square_y, product = mean_x**2, mean_y**2, mean_x * mean_y
    variance_x = (_local_mean(x**2) - square_x).clamp(min=0)
    variance_y = (_local_mean(y**2) - square_y).clamp(min=0)
    covariance = _local_mean(x * y) - product
    return ((2 * product + c1) * (2 * covariance + c2)) / (
        (square_x + square_y + c1) * (variance_x + variance_y + c2)
    )


def _local_mean(image: Tensor) -> Tensor:
    """The mean in a Gaussian window around each position of (C, *spatial), axis by axis.

    Borders are reflected: the neighbour of the first position is the second, on both sides. If the
    window reaches beyond the opposite border too, that one is reflected in turn.
    """
    offsets = torch.arange(-_REACH, _REACH + 1, dtype=torch.float64)
    weights = torch.exp(-((offsets / _SIGMA) ** 2) / 2)
    weights /= weights.sum()
    for axis, size in enumerate(image.shape[1:], start=1):
        period = max(1, 2 * (size - 1))
        position = torch.arange(-_REACH, size + _REACH) % period
        mirrored = torch.minimum(position, period - position)
        extended = image.index_select(axis, mirrored)
        image = torch.zeros_like(image)
        for start, weight in enumerate(weights.tolist()):
            image.add_(extended.narrow(axis, start, size), alpha=weight)
    return image
