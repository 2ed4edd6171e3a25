"""TIFF: grey and RGB, with and without alpha, in strips, tiles and planes; BigTIFF too."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from revgan.data.formats.contract import (
    Family,
    Header,
    Reader,
    Selection,
    Values,
    Window,
    Writer,
    require_photo,
)
from revgan.data.formats.tiff_pages import cut_page
from revgan.data.formats.tiles import TiledWriter
from revgan.errors import UserError

# What tifffile finds wrong with a file ends in one sentence of ours, or does not matter; by
# default its log would be printed before it.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

LAYOUTS = ("YX", "YXS", "SYX", "CYX")
"""Axes of a file that is one image."""


class _TiffReader(Reader):
    def __init__(self, path: Path) -> None:
        self._file = tifffile.TiffFile(path)
        try:
            self._series = self._file.series[0]
            self._axes = self._series.axes
            _require_one_image(path, self._file)
            _require_plain_samples(path, self._file)
            shape = dict(zip(self._axes, self._series.shape, strict=True))
            height, width = shape.pop("Y"), shape.pop("X")
            channels = next(iter(shape.values()), 1)
            if channels > 4:
                raise UserError(f"{path} has {channels} channels; save it with 1 to 4")
            stored = self._series.dtype.newbyteorder("=")
            dtype = np.dtype(np.uint8) if stored.kind == "b" else stored
            self.header = Header(channels, (height, width), dtype)
            self.windowed = len(self._series.pages) == 1
            require_photo(self.header)
        except BaseException:
            self._file.close()
            raise

    def values(self, window: Window) -> Values:
        page = self._series.keyframe
        windowed = self.windowed and window != (slice(None),) * 2
        image = cut_page(page, window) if windowed else self._whole()[:, *window]
        if image.dtype == np.bool_:
            image = image * np.uint8(255)
        return ~image if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE else image

    def _whole(self) -> Values:
        image = self._series.asarray()
        if self._axes == "YX":
            return image[np.newaxis]
        return np.moveaxis(image, -1, 0) if self._axes == "YXS" else image

    def close(self) -> None:
        self._file.close()


class Tiff(Family):
    """TIFF."""

    suffixes = (".tif", ".tiff")
    spatial_dims = (2,)
    magic = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two of BigTIFF

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _TiffReader(path)

    def write(self, path: Path, values: Values, header: Header) -> None:
        require_photo(header)
        pixels = values[0] if header.channels == 1 else values.transpose(1, 2, 0)
        tifffile.imwrite(path, pixels, compression="zlib", predictor=True, **_layout(header))

    def create(self, path: Path, header: Header) -> Writer:
        require_photo(header)
        return TiledWriter(path, header, **_layout(header))


def _layout(header: Header) -> dict[str, Any]:
    """What tifffile is told of the samples of an image."""
    channels = header.channels
    return {
        "photometric": "rgb" if channels >= 3 else "minisblack",
        "planarconfig": None if channels == 1 else "contig",
        "extrasamples": ["unassalpha"] if channels in (2, 4) else None,
        "metadata": None,
    }


def _require_one_image(path: Path, tif: tifffile.TiffFile) -> None:
    axes = tif.series[0].axes
    if len(tif.series) > 1 or axes not in LAYOUTS:
        raise UserError(
            f"{path} is not one 2D image but a stack or collection ({len(tif.pages)} pages, "
            f"axes {axes}); save each image as a file of its own"
        )


def _require_plain_samples(path: Path, tif: tifffile.TiffFile) -> None:
    """Refuses what tifffile would read without complaint, but not as the image it shows."""
    page = tif.series[0].keyframe
    dtype = tif.series[0].dtype
    if dtype.kind not in "bu" or page.bitspersample not in (1, 8, 16):
        raise UserError(
            f"{path} has samples of {page.bitspersample} bits (as {dtype}); save it with unsigned "
            "samples of 8 or 16 bits"
        )
    kinds = tifffile.PHOTOMETRIC
    plain = page.photometric in (kinds.MINISWHITE, kinds.MINISBLACK, kinds.RGB)
    # tifffile turns YCbCr into RGB only where JPEG does it.
    in_jpeg = page.photometric == kinds.YCBCR and page.compression == tifffile.COMPRESSION.JPEG
    if not (plain or in_jpeg):
        kind = getattr(page.photometric, "name", page.photometric)
        raise UserError(f"{path} stores its colours as {kind}; save it as grey or RGB")
    # JPEG strips that end early would be filled up with grey.
    for part in tif.pages:
        ends = map(sum, zip(part.dataoffsets, part.databytecounts, strict=True))
        if max(ends) > tif.filehandle.size:
            raise UserError(f"{path} is truncated; replace it by an undamaged copy")
