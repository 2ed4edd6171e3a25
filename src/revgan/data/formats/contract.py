"""The one contract for files: what a scan is, and what a family of formats does for it.

A scan is one image or volume: values (C, *spatial) in its file's units, and its place in space. A
family of formats is one file beside this one. It says which files are its own, and reads and
writes them; nothing else knows a format by name.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
"""(C, *spatial), in the file's units and type."""

Affine = NDArray[np.float64]
"""To millimetres: of volumes (4, 4), from voxel indices towards right, anterior and superior
(RAS+); of micrographs (3, 3), from row and column to x and y."""

Window = tuple[slice, ...]
"""A part of a scan: a slice without a step for each spatial axis."""


HEAD = 132
"""Bytes that tell of which family a file is."""


@dataclass(frozen=True)
class Kind:
    """What scans of so many spatial axes are called.

    Attributes:
        one: such a scan.
        article: with its article.
        many: several of them.
        elements: what they are made of.
        scale: the option that decides how many of these they have.
        preset: a configuration to start from.
        halved: A and B may come side by side in one file, as pix2pix has them.
        photos: they may be photos, in which the full range of their type of integers counts, and
            which may be even.
    """

    one: str
    article: str
    many: str
    elements: str
    scale: str
    preset: str
    halved: bool
    photos: bool

    def size(self, shape: tuple[int, ...]) -> str:
        """Sizes as people say them: width before height of images, X, Y, Z of volumes."""
        said = shape if len(shape) > 2 else shape[::-1]
        return f"{' x '.join(map(str, said))} {self.elements}"


KINDS = {
    2: Kind(
        "image", "an image", "images", "pixels", "data.resize", "default", halved=True, photos=True
    ),
    3: Kind(
        "volume",
        "a volume",
        "volumes",
        "voxels",
        "data.spacing",
        "volumes",
        halved=False,
        photos=False,
    ),
}
"""By the number of spatial axes."""


@dataclass(frozen=True)
class Selection:
    """Which part of a file is meant, where it holds more than one scan.

    A family names those that it understands in `Family.selects`; any other is refused.

    Attributes:
        series: which of several scans, by its number from 0, its name or its UID.
        level: of a pyramid, 0 the finest.
        pixel_size: micrometres from pixel to pixel that a pyramid is read at.
        channels: which of them, by number from 0 or by name; None for all.
        z: the plane that makes an image of a stack.
        t: the point in time.
    """

    series: str | None = None
    level: int | None = None
    pixel_size: float | None = None
    channels: tuple[str, ...] | None = None
    z: int | None = None
    t: int | None = None

    @property
    def given(self) -> list[str]:
        """The names of those that say something."""
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]

    def over(self, other: Self) -> Self:
        """What this one says, and of all else what the other one says."""
        return replace(other, **{name: getattr(self, name) for name in self.given})


IDLE: dict[int, tuple[str, ...]] = {2: (), 3: ("pixel_size", "z")}
"""What of a `Selection` means nothing for scans of so many spatial axes: volumes have all planes,
and a resolution in all three directions."""


@dataclass(frozen=True, eq=False)
class Ground:
    """Where an image lies on the ground.

    Attributes:
        affine: (3, 3), from row and column of a pixel's centre to the CRS's x and y.
        crs: the coordinate reference system as WKT; "" where it isn't known.
    """

    affine: NDArray[np.float64]
    crs: str


WHOLE = Selection()
"""All of a file that holds one scan."""


@dataclass(frozen=True, eq=False)
class Header:
    """What a file says of its scan before any value is read.

    Attributes:
        channels: C.
        shape: sizes of the spatial axes: (H, W) of an image, (X, Y, Z) of a volume.
        dtype: of the values in the file; float32 where it scales integers to fractions.
        affine: where the voxels are in the patient, or the pixels on a microscope's stage; None
            where the format has no such place.
        source: what the family keeps of the file, so that one written like it has the same
            metadata; families don't look at each other's.
        ground: where on the ground the pixels are; None where the format doesn't say.
        nodata: the value that stands for nothing measured; None where there is none. NaN always
            stands for that.
        names: of the channels; () where the file has none.
    """

    channels: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    affine: Affine | None = None
    source: Any = None
    ground: Ground | None = None
    nodata: float | None = None
    names: tuple[str, ...] = ()

    def of(self, values: Values) -> Self:
        """The header of other values (C, *spatial) at the same place, in their type."""
        names = self.names if len(values) == self.channels else ()
        return replace(
            self, channels=len(values), shape=values.shape[1:], dtype=values.dtype, names=names
        )


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan in memory.

    Attributes:
        values: (C, *spatial), in the file's units.
        affine: as in `Header`.
        source: as in `Header`.
        dtype: of the values in the file; what is written like it has this type, if that holds it.
        ground: as in `Header`.
        nodata: as in `Header`.
        names: as in `Header`.
    """

    values: Values
    affine: Affine | None
    source: Any
    dtype: np.dtype[Any]
    ground: Ground | None = None
    nodata: float | None = None
    names: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the spatial axes."""
        return self.values.shape[1:]

    @property
    def header(self) -> Header:
        """What its file would say of it."""
        return Header(
            len(self.values),
            self.shape,
            self.dtype,
            self.affine,
            self.source,
            self.ground,
            self.nodata,
            self.names,
        )

    @property
    def place(self) -> Affine:
        """`affine`, or voxels of 1 mm from the origin where the format has none."""
        return np.eye(4) if self.affine is None else self.affine


class Reader(ABC):
    """A file that its family has opened.

    Attributes:
        header: what it says of its scan.
    """

    header: Header

    @abstractmethod
    def values(self, window: Window) -> Values:
        """The values (C, *window) of a part of the scan, as they stand or as a view of more.

        Raises:
            Exception: whatever the family's library raises for a damaged file.
        """

    def measured(self, window: Window) -> NDArray[np.bool_] | None:
        """Where something was measured, (*window), by a mask that lies beside the values.

        None where the file has no such mask. What `Header.nodata` and NaN say is not in it.
        """
        return None

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Lets go of the file."""


class Writer(ABC):
    """A file that is being written, window by window."""

    @abstractmethod
    def write(self, window: Window, values: Values) -> None:
        """Takes the values (C, *window) of a part; where parts overlap, the later wins."""

    @abstractmethod
    def finish(self) -> None:
        """Completes the file."""

    def abandon(self) -> None:  # noqa: B027 - most have nothing to give back
        """Lets go of what was written, after a failure."""


class _Gathered(Writer):
    """For families that write a file in one go."""

    def __init__(self, family: "Family", path: Path, header: Header) -> None:
        self._family, self._path, self._header = family, path, header
        self._values = np.zeros((header.channels, *header.shape), header.dtype)

    def write(self, window: Window, values: Values) -> None:
        self._values[:, *window] = values

    def finish(self) -> None:
        self._family.write(self._path, self._values, self._header)


class Place(NamedTuple):
    """Where a scan that is one of several in a folder is, and what it is called.

    Attributes:
        path: the file, or the folder.
        selection: which part of it.
        name: by which it is matched with others, and under which it is written.
    """

    path: Path
    selection: Selection
    name: str


class Passed(NamedTuple):
    """A file or folder that isn't taken, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Listing:
    """What there is in a folder.

    Attributes:
        scans: those that can be read.
        passed: what is passed over.
    """

    scans: tuple[Place, ...] = ()
    passed: tuple[Passed, ...] = ()


class Family(ABC):
    """A family of formats.

    Attributes:
        suffixes: of its files, in lower case.
        parts: suffixes of files that only hold the values of one beside them, which has the same
            name and one of the other `suffixes`.
        spatial_dims: how many spatial axes its scans can have.
        selects: fields of `Selection` that it understands.
        magic: first bytes that its files start with, whatever they are called; none for a family
            that goes by its suffixes.
        special: it goes before other families of the same suffix, for the files that it `claims`
            and the headers that it `suits`.
        folder: its "files" are folders.
        nameless: its files need no suffix.
        gathers: with so many spatial axes, its files make scans together, see `gather`; a folder of
            them can be one.
        reads_only: it writes nothing.
        instead: a suffix for what this family can't hold.
    """

    suffixes: tuple[str, ...]
    spatial_dims: tuple[int, ...]
    selects: tuple[str, ...] = ()
    magic: tuple[bytes, ...] = ()
    special: bool = False
    parts: tuple[str, ...] = ()
    folder = False
    nameless = False
    gathers: tuple[int, ...] = ()
    reads_only = False
    instead = ""

    def takes(self, spatial_dims: int | None) -> bool:
        """Whether its scans can have so many spatial axes; None for any number."""
        return spatial_dims in (None, *self.spatial_dims)

    def usual_dims(self, path: Path) -> int:
        """The spatial axes that a file's scan has, where nobody says how many."""
        return self.gathers[0] if self.gathers and path.is_dir() else self.spatial_dims[0]

    def starts(self, head: bytes) -> bool:
        """Whether a file is the family's by its first `HEAD` bytes (all of a shorter one)."""
        return head.startswith(self.magic)

    def gather(self, files: Sequence[Path], selection: Selection) -> Listing:
        """The scans that files of one folder make together.

        Args:
            files: all of the family in that folder, at least one.
            selection: which of them are meant.
        """
        raise NotImplementedError

    def claims(self, path: Path) -> bool:
        """Whether a file that starts with `magic` is this family's, of those that are special.

        Of folders, whether one with its suffix holds what its scans are made of.
        """
        return not self.special

    def suits(self, path: Path, header: Header) -> bool:
        """Whether a scan is to be written to a path by this family, of those that are special."""
        return not self.special

    @abstractmethod
    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        """Reads the header, and no values.

        Args:
            path: the file.
            spatial_dims: how many spatial axes the scan shall have, one of the family's.
            selection: which part of the file; only fields that are in `selects` are given.

        Raises:
            UserError: the file holds something that scans have no way to hold.
            Exception: whatever the family's library raises for a damaged file.
        """

    @abstractmethod
    def write(self, path: Path, values: Values, header: Header) -> None:
        """Writes a whole file of values (C, *spatial), whose type is the header's.

        Args:
            path: with one of the family's suffixes.
            values: of any memory layout.
            header: where they are, and of which file they shall have the metadata.
        """

    def create(self, path: Path, header: Header) -> Writer:
        """Begins a file that is written window by window.

        Here all values are gathered in memory first; families that can do better say how.
        """
        return _Gathered(self, path, header)

    def beyond(self, header: Header) -> list[str]:
        """What of a scan this family can't hold, in words; nothing if it holds all."""
        return []


def beyond_photo(header: Header) -> list[str]:
    """What of a scan no photo has, in words: more than 4 channels, or other types than these."""
    beyond = [] if header.channels <= 4 else [f"{header.channels} channels"]
    if header.dtype not in (np.uint8, np.uint16):
        beyond.append(f"values of {header.dtype}")
    return beyond


def require_photo(header: Header) -> None:
    """Refuses what no image format here holds.

    Raises:
        ValueError: not 1 to 4 channels, not uint8 or uint16, or no pixels.
    """
    shape = (*header.shape, header.channels)
    if len(shape) != 3 or 0 in shape or header.channels > 4:
        raise ValueError(f"an image has shape (H, W, C) with 1 to 4 channels, not {shape}")
    if header.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"an image is uint8 or uint16, not {header.dtype}")
