"""What Pillow's pictures are as values, and what of photos is kept beside them."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from revgan.data.formats.contract import Header, Reader, Values, Window, require_photo
from revgan.data.formats.upright import turn

COLOURS = {1: b"GRAY", 2: b"GRAY", 3: b"RGB ", 4: b"RGB "}
"""What an ICC profile calls its colours, by the channels of the photos that it is for."""


@dataclass(frozen=True)
class Photo:
    """What is kept of a photo, whatever its format.

    Attributes:
        icc: its colour profile; b"" without one.
        dpi: its resolution along x and y in pixels per inch; None without one.
    """

    icc: bytes = b""
    dpi: tuple[float, float] | None = None

    def resized(self, factors: Sequence[float]) -> Self:
        """Of the same photo with rows and columns so many times as far apart."""
        if self.dpi is None:
            return self
        down, across = factors
        return replace(self, dpi=(self.dpi[0] / across, self.dpi[1] / down))

    def profile(self, channels: int) -> bytes:
        """The colour profile, if it is for so many channels."""
        return self.icc if self.icc[16:20] == COLOURS.get(channels) else b""


def photo_of(header: Header) -> Photo:
    """What is kept of the photo that a header is of; of none, where it is of none."""
    return header.source if isinstance(header.source, Photo) else Photo()


class PillowReader(Reader):
    """A picture that Pillow reads, in 8 bits.

    Args:
        path: the file.
        opener: Pillow's class for its format. Not `Image.open`, which refuses images of more than
            179 megapixels.
        data: what is in the file, if it was read already.
    """

    def __init__(
        self, path: Path, opener: Callable[[Any], ImageFile], data: bytes | None = None
    ) -> None:
        self._data, self._opener = path.read_bytes() if data is None else data, opener
        with opener(io.BytesIO(self._data)) as picture:
            self._turn = turn(picture.getexif().get(ExifTags.Base.Orientation))
            shape = self._turn.shape(picture.size[::-1])
            self.header = Header(
                channels_of(picture), shape, np.dtype(np.uint8), source=kept(picture)
            )
        require_photo(self.header)

    def values(self, window: Window) -> Values:
        with self._opener(io.BytesIO(self._data)) as picture:
            return self._turn.upright(values_of(picture))[:, *window]


def kept(picture: Image.Image) -> Photo:
    """What is kept of a picture."""
    dpi = picture.info.get("dpi")
    known = dpi is not None and all(0 < float(each) < 1e6 for each in dpi)
    return Photo(
        picture.info.get("icc_profile") or b"",
        (float(dpi[0]), float(dpi[1])) if known and dpi is not None else None,
    )


def encoded(values: Values, header: Header, kind: str, **options: Any) -> bytes:
    """A file of Pillow's, with what is kept of the photo that it is like.

    In memory: into a file, Pillow writes past a full disk without a word.

    Args:
        values: (C, H, W) of uint8.
        header: of the scan.
        kind: Pillow's name of the format.
        options: of the format.
    """
    photo = photo_of(header)
    if profile := photo.profile(header.channels):
        options["icc_profile"] = profile
    if photo.dpi is not None:
        options["dpi"] = photo.dpi
    pixels = values[0] if header.channels == 1 else values.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind, **options)
    return buffer.getvalue()


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
