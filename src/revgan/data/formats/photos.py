"""WebP, BMP, GIF, JPEG XL and AVIF: photos that Pillow or imagecodecs read and write whole."""

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import ExifTags
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.WebPImagePlugin import WebPImageFile

from revgan.data.formats.bounds import require_memory
from revgan.data.formats.contract import (
    Family,
    Header,
    Reader,
    Selection,
    Values,
    Window,
    require_photo,
)
from revgan.data.formats.jxl import declared_size
from revgan.data.formats.pillow import PillowReader, channels_first, encoded, kept
from revgan.data.formats.upright import turn
from revgan.errors import UserError

BITS = 9
"""The place of the first channel's bits in AVIF's property pixi: after its name, its version and
the number of channels."""

MOST_BYTES = 16
"""Of a pixel: four channels of 16 bits, decoded and copied."""

MOST_BYTES_OF_JXL = 32
"""Of a pixel: the same, and its channels as fractions of 32 bits, in which it is decoded."""

LONGEST_WEBP = 16383
"""Pixels a side that WebP holds at most."""


class _Decoded(Reader):
    """A picture that is decoded when it is opened: imagecodecs tells nothing before that."""

    def __init__(self, values: Values, source: Any = None) -> None:
        self._values = values
        self.header = Header(len(values), values.shape[1:], values.dtype, source=source)

    def values(self, window: Window) -> Values:
        return self._values[:, *window]


class WebP(Family):
    """WebP, written without loss; of an animation, the first frame."""

    suffixes = (".webp",)
    spatial_dims = (2,)
    magic = (b"RIFF",)
    instead = ".png"

    def starts(self, head: bytes) -> bool:
        return head[:4] == b"RIFF" and head[8:12] == b"WEBP"

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return PillowReader(path, WebPImageFile)

    def write(self, path: Path, values: Values, header: Header) -> None:
        require_photo(header)
        path.write_bytes(encoded(values, header, "WEBP", lossless=True, exact=True))

    def beyond(self, header: Header) -> list[str]:
        limits = {
            f"values of {header.dtype}": header.dtype == np.uint8,
            f"{header.channels} channels": header.channels in (3, 4),
            f"{max(header.shape)} pixels a side": max(header.shape) <= LONGEST_WEBP,
        }
        return [what for what, held in limits.items() if not held]


class Bmp(Family):
    """BMP."""

    suffixes = (".bmp", ".dib")
    spatial_dims = (2,)
    magic = (b"BM",)
    instead = ".png"

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return PillowReader(path, BmpImageFile)

    def write(self, path: Path, values: Values, header: Header) -> None:
        require_photo(header)
        path.write_bytes(encoded(values, header, "BMP"))

    def beyond(self, header: Header) -> list[str]:
        limits = {
            f"values of {header.dtype}": header.dtype == np.uint8,
            f"{header.channels} channels": header.channels in (1, 3),
        }
        return [what for what, held in limits.items() if not held]


class Gif(Family):
    """GIF, of which the first frame is read. Its 256 colours are too few to write."""

    suffixes = (".gif",)
    spatial_dims = (2,)
    magic = (b"GIF87a", b"GIF89a")
    reads_only = True
    instead = ".png"

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return PillowReader(path, GifImageFile)


class JpegXl(Family):
    """JPEG XL, written without loss; of an animation, the first frame."""

    suffixes = (".jxl",)
    spatial_dims = (2,)
    magic = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
    instead = ".tif"

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        _require(path, imagecodecs.JPEGXL)
        data = path.read_bytes()
        size = declared_size(data)
        if size is None:
            raise UserError(f"{path} is no JPEG XL file; replace it with an undamaged copy")
        require_memory(MOST_BYTES_OF_JXL * size[0] * size[1], path)
        return _Decoded(channels_first(imagecodecs.jpegxl_decode(data, index=0)))

    def write(self, path: Path, values: Values, header: Header) -> None:
        require_photo(header)
        path.write_bytes(imagecodecs.jpegxl_encode(_pixels(values), lossless=True))

    def require(self, path: Path, header: Header) -> None:
        _require(path, imagecodecs.JPEGXL)

    def beyond(self, header: Header) -> list[str]:
        limits = {
            f"values of {header.dtype}": header.dtype in (np.uint8, np.uint16),
            f"{header.channels} channels": header.channels <= 4,
        }
        return [what for what, held in limits.items() if not held]


class Avif(Family):
    """AVIF, written without loss; of a sequence, the first image."""

    suffixes = (".avif",)
    spatial_dims = (2,)
    magic = (b"\0\0\0",)
    instead = ".png"

    def starts(self, head: bytes) -> bool:
        return head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"mif1")

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        _require(path, imagecodecs.AVIF)
        data = path.read_bytes()
        with AvifImageFile(io.BytesIO(data)) as picture:
            width, height = picture.size
            require_memory(MOST_BYTES * width * height, path)
        values = channels_first(imagecodecs.avif_decode(data, index=0))
        if values.dtype == np.uint16:  # of 10 or 12 bits, which the property pixi tells
            most = 2 ** data[data.index(b"pixi") + BITS] - 1
            values = np.rint(values * (65535 / most)).astype(np.uint16)
        with AvifImageFile(io.BytesIO(data)) as picture:
            turned = turn(picture.getexif().get(ExifTags.Base.Orientation))
            return _Decoded(turned.upright(values), kept(picture))

    def write(self, path: Path, values: Values, header: Header) -> None:
        require_photo(header)
        data = imagecodecs.avif_encode(_pixels(values), level=100, pixelformat="444")
        path.write_bytes(data)

    def require(self, path: Path, header: Header) -> None:
        _require(path, imagecodecs.AVIF)

    def beyond(self, header: Header) -> list[str]:
        limits = {
            f"values of {header.dtype}": header.dtype == np.uint8,
            f"{header.channels} channels": header.channels <= 4,
        }
        return [what for what, held in limits.items() if not held]


def _pixels(values: Values) -> Values:
    """(H, W) or (H, W, C), contiguous."""
    pixels = values[0] if len(values) == 1 else values.transpose(1, 2, 0)
    return np.ascontiguousarray(pixels)


def _require(path: Path, codec: Any) -> None:
    if not codec.available:
        raise UserError(
            f"{path} needs a build of imagecodecs with {codec.__name__}, as on PyPI; or save it as "
            "PNG"
        )
