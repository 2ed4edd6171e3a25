"""Scans as stacks of slices to look at: an image is a stack of one.

Volumes are turned as in `revgan.figures.slices`: every slice is axial, with anterior up and the
patient's right at the left, and slices run from inferior to superior.
"""

from dataclasses import dataclass
from io import BytesIO
from math import ceil, prod, sqrt

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from revgan.figures.slices import Affine, Triple, planes, to_ras

LOSSY = 88
"""The quality of pictures that are too many to be kept as they are, of WebP's 0 to 100."""


@dataclass(frozen=True)
class Stack:
    """Slices of one size.

    Attributes:
        values: (C, D, H, W): D slices, rows from top to bottom, columns from left to right.
        spacing: from slice to slice, from row to row and from column to column, in any unit.
        volume: whether slices in other planes show something, too.
    """

    values: Tensor
    spacing: Triple = (1.0, 1.0, 1.0)
    volume: bool = True

    def planes(self, centre: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """The axial, the coronal and the sagittal slice through a position, with square pixels."""
        superior, anterior, right = self.spacing
        rows, columns = self.values.shape[2:]
        turned = self.values.flip(2, 3).permute(0, 3, 2, 1)
        slice_, row, column = centre
        through = columns - 1 - column, rows - 1 - row, slice_
        return planes(turned, through, (right, anterior, superior))

    def reduced(self, most: int) -> "Stack":
        """The stack with at most about `most` positions, averaged, as even in space as it can be.

        Axes are reduced where their steps are finest, so that thick slices stay as they are.
        """
        depth, height, width = self.values.shape[1:]
        shape = kept = depth, height, width
        step = min(self.spacing)
        while prod(kept) > most:
            step *= 1.02
            depth, height, width = (
                min(size, max(1, round(size * own / step)))
                for size, own in zip(shape, self.spacing, strict=True)
            )
            kept = depth, height, width
        if kept == shape:
            return self
        values = F.adaptive_avg_pool3d(self.values[None].float(), kept)[0]
        between, down, across = (
            own * size / new for own, size, new in zip(self.spacing, shape, kept, strict=True)
        )
        return Stack(values, (between, down, across), self.volume)


def stack(scan: Tensor, affine: Affine | None = None) -> Stack:
    """A scan as a stack.

    Args:
        scan: (C, H, W), or (C, X, Y, Z) for a volume.
        affine: of a volume's voxels; without one, they count as cubes, and axes as running to the
            right, to anterior and to superior.

    Raises:
        ValueError: the scan is neither an image nor a volume.
    """
    if scan.ndim not in (3, 4):
        raise ValueError(f"{tuple(scan.shape)} is the shape of neither an image nor a volume")
    if scan.ndim == 3:
        return Stack(scan[:, None].detach().cpu(), volume=False)
    turned, (right, anterior, superior) = to_ras(scan, np.eye(4) if affine is None else affine)
    values = turned.permute(0, 3, 2, 1).flip(2, 3).detach().cpu()
    return Stack(values, (superior, anterior, right))


def mosaic(slices: Tensor) -> Image.Image:
    """All slices of a stack as tiles of one picture, in rows of as many as there are rows.

    Args:
        slices: (C, D, H, W) of 8 bits, C = 1 for grey or 3 for red, green and blue.
    """
    channels, depth, height, width = slices.shape
    side = ceil(sqrt(depth))
    rows = ceil(depth / side)
    tiles = slices.new_zeros(channels, rows * side, height, width)
    tiles[:, :depth] = slices
    laid = tiles.unflatten(1, (rows, side)).permute(1, 3, 2, 4, 0)
    pixels = laid.reshape(rows * height, side * width, channels).numpy()
    return Image.fromarray(pixels if channels == 3 else pixels[..., 0])


def encoded(picture: Image.Image, *, lossless: bool) -> bytes:
    """A picture as WebP, which browsers show."""
    buffer = BytesIO()
    picture.save(buffer, "WEBP", lossless=lossless, quality=60 if lossless else LOSSY)
    return buffer.getvalue()
