"""JPEG: turned upright by its EXIF tag; CMYK becomes RGB."""

from pathlib import Path

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from revgan.data.formats.contract import (
    Family,
    Header,
    Reader,
    Selection,
    Values,
    beyond_photo,
    require_photo,
)
from revgan.data.formats.pillow import PillowReader, encoded

LONGEST = 65500
"""The longest side, in pixels, that libjpeg writes."""

QUALITY = 95


class Jpeg(Family):
    """JPEG."""

    suffixes = (".jpg", ".jpeg")
    spatial_dims = (2,)
    magic = (b"\xff\xd8\xff",)
    instead = ".png or .tif"

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return PillowReader(path, JpegImageFile)

    def write(self, path: Path, values: Values, header: Header) -> None:
        require_photo(header)
        path.write_bytes(encoded(values, header, "JPEG", quality=QUALITY))

    def beyond(self, header: Header) -> list[str]:
        limits = {
            f"{8 * header.dtype.itemsize} bits per channel": header.dtype != np.uint16,
            "an alpha channel": header.channels not in (2, 4),
            f"{max(header.shape)} pixels a side": max(header.shape) <= LONGEST,
        }
        return beyond_photo(header) + [what for what, held in limits.items() if not held]
