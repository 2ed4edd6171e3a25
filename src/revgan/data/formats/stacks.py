"""Stacks of pages in plain TIFF: volumes without a place, a slice of the third axis a page."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from revgan.data.formats.axes import volume_channels
from revgan.data.formats.contract import (
    NOWHERE,
    Header,
    Reader,
    Selection,
    Values,
    Window,
    Writer,
)
from revgan.data.formats.tiff_family import TiffFamily, predictable
from revgan.data.formats.tiff_pages import cut_page, is_inverted
from revgan.data.formats.tiff_stacks import GatheringWriter
from revgan.data.scratch import ScratchArray
from revgan.errors import UserError

LARGE = 2**31
"""Files with this many bytes of values or more become BigTIFFs."""


@dataclass(frozen=True)
class StackSource:
    """Marks a volume as read from such a file.

    Attributes:
        rgb: whether its channels are colours.
    """

    rgb: bool


class _StackReader(Reader):
    windowed = True

    def __init__(self, path: Path) -> None:
        self._file = tifffile.TiffFile(path)
        try:
            self.header = self._header(path)
        except BaseException:
            self._file.close()
            raise

    def _header(self, path: Path) -> Header:
        self._pages = [self._file.pages.get(n) for n in range(len(self._file.pages))]
        first = self._pages[0].keyframe
        assert first is not None
        assert first.dtype is not None
        shapes = {(page.shape, page.dtype) for page in self._pages}
        if len(shapes) > 1:
            raise UserError(
                f"{path} has pages of {len(shapes)} different sizes or types, which don't make a "
                "volume; save those of one size"
            )
        kinds = tifffile.PHOTOMETRIC
        if first.photometric not in (kinds.MINISBLACK, kinds.MINISWHITE, kinds.RGB):
            kind = getattr(first.photometric, "name", first.photometric)
            raise UserError(f"{path} stores its values as {kind}; save it as grey or RGB")
        self._inverted = is_inverted(first)
        dtype = first.dtype.newbyteorder("=")
        shape = (first.imagewidth, first.imagelength, len(self._pages))
        channels = volume_channels(path, dtype, shape, (first.samplesperpixel,))
        rgb = first.photometric == kinds.RGB
        return Header(channels, shape, dtype, NOWHERE, StackSource(rgb))

    def values(self, window: Window) -> Values:
        across, down, deep = window
        cuts = [cut_page(page, (down, across)) for page in self._pages[deep]]
        values = np.stack(cuts, axis=-1).transpose(0, 2, 1, 3).astype(self.header.dtype, copy=False)
        return ~values if self._inverted else values

    def close(self) -> None:
        self._file.close()


class TiffStack(TiffFamily):
    """Plain TIFF with several pages."""

    spatial_dims = (3,)
    claims_damaged = True  # of volumes, there is no other
    instead = ".ome.tif"

    def holds(self, path: Path, file: tifffile.TiffFile) -> bool:
        return not (file.is_ome or file.is_imagej)

    def suits(self, path: Path, header: Header) -> bool:
        return header.source is None or isinstance(header.source, StackSource)

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _StackReader(path)

    def create(self, path: Path, header: Header) -> Writer:
        return GatheringWriter(path, header, _write_pages)

    def beyond(self, header: Header) -> list[str]:
        beyond = ["values of bool"] if header.dtype.kind == "b" else []
        if header.affine is not None and not np.array_equal(header.affine, NOWHERE):
            beyond.append("a place in space")
        return beyond


def _write_pages(path: Path, header: Header, values: ScratchArray) -> None:
    """Writes the collected values (C, Z, Y, X) page by page."""
    channels, depth, height, width = values.shape
    colours = isinstance(header.source, StackSource) and header.source.rgb
    rgb = colours and channels in (3, 4) and header.dtype in (np.uint8, np.uint16)
    large = values.dtype.itemsize * np.prod(values.shape, dtype=np.int64) > LARGE
    extra = channels - (3 if rgb else 1)

    def pages() -> Iterator[NDArray[Any]]:
        for z in range(depth):
            page = values.read((slice(z, z + 1), slice(None), slice(None)))[:, 0]
            yield np.moveaxis(page, 0, -1) if channels > 1 else page[0]

    samples = (channels,) if channels > 1 else ()
    with tifffile.TiffWriter(path, bigtiff=bool(large)) as file:
        file.write(
            pages(),
            shape=(depth, height, width, *samples),
            dtype=header.dtype,
            photometric="rgb" if rgb else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=["unspecified"] * extra if extra else None,
            compression="zlib",
            predictor=predictable(header.dtype),
            metadata=None,
            maxworkers=1,
        )
