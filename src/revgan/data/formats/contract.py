"""The contract for files: what a scan is, and what a family of formats must do.

A scan is one image or volume: values (C, *spatial) in its file's units, and its place in space. A
family of formats is one module beside this one. It says which files it handles, and reads and
writes them; no other code knows a format by name.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from revgan.data.scratch import Scratch

Values = NDArray[Any]
"""(C, *spatial), in the file's units and type."""

Affine = NDArray[np.float64]
"""Maps indices to millimetres: for volumes (4, 4), from voxel indices to RAS+ (right, anterior,
superior); for micrographs (3, 3), from row and column to x and y."""

NOWHERE: Affine = np.eye(4)
"""The affine of volumes in formats that don't say where voxels are: 1 mm apart, from the origin."""

Window = tuple[slice, ...]
"""A part of a scan: one slice per spatial axis, without steps."""

DEFLATED = 1032
"""Bytes that deflate, and so gzip and PNG, can pack into one at most."""

HEAD = 132
"""Bytes that tell of which family a file is."""


@dataclass(frozen=True)
class Selection:
    """Which part of a file to read, if it holds more than one scan.

    `Family.selects` names the fields that a family understands; others are refused.

    Attributes:
        series: which of several scans, by its number from 0, its name or its UID.
        level: which level of a pyramid; 0 is the finest.
        pixel_size: the pixel size in micrometres at which a pyramid is read.
        channels: which channels, by number from 0 or by name; None for all.
        z: which plane of a stack, to read it as an image.
        t: which point in time.
    """

    series: str | None = None
    level: int | None = None
    pixel_size: float | None = None
    channels: tuple[str, ...] | None = None
    z: int | None = None
    t: int | None = None

    @property
    def given(self) -> list[str]:
        """The names of the fields that are set."""
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]

    def over(self, other: Self) -> Self:
        """What this one says, and of all else what the other one says."""
        return replace(other, **{name: getattr(self, name) for name in self.given})


IDLE: dict[int, tuple[str, ...]] = {2: (), 3: ("pixel_size", "z")}
"""The fields of a `Selection` that don't apply to scans with this many spatial axes: volumes have
all planes, and a resolution along three axes."""


@dataclass(frozen=True, eq=False)
class Ground:
    """Where an image lies on the ground.

    Attributes:
        affine: (3, 3), from a pixel centre's row and column to the CRS's x and y.
        crs: the coordinate reference system as WKT; "" if it isn't known.
    """

    affine: NDArray[np.float64]
    crs: str


WHOLE = Selection()
"""All of a file that holds one scan."""


@dataclass(frozen=True, eq=False)
class Header:
    """What a file says about its scan before any value is read.

    Attributes:
        channels: C.
        shape: sizes of the spatial axes: (H, W) of an image, (X, Y, Z) of a volume.
        dtype: of the values in the file; float32 if the file scales integers.
        affine: the place of the voxels in the patient, or of the pixels on a microscope's stage;
            None if the format has none.
        source: what the family keeps from the file, so that a file written like it gets the same
            metadata; families don't read each other's. If it has a method `resized`, that
            takes factors: how many times as far apart a new file's pixels are along each axis.
        ground: where on the ground the pixels are; None if the format doesn't say.
        nodata: the value that marks missing data; None if there is none. NaN always marks missing
            data.
        names: of the channels; () if the file has none.
        masked: whether a mask beside the values says where something was measured; a file of the
            same family that is written like it gets the mask.
    """

    channels: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    affine: Affine | None = None
    source: Any = None
    ground: Ground | None = None
    nodata: float | None = None
    names: tuple[str, ...] = ()
    masked: bool = False

    def of(self, values: Values) -> Self:
        """The header for other values (C, *spatial) at the same place, with their type."""
        names = self.names if len(values) == self.channels else ()
        return replace(
            self, channels=len(values), shape=values.shape[1:], dtype=values.dtype, names=names
        )


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan in memory.

    Attributes:
        values: (C, *spatial), in the file's units.
        dtype: of the values in the file; a file written like it has this type, if the values fit.
        affine, source, ground, nodata, names, masked: as in `Header`.
    """

    values: Values
    affine: Affine | None
    source: Any
    dtype: np.dtype[Any]
    ground: Ground | None = None
    nodata: float | None = None
    names: tuple[str, ...] = ()
    masked: bool = False

    @classmethod
    def of(cls, values: Values, header: Header) -> Self:
        """The scan of a file with this header."""
        return cls(values, **_common(header))

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the spatial axes."""
        return self.values.shape[1:]

    @property
    def header(self) -> Header:
        """The header that its file would have."""
        return Header(len(self.values), self.shape, **_common(self))

    @property
    def place(self) -> Affine:
        """`affine`, or voxels of 1 mm from the origin if the format has none."""
        return np.eye(4) if self.affine is None else self.affine


def _common(of: Header | Scan) -> dict[str, Any]:
    """What headers and scans both say."""
    both = {field.name for field in fields(Header)} & {field.name for field in fields(Scan)}
    return {name: getattr(of, name) for name in both}


class Reader(ABC):
    """A file opened by its family.

    Attributes:
        header: what the file says about its scan.
        windowed: whether `values` reads little more than the window.
        least: bytes that the file must have at least for what it declares.
    """

    header: Header
    windowed: bool = False
    least: float = 0

    @abstractmethod
    def values(self, window: Window) -> Values:
        """The values (C, *window) of a part of the scan, as stored; may be a view of a larger
        array.

        Raises:
            Exception: whatever the family's library raises for a damaged file.
        """

    def measured(self, window: Window) -> NDArray[np.bool_] | None:
        """Where something was measured, (*window), according to a mask stored beside the values.

        None if the file has no such mask. It doesn't include `Header.nodata` and NaN.
        """
        return None

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Closes the file."""


class Writer(ABC):
    """A file being written, window by window."""

    @abstractmethod
    def write(self, window: Window, values: Values) -> None:
        """Writes the values (C, *window) of a part; where parts overlap, the later one wins."""

    @abstractmethod
    def finish(self) -> None:
        """Completes the file."""

    def abandon(self) -> None:  # noqa: B027 - most have nothing to give back
        """Releases what was written, after a failure."""


class _Gathered(Writer):
    """Collects all values, for families that write a file in one go; many of them on the disk."""

    def __init__(self, family: "Family", path: Path, header: Header) -> None:
        self._family, self._path, self._header = family, path, header
        self._values = Scratch().array((header.channels, *header.shape), header.dtype)

    def write(self, window: Window, values: Values) -> None:
        self._values.write(window, values)

    def finish(self) -> None:
        self._family.write(self._path, self._values.whole, self._header)


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
        suffixes: those of its files, in lower case.
        parts: suffixes of files that only hold the values of one beside them, which has the same
            name and one of the other `suffixes`.
        beside: suffixes of files whose values are in a folder of the same name without it.
        spatial_dims: the numbers of spatial axes that its scans can have.
        selects: the fields of `Selection` that it understands.
        magic: what its files start with, whatever they are called; () for a family that goes by
            suffix.
        special: whether it takes precedence over other families with the same suffix, for files
            that it `claims` and headers that it `suits`.
        folder: whether its "files" are folders.
        nameless: its files need no suffix.
        gathers: with so many spatial axes, its files make scans together, see `gather`; a folder of
            them can be one.
        reads_only: whether it only reads.
        instead: a suffix for scans that this family can't hold.
    """

    suffixes: tuple[str, ...]
    spatial_dims: tuple[int, ...]
    selects: tuple[str, ...] = ()
    magic: tuple[bytes, ...] = ()
    special: bool = False
    parts: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
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
        raise NotImplementedError(f"{type(self).__name__} has no `gathers`")

    def claims(self, path: Path) -> bool:
        """Whether a special family handles a file that starts with its `magic`.

        For families of folders: whether a folder with its suffix is a scan.
        """
        return not self.special

    def suits(self, path: Path, header: Header) -> bool:
        """Whether a special family should write a scan to this path."""
        return not self.special

    @abstractmethod
    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        """Reads the header, but no values.

        Args:
            path: the file.
            spatial_dims: how many spatial axes the scan must have, one of the family's.
            selection: which part of the file; only fields that are in `selects` are given.

        Raises:
            UserError: the file holds something that a scan can't represent.
            Exception: whatever the family's library raises for a damaged file.
        """

    def write(self, path: Path, values: Values, header: Header) -> None:
        """Writes values (C, *spatial) to a file at once; their type is the header's.

        Families that are `reads_only` have none: nothing calls it there.

        Args:
            path: with one of the family's suffixes.
            values: of any memory layout.
            header: their place, and the metadata to keep.
        """
        raise NotImplementedError(f"{type(self).__name__} files are only read")

    def create(self, path: Path, header: Header) -> Writer:
        """Starts a file that is written window by window.

        By default, all values are collected first; families that can do better override this.
        """
        return _Gathered(self, path, header)

    def require(self, path: Path, header: Header) -> None:  # noqa: B027 - most need nothing
        """Raises a `UserError` where a package is missing, or the path must be of another kind."""

    def beyond(self, header: Header) -> list[str]:
        """What this family can't hold of a scan, in words; empty if it can hold everything."""
        return []


def beyond_photo(header: Header) -> list[str]:
    """What of a scan no photo has, in words: more than 4 channels, or other types than these."""
    beyond = [] if header.channels <= 4 else [f"{header.channels} channels"]
    if header.dtype not in (np.uint8, np.uint16):
        beyond.append(f"values of {header.dtype}")
    return beyond


def require_photo(header: Header) -> None:
    """Refuses what none of the image formats here can hold.

    Raises:
        ValueError: not 1 to 4 channels, not uint8 or uint16, or no pixels.
    """
    shape = (*header.shape, header.channels)
    if len(shape) != 3 or 0 in shape or header.channels > 4:
        raise ValueError(f"an image has shape (H, W, C) with 1 to 4 channels, not {shape}")
    if header.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"an image is uint8 or uint16, not {header.dtype}")
