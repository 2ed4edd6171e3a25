"""JPEG: turned upright by its EXIF tag; CMYK becomes RGB."""

import io
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from revgan.data.formats.contract import (
    Family,
    Header,
    Reader,
    Selection,
    Values,
    Window,
    require_photo,
)
from revgan.data.formats.pillow import channels_of, values_of

LONGEST = 65500
"""The longest side, in pixels, that libjpeg writes."""

QUALITY = 95

TURNED = range(5, 9)
"""Values of EXIF's orientation that swap width and height."""


class _JpegReader(Reader):
    def __init__(self, path: Path) -> None:
        self._data = path.read_bytes()
        # Not Image.open, which refuses images of more than 179 megapixels.
        with JpegImageFile(io.BytesIO(self._data)) as picture:
            width, height = picture.size
            if picture.getexif().get(ExifTags.Base.Orientation) in TURNED:
                width, height = height, width
            self.header = Header(channels_of(picture), (height, width), np.dtype(np.uint8))
        require_photo(self.header)

    def values(self, window: Window) -> Values:
        with JpegImageFile(io.BytesIO(self._data)) as picture:
            return values_of(ImageOps.exif_transpose(picture))[:, *window]


class Jpeg(Family):
    """JPEG."""

    suffixes = (".jpg", ".jpeg")
    spatial_dims = (2,)
    magic = (b"\xff\xd8\xff",)
    instead = ".png or .tif"

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _JpegReader(path)

    def write(self, path: Path, values: Values, header: Header) -> None:
        require_photo(header)
        pixels = values[0] if header.channels == 1 else values.transpose(1, 2, 0)
        buffer = io.BytesIO()  # if it wrote to a file, Pillow would ignore a full disk
        Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=QUALITY)
        path.write_bytes(buffer.getvalue())

    def beyond(self, header: Header) -> list[str]:
        limits = {
            f"{8 * header.dtype.itemsize} bits per channel": header.dtype.itemsize == 1,
            "an alpha channel": header.channels in (1, 3),
            f"{max(header.shape)} pixels a side": max(header.shape) <= LONGEST,
        }
        return [what for what, held in limits.items() if not held]
