"""Conversion between grey, RGB and alpha."""

from pathlib import Path

import numpy as np

from revgan.data.formats import Values
from revgan.errors import UserError

COLOURS = 4
"""Channels that may be colours at most: red, green, blue and alpha."""


def convert_channels(values: Values, channels: int) -> Values:
    """An image (C, *spatial) with another number of channels, or itself if it has that number.

    Grey is repeated to RGB; RGB becomes grey by its luma (ITU-R BT.601); alpha is dropped, or added
    as opaque.

    Args:
        values: of any type; fractions are opaque at 1.
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.

    Raises:
        ValueError: the image has, or shall have, more than 4 channels.
    """
    present = len(values)
    if not 1 <= channels <= COLOURS or present > COLOURS:
        raise ValueError(f"colours are 1 to 4 channels, not {present} and {channels}")
    if present == channels:
        return values
    has_alpha = present in (2, 4)
    colour = values[:-1] if has_alpha else values
    if channels <= 2 < present:
        colour = _luma(colour)
    elif present <= 2 < channels:
        colour = colour.repeat(3, axis=0)
    if channels in (1, 3):
        return colour
    integers = values.dtype.kind in "iu"
    opaque = np.full_like(values[:1], np.iinfo(values.dtype).max if integers else 1)
    return np.concatenate((colour, values[-1:] if has_alpha else opaque))


def converted(values: Values, channels: int, path: Path) -> Values:
    """As `convert_channels`, of a file's values.

    Raises:
        UserError: its channels aren't colours.
    """
    if max(len(values), channels) > COLOURS and len(values) != channels:
        raise UserError(
            f"{path} has {len(values)} channels, which aren't colours to make {channels} of; leave "
            "out data.channels_a (or data.channels_b)"
        )
    return convert_channels(values, channels)


def _luma(rgb: Values) -> Values:
    """Grey (1, *spatial), of integers rounded to nearest, from RGB (3, *spatial)."""
    if rgb.dtype.kind == "f":
        return np.tensordot(np.array([[0.299, 0.587, 0.114]], rgb.dtype), rgb, axes=1)
    red, green, blue = rgb.astype(np.int64)
    thousandths = 299 * red + 587 * green + 114 * blue
    grey: Values = ((thousandths + 500) // 1000).astype(rgb.dtype)
    return grey[np.newaxis]
