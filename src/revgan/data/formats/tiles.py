"""A tiled TIFF that is written window by window, in any order."""

from itertools import product, repeat
from math import prod
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from revgan.data.formats.contract import Header, Values, Window, Writer

SIDE = 256
"""Pixels along a tile."""

CLASSIC = 2**32 - 2**24
"""Bytes of pixels that may need the 64-bit offsets of BigTIFF, as some compress to no less."""

Place = tuple[int, int]
"""Row and column of a tile among tiles."""


class TiledWriter(Writer):
    """Compresses a tile once all of it is there, and appends it to the file.

    Memory holds the tiles that are there in part.

    Args:
        path: the file.
        header: of the image.
        predicts: whether to store differences from sample to sample.
        layout: what `tifffile.imwrite` is told of the meaning of samples, and of metadata.
    """

    def __init__(self, path: Path, header: Header, *, predicts: bool, **layout: Any) -> None:
        self._path, self._header = path, header
        rows, columns = (-(-size // SIDE) for size in header.shape)
        self._across = columns
        self._pixels = (SIDE, SIDE, header.channels)
        self._partial: dict[Place, tuple[NDArray[Any], NDArray[np.bool_]]] = {}
        self._offsets, self._counts = [0] * (rows * columns), [0] * (rows * columns)
        self._predicts = predicts
        size = prod((rows, columns, *self._pixels)) * header.dtype.itemsize
        height, width = header.shape
        tifffile.imwrite(
            path,
            repeat(b"", rows * columns),  # no tile is there yet
            shape=(height, width) if header.channels == 1 else (height, width, header.channels),
            dtype=header.dtype,
            tile=(SIDE, SIDE),
            compression="zlib",
            predictor=self._predicts,
            bigtiff=size > CLASSIC,
            **layout,
        )
        self._file = path.open("r+b")
        self._file.seek(0, 2)

    def write(self, window: Window, values: Values) -> None:
        ranges = [
            range(*part.indices(size))
            for part, size in zip(window, self._header.shape, strict=True)
        ]
        if not all(ranges):
            return
        pixels = np.moveaxis(values, 0, -1)
        spans = [range(part.start // SIDE, (part.stop - 1) // SIDE + 1) for part in ranges]
        for place in product(*spans):
            there, here = [], []
            for part, number in zip(ranges, place, strict=True):
                first, end = max(part.start, number * SIDE), min(part.stop, (number + 1) * SIDE)
                here.append(slice(first - part.start, end - part.start))
                there.append(slice(first - number * SIDE, end - number * SIDE))
            self._add((place[0], place[1]), (there[0], there[1]), pixels[here[0], here[1]])

    def finish(self) -> None:
        for place, (tile, _) in self._partial.items():
            self._append(place, tile)
        self._partial.clear()
        self._file.close()
        with tifffile.TiffFile(self._path, mode="r+") as file:
            tags = file.pages.first.tags
            tags["TileOffsets"].overwrite(self._offsets, erase=False)
            tags["TileByteCounts"].overwrite(self._counts, erase=False)

    def abandon(self) -> None:
        self._file.close()

    def _add(self, place: Place, there: tuple[slice, slice], pixels: NDArray[Any]) -> None:
        if place not in self._partial:
            self._partial[place] = self._begun(place)
        tile, known = self._partial[place]
        tile[there] = pixels
        known[there] = True
        ends = (
            min(SIDE, size - number * SIDE)
            for size, number in zip(self._header.shape, place, strict=True)
        )
        if known[tuple(slice(end) for end in ends)].all():
            self._append(place, tile)
            del self._partial[place]

    def _begun(self, place: Place) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A tile, and which of its pixels are known: all of one that is in the file already."""
        number = place[0] * self._across + place[1]
        if not self._counts[number]:
            return np.zeros(self._pixels, self._header.dtype), np.zeros((SIDE, SIDE), np.bool_)
        self._file.seek(self._offsets[number])
        data = imagecodecs.zlib_decode(self._file.read(self._counts[number]))
        self._file.seek(0, 2)
        tile = np.frombuffer(data, self._header.dtype).reshape(self._pixels)
        tile = imagecodecs.delta_decode(tile, axis=1) if self._predicts else tile.copy()
        return tile, np.ones((SIDE, SIDE), np.bool_)

    def _append(self, place: Place, tile: NDArray[Any]) -> None:
        number = place[0] * self._across + place[1]
        if self._predicts:
            tile = imagecodecs.delta_encode(tile, axis=1)
        data = imagecodecs.zlib_encode(tile.tobytes())
        self._offsets[number], self._counts[number] = self._file.tell(), len(data)
        self._file.write(data)
