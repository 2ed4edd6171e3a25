"""Label maps: images that show classes as flat colours, and what the colours mean.

A data folder describes them in a file `labels.yaml`:

    domain: B
    classes:
    - {name: road, colour: [128, 64, 128]}
    - {name: unlabeled, colour: [0, 0, 0], void: true}

Void classes are left out of every score, as in the Cityscapes benchmark.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from revgan.data.channels import convert_channels
from revgan.data.formats import KINDS
from revgan.data.mappings import TypeRange
from revgan.data.refs import ScanRef
from revgan.errors import UserError
from revgan.files import is_there, write_text
from revgan.plain_yaml import read_yaml

FILE = "labels.yaml"

IGNORED = 255
"""The value of a class map where no class counts."""


@dataclass(frozen=True)
class LabelClass:
    """A class of label maps.

    Attributes:
        name: the class's name.
        colour: red, green and blue, 0 to 255.
        void: whether it is left out of scores.
    """

    name: str
    colour: tuple[int, int, int]
    void: bool = False


@dataclass(frozen=True)
class Palette:
    """What the colours of a data set's label maps mean.

    Attributes:
        domain: "A" or "B", whichever has label maps.
        classes: all classes, including void ones. A class map holds indices into those that count.

    Raises:
        ValueError: a name or colour occurs twice or is invalid, fewer than two classes count, or
            the domain is neither "A" nor "B".
    """

    domain: Literal["A", "B"]
    classes: tuple[LabelClass, ...]

    def __post_init__(self) -> None:
        if self.domain not in ("A", "B"):
            raise ValueError(f"domain must be A or B, not {self.domain!r}")
        seen: set[object] = set()
        for value in (value for label in self.classes for value in (label.name, label.colour)):
            if value in seen:
                raise ValueError(f"{value} stands for two classes; give each its own")
            seen.add(value)
        for label in self.classes:
            if len(label.colour) != 3 or not all(0 <= value <= 255 for value in label.colour):
                raise ValueError(
                    f"the colour of {label.name} must be three numbers from 0 to 255, not "
                    f"{list(label.colour)}"
                )
        if not 2 <= len(self.names) < IGNORED:
            raise ValueError(f"2 to {IGNORED - 1} classes must count, not {len(self.names)}")

    @cached_property
    def counting(self) -> tuple[LabelClass, ...]:
        """The classes that count: class k of a class map is the k-th of these."""
        return tuple(label for label in self.classes if not label.void)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes that count."""
        return tuple(label.name for label in self.counting)

    def nearest(self, image: Tensor) -> Tensor:
        """The counting class whose colour is nearest to each pixel's.

        Args:
            image: (C, H, W) in [-1, 1]. With three or more channels, the first three are red, green
                and blue; with fewer, the first is grey, and colours are compared as grey.

        Returns:
            (H, W), int64.
        """
        channels = 3 if len(image) >= 3 else 1
        distances = [
            (image[:channels] - colour.to(image.device)[:, None, None]).square().sum(0)
            for colour in self._colours(channels)
        ]
        return torch.stack(distances).argmin(0)

    def exact(self, pixels: NDArray[np.uint8], source: str) -> Tensor:
        """The class of each pixel of a label map; void classes become `IGNORED`.

        Args:
            pixels: (3, H, W).
            source: the label map's name in errors.

        Returns:
            (H, W), int64.

        Raises:
            UserError: a colour belongs to no class.
        """
        codes = _codes(pixels)
        classes = np.full(codes.shape, -1, dtype=np.int64)
        for label in self.classes:
            value = IGNORED if label.void else self.counting.index(label)
            classes[codes == _codes(np.array(label.colour, np.uint8)[:, None, None])] = value
        unknown = classes < 0
        if unknown.any():
            colours, first, counts = np.unique(
                codes[unknown], return_index=True, return_counts=True
            )
            order = np.argsort(-counts, kind="stable")[:3]
            named = ", ".join(
                f"{tuple(pixels[:, unknown][:, first[place]].tolist())} at "
                f"{_count(counts[place], 'pixel')}"
                for place in order
            )
            more = ", ..." if len(colours) > len(order) else ""
            raise UserError(
                f"{source} has {_count(len(colours), 'colour')} that don't belong to any class in "
                f"{FILE}: {named}{more}; add the classes to {FILE}, or save label maps without "
                "smoothing or JPEG compression"
            )
        return torch.from_numpy(classes)

    def paint(self, classes: Tensor) -> Tensor:
        """The label map (3, H, W), in [-1, 1], of a class map (H, W).

        `IGNORED` gets the colour of the first void class, or black if no class is void.
        """
        void = next((label.colour for label in self.classes if label.void), (0, 0, 0))
        colours = [*self._colours(), _unit_colour(void)]
        places = classes.where(classes != IGNORED, len(colours) - 1)
        return torch.stack(colours)[places].permute(2, 0, 1)

    def _colours(self, channels: int = 3) -> list[Tensor]:
        return [_unit_colour(label.colour, channels) for label in self.counting]

    @classmethod
    def read(cls, folder: Path) -> "Palette | None":
        """What a data folder's labels.yaml says; None without one.

        Raises:
            UserError: it can't be understood.
        """
        path = folder / FILE
        if not is_there(path):
            return None
        try:
            content = read_yaml(path)
            classes = tuple(_label_class(entry) for entry in content["classes"])
            return cls(content["domain"], classes)
        except (KeyError, TypeError, ValueError) as error:
            reason = (
                f"lacks {error}" if isinstance(error, KeyError) else " ".join(f"{error}".split())
            )
            raise UserError(
                f"{path} can't be understood ({reason}); it needs domain: A or B, and classes: a "
                "list of {name: NAME, colour: [R, G, B]}, with void: true if scores leave them out"
            ) from error

    def write(self, folder: Path) -> None:
        """Writes labels.yaml.

        Raises:
            OSError: the disk is full or not writable.
        """
        lines = [f"domain: {self.domain}", "classes:"]
        for label in self.classes:
            entry = asdict(label) | {"colour": list(label.colour)}
            if not label.void:
                del entry["void"]
            flow = yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=1000)
            lines.append(f"- {flow.strip()}")
        write_text(folder / FILE, "\n".join(lines) + "\n")


def class_map(ref: ScanRef, palette: Palette, size: tuple[int, ...] | None = None) -> Tensor:
    """The true classes of a label map.

    They come from a PNG of class ids (8 bits, `IGNORED` where none counts) with the same name in a
    folder `testLabels` beside `testB`, and so on; without that folder, from the label map's
    colours.

    Args:
        ref: an image of the domain of label maps.
        palette: the data set's.
        size: height and width to scale it to, by nearest neighbour; by default its own.

    Returns:
        (H, W), int64.

    Raises:
        UserError: the file can't be read, its colours or ids are unknown, or the two files differ
            in size.
    """
    pixels = ref.read(2).values
    ids = _ids_path(ref, palette)
    if ids.is_file():
        classes = _read_ids(ScanRef(ids, block=ref.block), palette)
        if classes.shape != pixels.shape[1:]:
            kind = KINDS[2]
            raise UserError(
                f"{ids} is {kind.size(classes.shape)}, but {ref} {kind.size(pixels.shape[1:])}; "
                "both must have the same size"
            )
    elif ids.parent.is_dir():  # colours would say less than the other label maps' ids
        raise UserError(
            f"{ids.parent} has no class ids for {ref}; put {ids.name} there, or remove the folder"
        )
    elif pixels.dtype != np.uint8:
        raise UserError(f"{ref} has 16 bits per sample; save label maps with 8")
    else:
        classes = palette.exact(convert_channels(pixels, 3).astype(np.uint8, copy=False), str(ref))
    if size is None or classes.shape == size:
        return classes
    resized = F.interpolate(classes[None, None].double(), size, mode="nearest-exact")
    return resized[0, 0].long()


def class_map_files(ref: ScanRef, palette: Palette) -> list[Path]:
    """The files that the result of `class_map` depends on."""
    ids = _ids_path(ref, palette)
    return [ref.path, ids] if ids.is_file() else [ref.path]


def _ids_path(ref: ScanRef, palette: Palette) -> Path:
    folder = ref.folder
    name = folder.name.removesuffix(palette.domain) + "Labels"
    return folder.with_name(name) / f"{ref.whole}.png"


def _read_ids(ref: ScanRef, palette: Palette) -> Tensor:
    ids = ref.read(2).values
    count = len(palette.names)
    if len(ids) != 1 or ids.dtype != np.uint8:
        raise UserError(f"{ref.path} must be an 8-bit grey image of class ids")
    unknown = ids[(ids >= count) & (ids != IGNORED)]
    if unknown.size:
        first = int(unknown[0])
        pixels = _count(int(np.count_nonzero(unknown == first)), "pixel")
        raise UserError(
            f"{ref.path} holds the class {first} at {pixels}, but {FILE} has classes 0 to "
            f"{count - 1}, and {IGNORED} for ignored pixels"
        )
    return torch.from_numpy(ids[0].astype(np.int64))


def _label_class(entry: dict[str, Any]) -> LabelClass:
    known = {"name", "colour", "void"}
    if unknown := sorted(set(entry) - known):
        raise ValueError(f"a class has the unknown key {unknown[0]}")
    colour, void = entry["colour"], entry.get("void", False)
    if not isinstance(colour, list) or not all(type(value) is int for value in colour):
        raise ValueError(f"the colour of {entry['name']} must be three whole numbers")
    if not isinstance(void, bool):
        raise ValueError(f"void of {entry['name']} must be true or false")
    return LabelClass(str(entry["name"]), tuple(colour), void)


def _unit_colour(colour: tuple[int, int, int], channels: int = 3) -> Tensor:
    """(channels,) in [-1, 1]; mapped as images are, to equal the files' colours exactly."""
    values = np.array(colour, np.uint8)[:, np.newaxis]
    return torch.from_numpy(TypeRange().to_unit(convert_channels(values, channels)))[:, 0]


def _codes(pixels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """One number (H, W) per colour (3, H, W)."""
    red, green, blue = pixels.astype(np.uint32)
    return (red << 16) | (green << 8) | blue


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
