"""Whole slides, with OpenSlide, at a chosen level or pixel size."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from revgan.data.formats.contract import (
    Affine,
    Family,
    Header,
    Reader,
    Selection,
    Values,
    Window,
)
from revgan.data.formats.physical import place
from revgan.data.formats.pyramid import choose, lengths
from revgan.data.formats.tiff_family import TiffFamily
from revgan.errors import UserError

GENERIC = "generic-tiff"
"""OpenSlide's name for tiled TIFFs of no particular vendor."""


class _SlideReader(Reader):
    windowed = True

    def __init__(self, path: Path, selection: Selection) -> None:
        self._slide = slide = _openslide(path).OpenSlide(path)
        try:
            about = slide.properties
            self._start, size = _bounds(slide)
            # (H, W) of the scanned area at each level.
            shapes = [
                tuple(max(1, int(side / factor)) for side in size)
                for factor in slide.level_downsamples
            ]
            sizes = [float(about.get(f"openslide.mpp-{axis}") or 0) for axis in "yx"]
            known = [sizes[1] * factor for factor in slide.level_downsamples]
            self._level = choose(path, selection, shapes, known if all(sizes) else None)
            colour = about.get("openslide.background-color", "FFFFFF")
            self._background = np.frombuffer(bytes.fromhex(colour), np.uint8)
            self.header = Header(
                3,
                self._level.scaled,
                np.dtype(np.uint8),
                self._affine(sizes, size) if all(sizes) else None,
            )
        except BaseException:
            slide.close()
            raise

    def _affine(self, micrometres: list[float], shape: tuple[int, ...]) -> Affine:
        sizes = [size / 1e3 for size in micrometres]
        starts = [start * size for start, size in zip(self._start, sizes, strict=True)]
        level = self._level
        of_level = lengths(sizes, starts, shape, level.shape)
        return place(*lengths(*of_level, level.shape, level.scaled))

    def values(self, window: Window) -> Values:
        return self._level.read(self._read, window)

    def _read(self, window: Window) -> Values:
        """RGB (3, *window) of the level; where nothing was scanned, the slide's background."""
        rows, columns = (
            range(*part.indices(side)) for part, side in zip(window, self._level.shape, strict=True)
        )
        number = self._level.number
        factor = self._slide.level_downsamples[number]
        corner = [  # counted in pixels of the finest level
            start + round(part.start * factor)
            for start, part in zip(self._start, (rows, columns), strict=True)
        ]
        picture = self._slide.read_region(corner[::-1], number, (len(columns), len(rows)))
        pixels = np.asarray(picture)
        colours, opaque = pixels[..., :3], pixels[..., 3:]
        if (opaque == 255).all():
            return np.moveaxis(colours, -1, 0)
        share = opaque / np.float32(255)
        mixed = colours * share + self._background * (1 - share)
        return np.moveaxis(np.rint(mixed).astype(np.uint8), -1, 0)

    def close(self) -> None:
        self._slide.close()


class Slides(Family):
    """Whole slides."""

    suffixes = (".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".czi")
    spatial_dims = (2,)
    selects = ("level", "pixel_size")
    beside = (".mrxs",)
    reads_only = True
    instead = ".ome.tif"

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _SlideReader(path, selection)


class SlideTiff(TiffFamily):
    """TIFFs of the slide scanners' vendors, in spite of their common suffix."""

    spatial_dims = Slides.spatial_dims
    selects = Slides.selects

    def claims(self, path: Path) -> bool:
        try:
            vendor = import_module("openslide").OpenSlide.detect_format(path)
        except Exception:  # no package, or damaged: the general family reports it
            return False
        return vendor not in (None, GENERIC)

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _SlideReader(path, selection)


def _openslide(path: Path) -> Any:
    try:
        return import_module("openslide")
    except (ImportError, OSError) as error:  # OSError if the library itself is missing
        raise UserError(
            f"{path} needs the packages openslide-python and openslide-bin: pip install "
            "'revgan[slides]'"
        ) from error


def _bounds(slide: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """The first row and column of the scanned area, and its height and width."""
    about, (width, height) = slide.properties, slide.dimensions
    names = [f"openslide.bounds-{name}" for name in ("y", "x", "height", "width")]
    y, x, inner_height, inner_width = (int(about[name]) if name in about else 0 for name in names)
    return (y, x), (inner_height or height - y, inner_width or width - x)
