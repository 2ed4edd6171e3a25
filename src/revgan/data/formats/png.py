"""PNG with 8 or 16 bits; palettes become RGB, and a transparent colour becomes an alpha channel."""

import io
from pathlib import Path

import imagecodecs
import numpy as np
from PIL.PngImagePlugin import PngImageFile

from revgan.data.formats.contract import (
    Family,
    Header,
    Reader,
    Selection,
    Values,
    Window,
    require_photo,
)
from revgan.data.formats.pillow import channels_first, channels_of, values_of

DEPTH, COLOUR = 24, 25
"""The offsets of the bit depth and the colour type, in IHDR, which is always the first chunk."""

CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""The number of channels by colour type, for those that can have 16 bits."""


class _PngReader(Reader):
    def __init__(self, path: Path) -> None:
        self._data = path.read_bytes()
        self._deep = self._data[DEPTH] == 16
        # Not Image.open, which refuses images of more than 179 megapixels.
        with PngImageFile(io.BytesIO(self._data)) as picture:
            width, height = picture.size
            channels = channels_of(picture)
            if self._deep:
                # Pillow's modes don't show all of them; a transparent colour becomes alpha.
                channels = CHANNELS[self._data[COLOUR]] + ("transparency" in picture.info)
        dtype = np.dtype("u2" if self._deep else "u1")
        self.header = Header(channels, (height, width), dtype)
        require_photo(self.header)

    def values(self, window: Window) -> Values:
        if self._deep:  # Pillow would drop the lower 8 bits of colour images
            values = channels_first(imagecodecs.png_decode(self._data))
        else:
            with PngImageFile(io.BytesIO(self._data)) as picture:
                values = values_of(picture)
        return values[:, *window]


class Png(Family):
    """PNG."""

    suffixes = (".png",)
    spatial_dims = (2,)
    magic = (b"\x89PNG\r\n\x1a\n",)

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _PngReader(path)

    def write(self, path: Path, values: Values, header: Header) -> None:
        require_photo(header)
        # Copied, because the encoder refuses the strides that views of one row or channel can have.
        pixels = np.array(values.transpose(1, 2, 0), order="C")
        path.write_bytes(imagecodecs.png_encode(pixels))
