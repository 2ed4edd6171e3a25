"""Structural similarity of images and volumes."""

import torch
from torch import Tensor

_SIGMA, _REACH = 1.5, 5
"""The window's standard deviation, and how many positions it reaches to either side."""

SLAB = 2**22
"""Values that are compared at a time: each takes a dozen times its own memory while that runs."""


def ssim_map(x: Tensor, y: Tensor) -> Tensor:
    """SSIM at each position, with a Gaussian window; Wang et al. (2004), equation 13.

    torchmetrics computes the same, but convolves volumes with a cube of 1,331 weights instead of
    three lines of 11.

    Args:
        x: (C, *spatial), float32 or float64, of which 0 to 1 is the data range.
        y: of the same shape.

    Returns:
        (C, *spatial) in [-1, 1].
    """
    rows, positions = x.shape[1], x[:, 0].numel()
    thickness = max(1, SLAB // max(1, positions))
    similarity = torch.empty_like(x)
    for start in range(0, rows, thickness):
        count = min(thickness, rows - start)
        near = _mirrored(rows)[start : start + count + 2 * _REACH]
        slab = _similarity(x.index_select(1, near), y.index_select(1, near))
        similarity[:, start : start + count] = slab[:, _REACH : _REACH + count]
    return similarity


def _similarity(x: Tensor, y: Tensor) -> Tensor:
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
    weights = _weights()
    for axis, size in enumerate(image.shape[1:], start=1):
        extended = image.index_select(axis, _mirrored(size))
        image = torch.zeros_like(image)
        for start, weight in enumerate(weights):
            image.add_(extended.narrow(axis, start, size), alpha=weight)
    return image


def _weights() -> list[float]:
    offsets = torch.arange(-_REACH, _REACH + 1, dtype=torch.float64)
    weights = torch.exp(-((offsets / _SIGMA) ** 2) / 2)
    weights /= weights.sum()
    return weights.tolist()


def _mirrored(size: int) -> Tensor:
    """The positions on an axis that a window sees: as far as it reaches beyond both ends."""
    period = max(1, 2 * (size - 1))
    position = torch.arange(-_REACH, size + _REACH) % period
    return torch.minimum(position, period - position)
