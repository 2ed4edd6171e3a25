"""OME-TIFF with pyramids, and ImageJ's hyperstacks, with tifffile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import tifffile

from revgan.data.formats import imagej, ome_xml, selecting
from revgan.data.formats.blaming import blaming
from revgan.data.formats.contract import (
    Affine,
    Header,
    Reader,
    Selection,
    Values,
    Window,
    Writer,
)
from revgan.data.formats.ome_xml import ImageInfo
from revgan.data.formats.physical import beyond_micrographs, place
from revgan.data.formats.pyramid import choose, lengths
from revgan.data.formats.tiff_family import TiffFamily
from revgan.data.formats.tiff_pages import (
    absent_pages,
    cut_page,
    in_small_pieces,
    is_inverted,
    open_tiff,
)
from revgan.data.formats.tiff_stacks import GatheringWriter, write_ome
from revgan.errors import UserError

OME = (".ome.tif", ".ome.tiff")

OME_TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")


@dataclass(frozen=True, eq=False)
class MicroSource:
    """What is kept from an image for files written like it.

    Attributes:
        shown: how ImageJ shows it, if it is from ImageJ rather than OME.
        info: its metadata, with the channels that were read.
        rgb: whether its channels are red, green, blue and perhaps alpha in one pixel.
    """

    shown: imagej.Display | None
    info: ImageInfo
    rgb: bool

    def resized(self, factors: Sequence[float]) -> Self:
        """Of the same image with other pixels, whose size a header's affine has."""
        return self


class _MicroReader(Reader):
    def __init__(self, path: Path, dims: int, selection: Selection) -> None:
        self._path, self._dims = path, dims
        self._file = open_tiff(path)
        try:
            self.header = self._header(selection)
        except BaseException:
            self._file.close()
            raise

    def _header(self, selection: Selection) -> Header:
        path, file = self._path, self._file
        images = [series for series in file.series if "Y" in series.axes and "X" in series.axes]
        infos, shown = [ImageInfo(name=series.name) for series in images], None
        if file.is_ome:
            described = ome_xml.ome_images(file.ome_metadata or "")
            infos = described if len(described) == len(images) else infos
        elif file.is_imagej:
            info, shown = imagej.read(file)
            infos = [info]
        names = [info.name or str(number) for number, info in enumerate(infos)]
        number = selecting.series(path, selection.series, names)
        levels, info = images[number].levels, infos[number]
        sizes = self._sizes(levels[0])
        self._t = selecting.plane(path, "t", selection.t, sizes.get("T", 1))
        self._z = None
        if self._dims < 3:
            self._z = selecting.plane(path, "z", selection.z, sizes.get("Z", 1))
        elif sizes.get("Z", 1) < 2:
            raise UserError(f"{path} is one plane; a volume has two or more, along z")
        known = levels[0].keyframe
        self.windowed = in_small_pieces(known)
        self._samples = known.samplesperpixel
        # In ImageJ's files, Bio-Formats stores channels as samples in planes.
        self._in_page = "YXS" if "S" in sizes or self._samples == 1 else "YXC"
        count = sizes.get("C", 1) * sizes.get("S", 1)
        channels = info.names if len(info.names) == count else ()
        self._channels = selecting.channels(path, selection.channels, channels, count)
        shapes = [(level.keyframe.imagelength, level.keyframe.imagewidth) for level in levels]
        pixel_sizes = None
        if info.sizes[0]:
            pixel_sizes = [info.sizes[0] * 1e3 * shapes[0][1] / width for _, width in shapes]
        self._level = chosen = choose(path, selection, shapes, pixel_sizes)
        self._series = levels[chosen.number]
        self._inverted = is_inverted(known)
        self._require_plain(known)
        height, width = chosen.scaled
        shape = (height, width) if self._dims < 3 else (width, height, sizes["Z"])
        kept = [info.channels[at] for at in self._channels] if len(info.channels) == count else []
        if shown is not None:
            planes = slice(None) if self._z is None else slice(self._z, self._z + 1)
            shown = shown.part(self._channels, planes, sizes, self._t)
            kept = list(shown.colours)
        kept_info = ImageInfo(info.name, info.sizes, info.origin, (), tuple(kept))
        return Header(
            len(self._channels),
            shape,
            self._series.dtype.newbyteorder("="),
            self._affine(info, shapes[0]),
            MicroSource(shown, kept_info, self._samples > 1),
            names=tuple(channels[at] for at in self._channels) if channels else (),
        )

    def _sizes(self, series: tifffile.TiffPageSeries) -> dict[str, int]:
        """The lengths of a series' axes; those of length 1 may be missing."""
        sizes = dict(zip(series.axes, series.shape, strict=True))
        if unknown := [axis for axis in sizes if axis not in "TCZYXS" and sizes[axis] > 1]:
            raise UserError(
                f"{self._path} has an axis {unknown[0]} of {sizes[unknown[0]]} besides T, C, Z, Y "
                "and X; save the part that you need in a separate file"
            )
        return sizes

    def _require_plain(self, page: tifffile.TiffPage) -> None:
        kinds = tifffile.PHOTOMETRIC
        jpeg = page.photometric == kinds.YCBCR and page.compression == tifffile.COMPRESSION.JPEG
        plain = page.photometric in (kinds.MINISWHITE, kinds.MINISBLACK, kinds.RGB, kinds.PALETTE)
        if page.dtype is None or page.dtype.kind not in "buif" or not (plain or jpeg):
            raise UserError(
                f"{self._path} has values of {page.dtype} as {kinds(page.photometric).name}; save "
                "real numbers, grey or RGB"
            )

    def _affine(self, info: ImageInfo, finest: tuple[int, ...]) -> Affine | None:
        """The place of pixels or voxels, if their size is known along all axes."""
        sizes = [size for size in info.sizes[: self._dims] if size is not None]
        if len(sizes) < self._dims:
            return None
        # SubIFDs don't give their pixel size; all levels cover the same area.
        level = self._level
        of_level = lengths(sizes[1::-1], info.origin[1::-1], finest, level.shape)
        in_plane, starts = lengths(*of_level, level.shape, level.scaled)
        if self._dims < 3:
            return place(in_plane, starts)
        return place([*in_plane[::-1], sizes[2]], [*starts[::-1], info.origin[2]])

    def values(self, window: Window) -> Values:
        if self._z is not None:
            return self._level.read(partial(self._plane, self._z), window)
        across, down, deep = window
        planes = [
            self._level.read(partial(self._plane, z), (down, across))
            for z in range(*deep.indices(self.header.shape[2]))
        ]
        return np.stack(planes, axis=-1).transpose(0, 2, 1, 3)

    def _plane(self, z: int, window: Window) -> Values:
        """The chosen channels (C, *window) of a plane."""
        split = [divmod(channel, self._samples) for channel in self._channels]
        pages = {c: self._page({"T": self._t, "C": c, "Z": z}, window) for c, _ in split}
        values = np.stack([pages[c][sample] for c, sample in split])
        if self._inverted:
            values = ~values
        return values.astype(self.header.dtype, copy=False)

    def _page(self, at: Mapping[str, int], window: Window) -> Values:
        """The samples (S, *window) of a page."""
        series = self._series
        if series.dataoffset is not None:  # ImageJ's large files have no page but the first
            return self._contiguous(series.dataoffset, at, window)
        number = 0
        for axis, size in zip(series.axes, series.shape, strict=True):
            if axis not in self._in_page:
                number = number * size + at[axis]
        page = series[number]
        if page is not None:
            with blaming(self._path.with_name(page.parent.filehandle.name)):
                return cut_page(page, window)
        if absent := absent_pages(self._path, self._file):
            raise UserError(
                f"{self._path} says that pages are in {absent}, which isn't there; put it beside"
            )
        sides = zip(window, self._level.shape, strict=True)  # OME-XML may leave pages out
        shape = [len(range(*part.indices(side))) for part, side in sides]
        return np.zeros((self._samples, *shape), series.dtype)

    def _contiguous(self, start: int, at: Mapping[str, int], window: Window) -> Values:
        series = self._series
        dtype = series.dtype.newbyteorder("<" if self._file.byteorder == "<" else ">")
        stored = np.memmap(self._path, dtype, "r", start, series.shape)
        inside = [axis for axis in series.axes if axis in self._in_page]
        parts: dict[str, Any] = {**at, **dict.fromkeys(inside, slice(None))}
        parts |= dict(zip("YX", window, strict=True))
        cut = np.array(stored[tuple(parts[axis] for axis in series.axes)])
        if len(inside) < 3:
            return cut[np.newaxis]
        return np.moveaxis(cut, next(n for n, axis in enumerate(inside) if axis not in "YX"), 0)

    def close(self) -> None:
        self._file.close()


class OmeTiff(TiffFamily):
    """OME-TIFF and ImageJ's hyperstacks."""

    suffixes = (*OME, *TiffFamily.suffixes)
    spatial_dims = (2, 3)
    selects = ("series", "level", "pixel_size", "channels", "z", "t")
    instead = ".ome.zarr"

    def holds(self, path: Path, file: tifffile.TiffFile) -> bool:
        return bool(file.is_ome or file.is_imagej)

    def suits(self, path: Path, header: Header) -> bool:
        return path.name.lower().endswith(OME) or isinstance(header.source, MicroSource)

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _MicroReader(path, spatial_dims, selection)

    def create(self, path: Path, header: Header) -> Writer:
        known = header.source if isinstance(header.source, MicroSource) else None
        info = ImageInfo() if known is None else known.info
        rgb = header.dtype in (np.uint8, np.uint16) and header.channels in (3, 4)
        # Three stains aren't colours.
        rgb = rgb and not header.names and (known is None or known.rgb)
        shown = None if known is None else known.shown
        if shown is not None and not path.name.lower().endswith(OME) and imagej.holds(header):
            pixels = rgb and header.dtype == np.uint8 and header.channels == 3
            return GatheringWriter(path, header, partial(imagej.write, rgb=pixels, shown=shown))
        if shown is not None:
            alike = len(shown.colours) == header.channels
            imagej.tell_left_out(shown, tables=alike and not rgb, labels=False)
        return GatheringWriter(path, header, partial(write_ome, info=info, rgb=rgb))

    def beyond(self, header: Header) -> list[str]:
        beyond = beyond_micrographs(header)
        if header.dtype.name not in OME_TYPES:
            beyond.append(f"values of {header.dtype}")
        return beyond
