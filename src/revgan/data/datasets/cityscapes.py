"""Cityscapes: photos of streets (A) and label maps (B), from the official archives.

The classes, with their ids and colours and whether they count, are from the table in
`cityscapesScripts` (`helpers/labels.py`), which the benchmark uses.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from revgan.data.datasets.prepared import Role
from revgan.data.datasets.squares import (
    Pixels,
    flat_square,
    read_pixels,
    smooth_square,
    write_pixels,
)
from revgan.data.formats import read
from revgan.data.labels import IGNORED, LabelClass, Palette
from revgan.data.refs import existing_folder
from revgan.errors import UserError

CLASSES = (
    LabelClass("unlabeled", (0, 0, 0), void=True),
    LabelClass("ego vehicle", (0, 0, 0), void=True),
    LabelClass("rectification border", (0, 0, 0), void=True),
    LabelClass("out of roi", (0, 0, 0), void=True),
    LabelClass("static", (0, 0, 0), void=True),
    LabelClass("dynamic", (111, 74, 0), void=True),
    LabelClass("ground", (81, 0, 81), void=True),
    LabelClass("road", (128, 64, 128)),
    LabelClass("sidewalk", (244, 35, 232)),
    LabelClass("parking", (250, 170, 160), void=True),
    LabelClass("rail track", (230, 150, 140), void=True),
    LabelClass("building", (70, 70, 70)),
    LabelClass("wall", (102, 102, 156)),
    LabelClass("fence", (190, 153, 153)),
    LabelClass("guard rail", (180, 165, 180), void=True),
    LabelClass("bridge", (150, 100, 100), void=True),
    LabelClass("tunnel", (150, 120, 90), void=True),
    LabelClass("pole", (153, 153, 153)),
    LabelClass("polegroup", (153, 153, 153), void=True),
    LabelClass("traffic light", (250, 170, 30)),
    LabelClass("traffic sign", (220, 220, 0)),
    LabelClass("vegetation", (107, 142, 35)),
    LabelClass("terrain", (152, 251, 152)),
    LabelClass("sky", (70, 130, 180)),
    LabelClass("person", (220, 20, 60)),
    LabelClass("rider", (255, 0, 0)),
    LabelClass("car", (0, 0, 142)),
    LabelClass("truck", (0, 0, 70)),
    LabelClass("bus", (0, 60, 100)),
    LabelClass("caravan", (0, 0, 90), void=True),
    LabelClass("trailer", (0, 0, 110), void=True),
    LabelClass("train", (0, 80, 100)),
    LabelClass("motorcycle", (0, 0, 230)),
    LabelClass("bicycle", (119, 11, 32)),
)
"""Class k has the id k. Id -1, license plates, isn't drawn in label maps."""

PALETTE = Palette(
    "B",
    tuple(
        label
        for number, label in enumerate(CLASSES)
        if label.colour not in {earlier.colour for earlier in CLASSES[:number]}
    ),
)
"""One class per colour, the first that has it: several void classes share black, and by colour a
`polegroup` is a `pole`. The k-th counting class has the table's `trainId` k."""

SPLITS: dict[Role, str] = {"train": "train", "test": "val"}
"""The archives' folders; the labels of their `test` aren't published."""

KINDS = ("A", "B", "Labels")
"""The kinds of images written: photos, label maps, and class ids as `class_map` reads them."""

ORIGIN = "cityscapes-dataset.com (free, after registration)"

_TRAIN_IDS = np.array(
    [IGNORED if label.void else PALETTE.counting.index(label) for label in CLASSES], np.uint8
)


@dataclass(frozen=True)
class Part:
    """Images of one kind within the archives.

    Attributes:
        folder: the archive's.
        ending: of the file names.
    """

    folder: str
    ending: str

    @property
    def archive(self) -> str:
        """The archive that they come in."""
        return f"{self.folder}_trainvaltest.zip"

    def file(self, split: str, scene: str) -> str:
        """The image of a scene, such as ``aachen/aachen_000000_000019``."""
        return f"{self.folder}/{split}/{scene}_{self.ending}.png"

    def scenes(self, source: Path, split: str) -> set[str]:
        """The scenes that have such an image."""
        paths = source.glob(self.file(split, "*/*"))
        return {
            f"{path.parent.name}/{path.name.removesuffix(f'_{self.ending}.png')}"
            for path in paths
            if not path.name.startswith(".")
        }


PARTS = (
    Part("leftImg8bit", "leftImg8bit"),
    Part("gtFine", "gtFine_color"),
    Part("gtFine", "gtFine_labelIds"),
)
"""Photos, label maps and class ids."""


@dataclass(frozen=True)
class Scene:
    """A photo with its label map.

    Attributes:
        role: its purpose.
        name: such as ``aachen_000000_000019``.
        photo: the photo.
        colours: its label map as colours.
        ids: its label map as ids of `CLASSES`.
    """

    role: Role
    name: str
    photo: Path
    colours: Path
    ids: Path

    def paths(self, target: Path) -> tuple[Path, ...]:
        """Its images in the folder `target`, in the order of `KINDS`."""
        return tuple(target / f"{self.role}{kind}" / f"{self.name}.png" for kind in KINDS)

    def write(self, target: Path, side: int) -> None:
        """Writes its images as squares of `side` pixels.

        Raises:
            UserError: an image can't be read or written, differs in size from the others, or holds
                unknown ids.
        """
        photo, colours = read_pixels(self.photo, 3), read_pixels(self.colours, 3)
        ids = _read_ids(self.ids)
        for path, image in (self.colours, colours), (self.ids, ids):
            if image.shape[:2] != photo.shape[:2]:
                raise UserError(
                    f"{path} is {_size(image)} pixels, but {self.photo} {_size(photo)}; the images "
                    f"of a scene must have the same size, as at {ORIGIN}"
                )
        photo_path, colours_path, ids_path = self.paths(target)
        write_pixels(photo_path, smooth_square(photo, side))
        write_pixels(colours_path, flat_square(colours, side))
        write_pixels(ids_path, _TRAIN_IDS[flat_square(ids, side)])


def find_scenes(source: Path) -> list[Scene]:
    """Finds the scenes for training and for the test, each ordered by name, without reading images.

    Args:
        source: the folder where the archives were unpacked, with `leftImg8bit` and `gtFine`.

    Raises:
        UserError: there is no such folder, or an archive or an image of a scene is missing.
    """
    existing_folder(source, f"leftImg8bit and gtFine, from {_archives(PARTS)} of {ORIGIN}")
    found = {
        split: {part: part.scenes(source, split) for part in PARTS} for split in SPLITS.values()
    }
    _require_complete(source, found)
    return [
        Scene(role, Path(scene).name, *(source / part.file(split, scene) for part in PARTS))
        for role, split in SPLITS.items()
        for scene in sorted(found[split][PARTS[0]])
    ]


def _require_complete(source: Path, found: dict[str, dict[Part, set[str]]]) -> None:
    """Refuses a source where a split lacks all images of a part, or a scene lacks an image."""
    absent = [
        (part, part.file(split, "CITY/*"))
        for split, parts in found.items()
        for part, scenes in parts.items()
        if not scenes
    ]
    if absent:
        raise UserError(
            f"{source} holds no {', '.join(pattern for _, pattern in absent)}; unpack "
            f"{_archives(part for part, _ in absent)} of {ORIGIN} there"
        )
    lacking = [
        (part, part.file(split, scene))
        for split, parts in found.items()
        for part, scenes in parts.items()
        for scene in sorted(set[str]().union(*parts.values()) - scenes)
    ]
    if lacking:
        named = ", ".join(file for _, file in lacking[:3])
        raise UserError(
            f"{source} lacks {len(lacking):,} images of incomplete scenes, "
            f"{named}{', ...' if len(lacking) > 3 else ''}; unpack "
            f"{_archives(part for part, _ in lacking)} of {ORIGIN} there again"
        )


def _archives(parts: Iterable[Part]) -> str:
    return " and ".join(dict.fromkeys(part.archive for part in parts))


def _read_ids(path: Path) -> Pixels:
    """(H, W, 1)."""
    ids = np.moveaxis(read(path, spatial_dims=2).values, 0, -1)
    if ids.shape[2] != 1 or ids.dtype != np.uint8:
        raise UserError(f"{path} must be an 8-bit grey image of class ids")
    unknown = ids[ids >= len(CLASSES)]
    if unknown.size:
        first = int(unknown[0])
        raise UserError(
            f"{path} holds the id {first} at {np.count_nonzero(unknown == first):,} pixels, but "
            f"Cityscapes has ids 0 to {len(CLASSES) - 1}; use the file from {PARTS[2].archive}"
        )
    return ids.astype(np.uint8, copy=False)


def _size(image: Pixels) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
