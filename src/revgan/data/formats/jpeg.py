"""JPEG: turned upright by its EXIF tag; CMYK becomes RGB.

Of lossless ones and those of 12 bits, which Pillow doesn't read, the values become 16 bits.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from revgan.data.formats.bounds import require_memory
from revgan.data.formats.contract import (
    Family,
    Header,
    Reader,
    Selection,
    Values,
    Window,
    beyond_photo,
    require_photo,
)
from revgan.data.formats.pillow import PillowReader, channels_first, encoded

LONGEST = 65500
"""The longest side, in pixels, that libjpeg writes."""

QUALITY = 95

FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""The markers of frames, which begin with bits, height, width and channels."""

LOSSLESS = 0xC3

END = b"\xff\xd9"
"""The marker of a file's end, which isn't found in what is encoded."""

MOST_BYTES = 8
"""Of a channel of a pixel: decoded, as a fraction, and as 16 bits."""


class _Frame(NamedTuple):
    """How a JPEG is encoded: where its frame begins, its marker, and what it begins with."""

    place: int
    marker: int
    bits: int
    height: int
    width: int
    channels: int


def _frame(data: bytes) -> _Frame | None:
    """The first frame; None where there is none."""
    place = 2
    while place + 10 <= len(data) and data[place] == 0xFF:
        marker, size = data[place + 1], int.from_bytes(data[place + 2 : place + 4])
        if marker in FRAMES:
            height, width = (int.from_bytes(data[place + at : place + at + 2]) for at in (5, 7))
            return _Frame(place, marker, data[place + 4], height, width, data[place + 9])
        place += 1 if marker == 0xFF else 2 + size  # a marker may be preceded by more of these
    return None


class _DeepReader(Reader):
    """A JPEG that Pillow doesn't read, in 16 bits."""

    def __init__(self, path: Path, data: bytes, frame: _Frame) -> None:
        require_memory(MOST_BYTES * frame.height * frame.width * frame.channels, path)
        self._data, self._frame = data, frame
        shape = frame.height, frame.width
        self.header = Header(frame.channels, shape, np.dtype(np.uint16))
        require_photo(self.header)

    def values(self, window: Window) -> Values:
        if END not in self._data[self._frame.place :]:  # the decoder would make up the rest
            raise ValueError("it ends too early")
        lossless = self._frame.marker == LOSSLESS
        decode: Callable[[bytes], Any] = (
            imagecodecs.ljpeg_decode if lossless else imagecodecs.jpeg8_decode
        )
        values = channels_first(decode(self._data))[:, *window]
        most = 2**self._frame.bits - 1
        return np.rint(values * (65535 / most)).astype(np.uint16)


class Jpeg(Family):
    """JPEG."""

    suffixes = (".jpg", ".jpeg")
    spatial_dims = (2,)
    magic = (b"\xff\xd8\xff",)
    instead = ".png or .tif"

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        data = path.read_bytes()
        frame = _frame(data)
        if frame is not None and (frame.bits != 8 or frame.marker == LOSSLESS):
            return _DeepReader(path, data, frame)
        return PillowReader(path, JpegImageFile, data)

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
