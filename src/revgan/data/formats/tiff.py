"""TIFF: bands of any number and type, in strips, tiles, planes and pages; BigTIFF too."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from revgan.data.formats.axes import channel_axis
from revgan.data.formats.contract import (
    Header,
    Reader,
    Selection,
    Values,
    Window,
    Writer,
)
from revgan.data.formats.pillow import Photo, photo_of
from revgan.data.formats.pyramid import choose
from revgan.data.formats.tiff_family import TiffFamily, predictable
from revgan.data.formats.tiff_pages import cut_page, in_small_pieces, is_inverted, open_tiff
from revgan.data.formats.tiles import TiledWriter
from revgan.data.formats.upright import turn
from revgan.errors import UserError

ALPHA = 2
"""TIFF's number of an extra sample that is opacity."""

MOST = 2**16 - 1
"""Samples of a pixel: TIFF counts them in 16 bits."""

# What tifffile finds wrong with a file becomes one `UserError`, or doesn't matter; by default its
# log would be printed before it.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

SAMPLES = {"YX": None, "YXS": 2, "SYX": 0, "CYX": 0, "YXC": 2}
"""The axis of channels, by the axes of a file that is one image."""

UNNAMED = ("QYX", "IYX", "YXQ")
"""Axes of pages, or of an array saved as these, that nothing says the meaning of."""

LOSSLESS = ("LZW", "ADOBE_DEFLATE", "DEFLATE", "PACKBITS", "ZSTD", "LZMA", "NONE")
"""Compressions that are kept on output."""

PREDICTING = ("LZW", "ADOBE_DEFLATE", "DEFLATE", "ZSTD", "LZMA")
"""Compressions that may keep differences from sample to sample instead of these."""

ORIENTATION, PROFILE = 274, 34675
"""The tags of how a picture is to be turned, and of its colours."""

INCH = {2: 1.0, 3: 2.54}
"""In TIFF's units of resolution: inches and centimetres."""

MICROMETRES = 25400
"""Of an inch."""

NODATA = 42113
"""The tag in which GDAL keeps the value that stands for nothing measured, as text."""


@dataclass(frozen=True, kw_only=True)
class Layout(Photo):
    """How a file is laid out, so that one written like it has the same layout.

    Attributes:
        planar: samples are "contig", "separate" planes, or in "pages" of their own.
        photometric: "rgb" or "minisblack".
        extra: what channels beyond grey or RGB are.
        compression: by tifffile's name.
        tile: height and width of tiles; None for strips.
        bits: of a sample.
        channels: of the file.
    """

    planar: str
    photometric: str
    extra: tuple[int, ...]
    compression: str
    tile: tuple[int, int] | None
    bits: int
    channels: int


class _TiffReader(Reader):
    def __init__(self, path: Path, selection: Selection) -> None:
        self._path = path
        self._file = open_tiff(path)
        try:
            _require_one_image(path, self._file)
            _require_plain_samples(path, self._file)
            levels = self._file.series[0].levels
            first = levels[0].keyframe
            axes, shape = _plain_axes(levels[0])
            self._axis = SAMPLES.get(axes)
            if axes in UNNAMED:  # pages may even be rows
                self._axis = channel_axis(shape)
            sides = [_sides(_plain_axes(level)[1], self._axis) for level in levels]
            photo = _photo(first)
            dpi = photo.dpi
            sizes = dpi and [MICROMETRES / dpi[0] * sides[0][1] / width for _, width in sides]
            self._level = choose(path, selection, sides, sizes)
            self._series = series = levels[self._level.number]
            self.windowed = len(series.pages) == 1 and in_small_pieces(series.keyframe)
            self._turn = turn(getattr(first.tags.get(ORIENTATION), "value", 1))
            self._palette = _palette(first)
            self._shape = _plain_axes(series)[1]
            channels = 1 if self._axis is None else self._shape[self._axis]
            dtype = series.dtype.newbyteorder("=")
            if self._palette is not None:
                channels, dtype = 3, self._palette.dtype
            scaled = self._level.scaled
            source = _layout(series, channels, in_pages=self._axis != 2)
            if self._palette is not None:
                source = replace(source, photometric="rgb", planar="contig", extra=(), bits=8)
            photo = photo.resized((sides[0][1] / scaled[1],) * 2)
            source = replace(source, icc=photo.icc, dpi=photo.dpi)
            nodata = _nodata(first)
            shape = self._turn.shape(scaled)
            self.header = Header(channels, shape, dtype, source=source, nodata=nodata)
        except BaseException:
            self._file.close()
            raise

    def values(self, window: Window) -> Values:
        stored = self._turn.stored(window, self._level.scaled)
        return self._turn.upright(self._level.read(self._read, stored))

    def _read(self, window: Window) -> Values:
        """The values (C, *window) of the level, as they are stored."""
        page = self._series.keyframe
        windowed = self.windowed and window != (slice(None),) * 2
        image = cut_page(page, window) if windowed else self._whole()[:, *window]
        if self._palette is not None:
            return np.moveaxis(self._palette[image[0]], -1, 0)
        image = image.astype(self.header.dtype, copy=False)
        return ~image if is_inverted(page) else image

    def _whole(self) -> Values:
        page, series = self._series.keyframe, self._series
        if len(series.pages) > 1 and series.dataoffset is not None and page.is_memmappable:
            dtype = series.dtype.newbyteorder("<" if self._file.byteorder == "<" else ">")
            image: Values = np.memmap(self._path, dtype, "r", series.dataoffset, series.shape)
        else:
            image = series.asarray()
        image = image.reshape(self._shape)
        return image[np.newaxis] if self._axis is None else np.moveaxis(image, self._axis, 0)

    def close(self) -> None:
        self._file.close()


def _plain_axes(series: tifffile.TiffPageSeries) -> tuple[str, tuple[int, ...]]:
    """The axes of a series and their sizes; of more than three, without those of size 1."""
    axes, shape = series.axes, series.shape
    if len(axes) > 3:
        kept = [n for n, size in enumerate(shape) if size > 1 or axes[n] in "YXS"]
        axes, shape = "".join(axes[n] for n in kept), tuple(shape[n] for n in kept)
    return axes, shape


def _sides(shape: tuple[int, ...], channels: int | None) -> tuple[int, int]:
    """The height and width of an image whose channels are along an axis, if it has such."""
    height, width = (size for axis, size in enumerate(shape) if axis != channels)
    return height, width


class Tiff(TiffFamily):
    """TIFF."""

    spatial_dims = (2,)
    special = False
    selects = ("level", "pixel_size")
    instead = ".npy"

    def claims(self, path: Path) -> bool:
        return True

    def suits(self, path: Path, header: Header) -> bool:
        return True

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _TiffReader(path, selection)

    def write(self, path: Path, values: Values, header: Header) -> None:
        layout = _writable(header, values)
        pixels = values
        if layout.planar == "contig":
            pixels = values[0] if header.channels == 1 else values.transpose(1, 2, 0)
        packed = layout.bits < 8 * header.dtype.itemsize and header.dtype.kind == "u"
        compression = None if packed or layout.compression == "NONE" else layout.compression
        tifffile.imwrite(
            path,
            pixels,
            compression=compression,
            predictor=predictable(header.dtype) and compression in PREDICTING,
            tile=layout.tile,
            bitspersample=layout.bits if packed else None,
            **_meaning(header, layout),
        )

    def create(self, path: Path, header: Header) -> Writer:
        layout = _writable(header, np.empty(0))
        if layout.planar != "contig" or header.dtype.kind == "b":
            return super().create(path, header)
        predicts = header.dtype.kind != "f" and predictable(header.dtype)
        return TiledWriter(path, header, predicts=predicts, **_meaning(header, layout))

    def beyond(self, header: Header) -> list[str]:
        return [f"{header.channels} channels"] if header.channels > MOST else []


def _meaning(header: Header, layout: Layout) -> dict[str, Any]:
    """What tifffile is told of the samples of an image, and of it."""
    nodata = "" if header.nodata is None else f"{header.nodata:.17g}"
    planar = None if layout.planar == "pages" or header.channels == 1 else layout.planar
    photo = photo_of(header)
    return {
        "photometric": layout.photometric,
        "planarconfig": planar,
        "extrasamples": layout.extra or None,
        "iccprofile": photo.profile(header.channels) or None,
        "resolution": photo.dpi,
        "resolutionunit": None if photo.dpi is None else "INCH",
        "extratags": [(NODATA, 2, 0, nodata, True)] if nodata else (),
        "metadata": None,
    }


def _photo(page: tifffile.TiffPage) -> Photo:
    """The colour profile and resolution of a page."""
    profile, unit = (page.tags.get(name) for name in (PROFILE, "ResolutionUnit"))
    dpi = None
    inch = INCH.get(2 if unit is None else int(unit.value))
    found = [page.tags.get(f"{axis}Resolution") for axis in "XY"]
    counts = [each.value[0] * (inch or 0) / (each.value[1] or 1) for each in found if each]
    if len(counts) == 2 and min(counts) > 0:
        dpi = counts[0], counts[1]
    return Photo(profile.value if profile else b"", dpi)


def _palette(page: tifffile.TiffPage) -> NDArray[np.uint8] | None:
    """The colours (N, 3) that samples are the numbers of, in 8 bits as PNG's palettes."""
    if page.photometric != tifffile.PHOTOMETRIC.PALETTE or page.colormap is None:
        return None
    colours = np.moveaxis(page.colormap, 0, -1)
    return (colours >> 8 if colours.max(initial=0) > 255 else colours).astype(np.uint8)


def _layout(series: tifffile.TiffPageSeries, channels: int, *, in_pages: bool) -> Layout:
    page = series.keyframe
    planar = "separate" if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else "contig"
    return Layout(
        planar="pages" if len(series.pages) > 1 and in_pages else planar,
        photometric="rgb" if page.photometric == tifffile.PHOTOMETRIC.RGB else "minisblack",
        extra=tuple(map(int, page.extrasamples)),
        compression=tifffile.COMPRESSION(page.compression).name,
        tile=(page.tilelength, page.tilewidth) if page.is_tiled else None,
        bits=page.bitspersample,
        channels=channels,
    )


def _writable(header: Header, values: Values) -> Layout:
    """The layout of the file that a header is of, as far as these values can have it."""
    channels, dtype = header.channels, header.dtype
    photo = channels <= 4 and dtype in (np.uint8, np.uint16)
    default = Layout(
        planar="contig",
        photometric="rgb" if photo and channels >= 3 else "minisblack",
        extra=(ALPHA,) if photo and channels in (2, 4) else (),
        compression="ADOBE_DEFLATE",
        tile=None,
        bits=8 * dtype.itemsize,
        channels=channels,
    )
    like = header.source if isinstance(header.source, Layout) else default
    if like.channels != channels:
        planar = "contig" if channels == 1 else like.planar
        like = replace(like, photometric=default.photometric, extra=default.extra, planar=planar)
    if like.compression not in LOSSLESS:
        like = replace(like, compression=default.compression)
    if dtype.kind == "b" and channels > 1 and like.planar == "contig":
        like = replace(like, planar="separate")  # tifffile packs no samples of one bit side by side
    packed = dtype.kind == "u" and default.bits // 2 < like.bits < default.bits
    packed |= dtype == np.uint8 and like.bits < 8
    if not packed or (values.size and values.max() >= 2**like.bits):
        like = replace(like, bits=default.bits)
    return like


def _nodata(page: tifffile.TiffPage) -> float | None:
    tag = page.tags.get(NODATA)
    try:
        return None if tag is None else float(str(tag.value).strip(" \0"))
    except ValueError:
        return None


def _require_one_image(path: Path, tif: tifffile.TiffFile) -> None:
    axes, _ = _plain_axes(tif.series[0])
    if len(tif.series) > 1 or axes not in (*SAMPLES, *UNNAMED):
        raise UserError(
            f"{path} is a stack or collection, not one 2D image ({len(tif.pages)} pages, axes "
            f"{axes}); save each image in a separate file"
        )


def _require_plain_samples(path: Path, tif: tifffile.TiffFile) -> None:
    """Refuses what tifffile would read without complaint, but not as the file means it."""
    page = tif.series[0].keyframe
    dtype = tif.series[0].dtype
    if dtype.kind not in "buif" or 0 in tif.series[0].shape:
        raise UserError(
            f"{path} holds {'no pixels' if dtype.kind in 'buif' else f'values of {dtype}'}; save "
            "real numbers, such as the amplitude of complex ones"
        )
    kinds = tifffile.PHOTOMETRIC
    plain = page.photometric in (kinds.MINISWHITE, kinds.MINISBLACK, kinds.RGB)
    plain |= page.photometric == kinds.PALETTE and dtype.kind == "u"
    # tifffile turns YCbCr into RGB only where JPEG does it.
    in_jpeg = page.photometric == kinds.YCBCR and page.compression == tifffile.COMPRESSION.JPEG
    if not (plain or in_jpeg):
        kind = getattr(page.photometric, "name", page.photometric)
        raise UserError(f"{path} stores its colours as {kind}; save it as grey or RGB")
    # JPEG strips that end early would be filled with grey.
    for part in tif.series[0].pages:
        if part is None:
            continue
        ends = map(sum, zip(part.dataoffsets, part.databytecounts, strict=True))
        if max(ends) > tif.filehandle.size:
            raise UserError(f"{path} is truncated; replace it with an undamaged copy")
