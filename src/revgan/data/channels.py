"""Conversion between grey, RGB and alpha."""

import numpy as np

from revgan.data.formats import Values


def convert_channels(values: Values, channels: int) -> Values:
    """An image (C, *spatial) with another number of channels, or itself if it has that number.

    Grey is repeated to RGB; RGB becomes grey by its luma (ITU-R BT.601); alpha is dropped, or added
    as opaque.

    Args:
        values: unsigned integers.
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.

    Raises:
        ValueError: `channels` is not 1, 2, 3 or 4.
    """
    if not 1 <= channels <= 4:
        raise ValueError(f"an image has 1 to 4 channels, not {channels}")
    present = len(values)
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
    opaque = np.full_like(values[:1], np.iinfo(values.dtype).max)
    return np.concatenate((colour, values[-1:] if has_alpha else opaque))


def _luma(rgb: Values) -> Values:
    """Grey (1, *spatial), rounded to nearest, from RGB (3, *spatial)."""
    red, green, blue = rgb.astype(np.uint32)
    thousandths = 299 * red + 587 * green + 114 * blue
    grey: Values = ((thousandths + 500) // 1000).astype(rgb.dtype)
    return grey[np.newaxis]
