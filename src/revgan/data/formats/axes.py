"""Which axes of a file are in space, and which are channels."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from revgan.errors import UserError

MAX_CHANNELS = 512
"""Enough for diffusion-weighted volumes (288 in the Human Connectome Project), but not for a long
time series, whose frames would become channels."""


def channel_axis(shape: tuple[int, ...]) -> int:
    """The axis of channels of an image whose file has three axes and doesn't say which: 0 or 2.

    Two equal sizes beside another are those of a square; else the smaller of the first and the
    last is that of the channels, which come last if these are equal, too.
    """
    first, middle, last = shape
    if first == middle != last:
        return 2
    if middle == last != first:
        return 0
    return 0 if first < last else 2


def volume_channels(
    path: Path, dtype: np.dtype[Any], spatial: tuple[int, ...], others: tuple[int, ...]
) -> int:
    """The number of channels of a file with these spatial axes and these other axes.

    Raises:
        UserError: the file isn't a volume of real numbers with at most one channel axis.
    """
    size = " x ".join(map(str, spatial + tuple(count for count in others if count != 1)))
    if dtype.kind not in "buif":
        kinds = {"c": "complex numbers", "V": "structs such as RGB colours"}
        raise UserError(
            f"{path} holds {kinds.get(dtype.kind, str(dtype))}; save real numbers, in as many "
            "channels as needed"
        )
    if 0 in spatial + others:
        raise UserError(f"{path} is empty ({size}); replace it with a volume that has voxels")
    if len(spatial) < 3 or 1 in spatial:
        raise UserError(
            f"{path} is 2D ({size}); a volume has at least two voxels along each of three axes"
        )
    channels = math.prod(others)
    if channels != max(others, default=1):
        raise UserError(
            f"{path} has too many axes ({size}); save it with three spatial axes and one for "
            "channels"
        )
    if channels > MAX_CHANNELS:
        raise UserError(
            f"{path} has {channels} channels or frames; save the ones you need, at most "
            f"{MAX_CHANNELS}, in a separate file"
        )
    return channels
