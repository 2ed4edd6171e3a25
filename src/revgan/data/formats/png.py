"""PNG with 8 or 16 bits; palettes become RGB, and a transparent colour becomes an alpha channel."""

import io
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile

from revgan.data.formats.contract import (
    DEFLATED,
    Family,
    Header,
    Reader,
    Selection,
    Values,
    Window,
    beyond_photo,
    require_photo,
)
from revgan.data.formats.pillow import Photo, channels_first, channels_of, photo_of, values_of
from revgan.data.formats.upright import Turn, turn

SIGNATURE = b"\x89PNG\r\n\x1a\n"

DEPTH, COLOUR = 24, 25
"""The offsets of the bit depth and the colour type, in IHDR, which is always the first chunk."""

CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""The number of channels by colour type, for those that can have 16 bits."""

GREYS = {b"\2\0": 85, b"\4\0": 17}
"""From levels of grey of few bits to 255, by bit depth and colour type."""

PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
"""Chunks that the pixels are made of. The decoders see no others: they refuse long texts."""

LARGEST_PROFILE = 2**26
"""Bytes of a colour profile that is kept."""

PER_INCH = 0.0254
"""In metres."""


class _PngReader(Reader):
    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        chunks = list(_chunks(data))
        about = {name: content for name, content, _ in chunks}
        whole = b"".join(stored for name, _, stored in chunks if name in PIXELS)
        self._data = SIGNATURE + whole if data.startswith(SIGNATURE) else data
        kind = self._data[DEPTH : COLOUR + 1]
        if kind in GREYS and len(about.get(b"tRNS", b"")) == 2:
            # Pillow scales these levels to 8 bits, but not the one that is transparent.
            seen = struct.pack(">H", struct.unpack(">H", about[b"tRNS"])[0] * GREYS[kind])
            stored = _chunk(b"tRNS", about[b"tRNS"])
            self._data = self._data.replace(stored, _chunk(b"tRNS", seen), 1)
        self._deep = self._data[DEPTH] == 16
        self._turn = _turn(about.get(b"eXIf"))
        # Not Image.open, which refuses images of more than 179 megapixels.
        with PngImageFile(io.BytesIO(self._data)) as picture:
            shape = self._turn.shape(picture.size[::-1])
            channels = channels_of(picture)
            if self._deep:
                # Pillow's modes don't show all of them; a transparent colour becomes alpha.
                channels = CHANNELS[self._data[COLOUR]] + ("transparency" in picture.info)
        photo = Photo(_profile(about.get(b"iCCP")), _dpi(about.get(b"pHYs")))
        dtype = np.dtype("u2" if self._deep else "u1")
        self.header = Header(channels, shape, dtype, source=photo)
        require_photo(self.header)
        self.least = math.prod(shape) * self._data[DEPTH] / 8 / DEFLATED  # of one channel

    def values(self, window: Window) -> Values:
        if self._deep:  # Pillow would drop the lower 8 bits of colour images
            values = channels_first(imagecodecs.png_decode(self._data))
        else:
            with PngImageFile(io.BytesIO(self._data)) as picture:
                values = values_of(picture)
        return self._turn.upright(values)[:, *window]


class Png(Family):
    """PNG."""

    suffixes = (".png",)
    spatial_dims = (2,)
    magic = (SIGNATURE,)
    instead = ".tif"

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _PngReader(path)

    def write(self, path: Path, values: Values, header: Header) -> None:
        require_photo(header)
        # Copied, because the encoder refuses the strides that views of one row or channel can have.
        data = imagecodecs.png_encode(np.array(values.transpose(1, 2, 0), order="C"))
        photo, extra = photo_of(header), b""
        if profile := photo.profile(header.channels):
            extra += _chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile))
        if photo.dpi is not None:
            per_metre = (round(dots / PER_INCH) for dots in photo.dpi)
            extra += _chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1))
        begin = len(SIGNATURE) + len(_chunk(b"IHDR", bytes(13)))
        path.write_bytes(data[:begin] + extra + data[begin:])

    def beyond(self, header: Header) -> list[str]:
        return beyond_photo(header)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """The chunks of a PNG as far as they are whole: name, content, and as they are stored."""
    place = len(SIGNATURE)
    while place + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        end = place + 12 + length
        yield name, data[place + 8 : place + 8 + length], data[place:end]
        place = end


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I4s", len(content), name) + content + struct.pack(">I", check)


def _turn(exif: bytes | None) -> Turn:
    tags: Any = Image.Exif()
    try:
        tags.load(exif or b"")
    except Exception:  # damaged, as what else is said beside the pixels; it isn't needed for them
        return Turn()
    return turn(tags.get(ExifTags.Base.Orientation))


def _profile(content: bytes | None) -> bytes:
    """The colour profile of a chunk; b"" without one, or of one that is damaged or enormous."""
    _, _, rest = (content or b"").partition(b"\0")
    unpacking = zlib.decompressobj()
    try:
        profile = unpacking.decompress(rest[1:], LARGEST_PROFILE)
    except zlib.error:
        return b""
    return profile if unpacking.eof else b""


def _dpi(content: bytes | None) -> tuple[float, float] | None:
    """Pixels per inch; None if the chunk says how wide pixels are for their height alone."""
    if content is None or len(content) != 9 or content[8] != 1:
        return None
    across, down = struct.unpack(">II", content[:8])
    return (across * PER_INCH, down * PER_INCH) if across and down else None
