"""Converts Pillow's pictures to values."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from revgan.data.formats.contract import Values


def _mode(picture: Image.Image) -> str:
    """The mode to read it in: grey or RGB (palettes and bitmaps too), with alpha if it has any."""
    mode = "L" if picture.mode in ("1", "L", "LA", "I;16", "I") else "RGB"
    return mode + "A" if picture.has_transparency_data else mode


def channels_of(picture: Image.Image) -> int:
    """How many channels `values_of` gives, without decoding pixels."""
    return len(_mode(picture))


def values_of(picture: Image.Image) -> Values:
    """The pixels of a picture, (C, H, W) of uint8."""
    mode = _mode(picture)
    return channels_first(np.array(picture if picture.mode == mode else picture.convert(mode)))


def channels_first(pixels: NDArray[np.generic]) -> Values:
    """A view (C, H, W) of pixels (H, W) or (H, W, C)."""
    return pixels[np.newaxis] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
