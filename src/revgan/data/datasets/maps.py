"""Maps: satellite images (A) and street maps (B) side by side, from the archive of pix2pix."""

from dataclasses import dataclass
from pathlib import Path

from revgan.data.datasets.prepared import Role
from revgan.data.datasets.squares import read_pixels, smooth_square, write_pixels
from revgan.data.refs import existing_folder
from revgan.errors import UserError

SPLITS: dict[Role, tuple[str, ...]] = {"train": ("train",), "test": ("test", "val")}
"""The folders to look for; of several, the first that exists is used."""

ORIGIN = "efrosgans.eecs.berkeley.edu/pix2pix/datasets/maps.tar.gz"


@dataclass(frozen=True)
class Sheet:
    """A satellite image and its map in one file.

    Attributes:
        role: its purpose.
        path: the file.
    """

    role: Role
    path: Path

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem

    def paths(self, target: Path) -> tuple[Path, ...]:
        """Its images in the folder `target`."""
        return tuple(target / f"{self.role}{domain}" / f"{self.name}.png" for domain in "AB")

    def write(self, target: Path, side: int) -> None:
        """Writes its halves as squares of `side` pixels.

        Raises:
            UserError: the file can't be read, its halves aren't square, or writing fails.
        """
        both = read_pixels(self.path, 3)
        height, width = both.shape[:2]
        if width != 2 * height:
            raise UserError(
                f"{self.path} is {width} x {height} pixels, but with a satellite image on the left "
                f"and its map on the right it must be twice as wide as it is high, as in {ORIGIN}"
            )
        halves = both[:, :height], both[:, height:]
        for path, half in zip(self.paths(target), halves, strict=True):
            write_pixels(path, smooth_square(half, side))


def find_sheets(source: Path) -> list[Sheet]:
    """Finds the files for training and for the test, each ordered by name, without reading them.

    Args:
        source: the archive's folder `maps`.

    Raises:
        UserError: there is no such folder, or one of its folders has no files.
    """
    existing_folder(source, f"images side by side, such as maps of {ORIGIN}")
    sheets: list[Sheet] = []
    for role, names in SPLITS.items():
        found = next((found for name in names if (found := _jpegs(source / name))), None)
        if found is None:
            places = " or ".join(f"{name}/*.jpg" for name in names)
            raise UserError(f"{source} holds no {places}; give the folder maps of {ORIGIN}")
        sheets += [Sheet(role, path) for path in found]
    return sheets


def _jpegs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.jpg") if not path.name.startswith("."))
