"""Pictures of tensors: one image for display, and grids of several."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def tensor_to_uint8(x: Tensor) -> npt.NDArray[np.uint8]:
    """An image for display.

    Args:
        x: (C, H, W) in [-1, 1]. Of three or more channels the first three are shown as red, green
            and blue, of fewer the first as grey.

    Returns:
        (H, W, 3).

    Raises:
        ValueError: x is of another shape: for volumes see `slice_volumes`.
    """
    return (_displayed(x) * 255).round().byte().permute(1, 2, 0).numpy()


def shown_channels(scan: Tensor) -> Tensor:
    """The channels of a scan (C, *spatial) that pictures show: one as grey, or three as colours.

    Of images with three or more, these are the first three. The channels of a volume are seldom
    colours: three are shown as red, green and blue, of any other number the first alone (of a
    diffusion tensor, the diffusivity Dxx).
    """
    colours = scan.shape[0] == 3 if scan.ndim > 3 else scan.shape[0] >= 3
    return scan[:3] if colours else scan[:1]


def _displayed(x: Tensor) -> Tensor:
    """(3, H, W) in [0, 1]."""
    if x.ndim != 3:
        raise ValueError(f"a picture has shape (C, H, W), not {tuple(x.shape)}")
    colour = shown_channels(x).expand(3, -1, -1)
    return colour.detach().cpu().float().add(1).div(2).clamp(0, 1)


def image_grid(rows: Sequence[Sequence[Tensor]], pad: int = 2) -> Tensor:
    """Pictures in rows and columns on white, for TensorBoard and sample files.

    Args:
        rows: images as `tensor_to_uint8` takes them; of different sizes, each stands at the top
            left of its cell.
        pad: white pixels between and around the cells.

    Returns:
        (3, H, W) in [0, 1].

    Raises:
        ValueError: there is no image, or see `tensor_to_uint8`.
    """
    cells = [[_displayed(image) for image in row] for row in rows]
    if not any(cells):
        raise ValueError("there are no images to put in a grid")
    columns = max(map(len, cells))
    heights = [max((image.shape[1] for image in row), default=0) for row in cells]
    widths = [max(row[i].shape[2] for row in cells if i < len(row)) for i in range(columns)]
    grid = torch.ones(3, sum(heights) + pad * (len(cells) + 1), sum(widths) + pad * (columns + 1))
    top = pad
    for row, height in zip(cells, heights, strict=True):
        left = pad
        for image, width in zip(row, widths, strict=False):
            grid[:, top : top + image.shape[1], left : left + image.shape[2]] = image
            left += width + pad
        top += height + pad
    return grid
