"""Writes OME-TIFF with pyramids.

A TIFF's pages come one after the other, and each pyramid level needs the whole finer one. So
windows are first collected in a scratch file.
"""

from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import tifffile
from numpy.typing import NDArray

from revgan.data.formats.contract import Header, Values, Window, Writer
from revgan.data.formats.ome_xml import ImageInfo, ome_metadata
from revgan.data.formats.physical import sizes_and_origin
from revgan.data.formats.pyramid import blocks, coarser, halvings, means
from revgan.data.scratch import Scratch, ScratchArray

TILE = 512
"""The side of written tiles."""

LARGE = 2**31
"""Files with this many bytes of values become BigTIFFs; a pyramid adds at most half as much."""

CENTIMETRE = 1e4
"""A centimetre in micrometres."""


class GatheringWriter(Writer):
    """Collects windows on disk as (C, Z, Y, X), and writes the file at the end.

    Args:
        path: of the file.
        header: of its scan.
        write: called with both and the collected values.
    """

    def __init__(
        self, path: Path, header: Header, write: Callable[[Path, Header, ScratchArray], None]
    ) -> None:
        self._path, self._header, self._write = path, header, write
        depth = header.shape[2:] or (1,)
        in_plane = header.shape[:2] if len(header.shape) < 3 else header.shape[1::-1]
        shape = (header.channels, *depth, *in_plane)
        self._values = Scratch(0).array(shape, header.dtype, planes=True)

    def write(self, window: Window, values: Values) -> None:
        if len(window) < 3:
            box, stored = (slice(0, 1), *window), values[:, np.newaxis]
        else:
            box, stored = window[::-1], values.transpose(0, 3, 2, 1)
        self._values.write(box, stored)

    def finish(self) -> None:
        self._write(self._path, self._header, self._values)


def write_ome(
    path: Path, header: Header, values: ScratchArray, *, info: ImageInfo, rgb: bool
) -> None:
    """Writes an OME-TIFF in tiles; the pyramid's coarser levels are SubIFDs of each page.

    Args:
        path: of the file.
        header: of its scan.
        values: (C, Z, Y, X).
        info: the image's metadata.
        rgb: whether all channels are samples of one pixel.
    """
    channels, depth = values.shape[:2]
    sizes, origin = micrometres(header)
    planes = depth * (1 if rgb else channels)
    axes = "ZYXS" if rgb else "CZYX"
    spacing = [sizes.get("Y", 1.0), sizes.get("X", 1.0)]
    levels = list(halvings(values.shape[2:], spacing, TILE))
    options: dict[str, Any] = {
        "tile": (TILE, TILE),
        "dtype": header.dtype,
        "photometric": "rgb" if rgb else "minisblack",
        "planarconfig": "contig" if rgb else None,
        "extrasamples": ["unassalpha"] if rgb and channels == 4 else None,
        "compression": "zlib",
        "predictor": True,
        "resolutionunit": "CENTIMETER" if sizes else None,
        "maxworkers": 1,
    }
    large = values.dtype.itemsize * np.prod(values.shape, dtype=np.int64) > LARGE
    with tifffile.TiffWriter(path, ome=True, bigtiff=bool(large)) as file:
        for number, factors in enumerate([(1, 1), *levels]):
            if number:
                values = _coarser(values, factors)
                options["subfiletype"] = 1
            else:
                options["subifds"] = len(levels)
                separate = 1 if rgb else channels
                about = ome_metadata(axes, sizes, origin, planes, separate, header.names, info)
                options["metadata"] = about | {"UUID": _identifier(values, about)}
            if sizes:
                shrunk = header.shape[0] / values.shape[2] if len(header.shape) < 3 else 2**number
                options["resolution"] = (
                    CENTIMETRE / sizes["X"] / shrunk,
                    CENTIMETRE / sizes["Y"] / shrunk,
                )
            stored = (*values.shape[1:], channels) if rgb else values.shape
            file.write(_tiles(values, rgb), shape=stored, **options)
            options |= {"subifds": None, "metadata": None}


def _identifier(values: ScratchArray, about: dict[str, Any]) -> str:
    """A UUID that only files with the same content have, so that the same work makes the same."""
    content = blake2b(repr((values.shape, values.dtype.str, about)).encode(), digest_size=16)
    for c, z, *window in blocks(values.shape, (1, 1, TILE, TILE)):
        content.update(values.read((z, *window), c).tobytes())
    return str(UUID(bytes=content.digest(), version=5))


def _coarser(finer: ScratchArray, factors: tuple[int, ...]) -> ScratchArray:
    """Makes the next level, which replaces the one before."""
    channels, depth, *in_plane = finer.shape
    shape = (channels, depth, *coarser(tuple(in_plane), factors))
    made = Scratch(0).array(shape, finer.dtype, planes=True)
    for _, z, *window in blocks(shape, (channels, 1, TILE, TILE)):
        source = [
            slice(part.start * factor, part.stop * factor)
            for part, factor in zip(window, factors, strict=True)
        ]
        values = finer.read((z, *source))[:, 0]
        made.write((z, *window), means(values, factors)[:, np.newaxis])
    return made


def _tiles(values: ScratchArray, rgb: bool) -> Iterator[NDArray[Any]]:
    """Full tiles page by page: (TILE, TILE), or with all channels as samples (TILE, TILE, C)."""
    samples = values.shape[0] if rgb else 1
    for c, z, *window in blocks(values.shape, (samples, 1, TILE, TILE)):
        part = values.read((z, *window), c)[:, 0]
        tile = np.zeros((TILE, TILE, samples), values.dtype)
        tile[: part.shape[1], : part.shape[2]] = np.moveaxis(part, 0, -1)
        yield tile if rgb else tile[..., 0]


def micrometres(header: Header) -> tuple[dict[str, float], dict[str, float]]:
    """Pixel sizes and origin along X, Y and Z; empty if they aren't known."""
    if header.affine is None:
        return {}, {}
    axes = "YX" if len(header.shape) < 3 else "XYZ"
    both = [
        {axis: mm * 1e3 for axis, mm in zip(axes, numbers, strict=True)}
        for numbers in sizes_and_origin(header.affine)
    ]
    return both[0], both[1]
