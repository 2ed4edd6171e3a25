"""Which axes of a file are in space, and which are channels."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from revgan.errors import UserError

MAX_CHANNELS = 512
"""Enough for diffusion-weighted volumes (288 in the Human Connectome Project), not for a long time
series of which each frame would become a channel."""


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
    """The channels of a file with these axes in space and others beside them.

    Raises:
        UserError: it holds no volume of real numbers with at most one axis of channels.
    """
    size = " x ".join(map(str, spatial + tuple(count for count in others if count != 1)))
    if dtype.kind not in "buif":
        kinds = {"c": "complex numbers", "V": "structs such as RGB colours"}
        raise UserError(
            f"{path} holds {kinds.get(dtype.kind, str(dtype))}; save real numbers, in as many "
            "channels as needed"
        )
    if 0 in spatial + others:
        raise UserError(f"{path} is empty ({size}); replace it by a volume with voxels")
    if len(spatial) < 3 or 1 in spatial:
        raise UserError(
            f"{path} is 2D ({size}); volumes have at least two voxels along each of three axes"
        )
    channels = math.prod(others)
    if channels != max(others, default=1):
        raise UserError(
            f"{path} has too many axes ({size}); save it with three in space and one of channels"
        )
    if channels > MAX_CHANNELS:
        raise UserError(
            f"{path} has {channels} channels or frames; save those that matter, {MAX_CHANNELS} at "
            "most, in a file of their own"
        )
    return channels
