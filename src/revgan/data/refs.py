"""References to scans, found in folders without reading them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from revgan.data.aligning import align
from revgan.data.formats import (
    KINDS,
    WHOLE,
    Header,
    Listing,
    Passed,
    Place,
    Scan,
    Selection,
    Values,
    gathered,
    is_scan,
    probe,
    read,
    scans_in,
    stem,
    suffix_of,
    suffixes,
)
from revgan.data.slices import Plane, Turn
from revgan.errors import UserError, notice

TOGETHER = 1e-2
"""Millimetres that affines of scans on one grid may differ by: formats round them."""

NAMED = 10
"""How many of the files skipped for one reason are named."""


@dataclass(frozen=True)
class ScanRef:
    """A scan that can be read: a file, a folder of slices, or a part of either.

    Attributes:
        path: the file or folder.
        half: which half of its width it is (left is A, right is B); None for the whole file.
        selection: which part of it to read, if it holds several scans.
        more: other files on the same grid, whose channels are appended.
        plane: which slice of a volume it is, as an image; None for the whole scan.
        label: its name, if that isn't the file's; "/" separates folders.
        root: the folder of scans that it belongs to; None for the folder that it is in.
        onto: the scan whose grid it is brought to; None keeps its own.
        nearest: whether to use nearest values for that, as for labels.
        subject: its subject, if its name says more than that.
    """

    path: Path
    half: Literal["left", "right"] | None = None
    selection: Selection = WHOLE
    more: tuple[Path, ...] = ()
    plane: Plane | None = None
    label: str = field(default="", compare=False)
    root: Path | None = field(default=None, compare=False)
    onto: "ScanRef | None" = None
    nearest: bool = False
    subject: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """The name that partners share: the file's name without its suffix, or `label`.

        A slice's name includes its number.
        """
        return self.whole if self.plane is None else f"{self.whole}-{self.plane.number:03d}"

    @property
    def whole(self) -> str:
        """The name of the whole scan, of which it may be a slice."""
        return self.label or stem(self.path)

    @property
    def group(self) -> str:
        """The subject, whose scans stay together when some are held out."""
        return self.subject or self.whole

    @property
    def folder(self) -> Path:
        """The folder of scans that it belongs to."""
        return self.root or self.path.parent

    @property
    def file_name(self) -> str:
        """The name of a file in the same format in an output folder."""
        return f"{self.name}{self.path.name[len(stem(self.path)) :]}"

    @property
    def files(self) -> list[Path]:
        """The files whose changes make the scan count as changed."""
        own = [file for path in (self.path, *self.more) for file in _files(path)]
        return own if self.onto is None else own + self.onto.files

    @property
    def part(self) -> list[Any]:
        """Which part of its files it is, as JSON values."""
        others = [] if self.onto is None else self.onto.part
        return [self.half, len(self.more), self.plane, *astuple(self.selection), *others]

    def __str__(self) -> str:
        if self.half is not None:
            return f"the {self.half} half of {self.path}"
        series = f" (series {self.selection.series})" if self.selection.series else ""
        more = f" (with {', '.join(path.name for path in self.more)})" if self.more else ""
        plane = f" ({self.plane.view} slice {self.plane.number})" if self.plane else ""
        return f"{self.path}{series}{more}{plane}"

    def header(self, spatial_dims: int | None = None) -> Header:
        """What its file says about it; for a half, about the whole.

        Raises:
            UserError: a file can't be read, or files that belong together aren't on one grid.
        """
        if self.plane is not None:
            return self.read().header
        headers = [probe(path, spatial_dims, self.selection) for path in (self.path, *self.more)]
        header = headers[0] if not self.more else joined(headers, (self.path, *self.more))
        if self.onto is None:
            return header
        grid = self.onto.header(spatial_dims)
        return replace(header, shape=grid.shape, affine=grid.affine, ground=grid.ground)

    def read(self, spatial_dims: int | None = None) -> Scan:
        """Reads the scan; a half's last axis is half as long as the file's.

        Args:
            spatial_dims: how many spatial axes it has; None for its format's usual number.

        Raises:
            UserError: the file can't be read, is to be halved but has an odd width, or files that
                belong to it aren't on its grid.
        """
        if self.plane is not None:
            changed = tuple(path.stat().st_mtime_ns for path in self.files)
            return _slice(_volume(replace(self, plane=None), changed), self.plane)
        scan = self._whole(spatial_dims)
        if self.onto is None:
            return scan
        return align(scan, self.onto.header(spatial_dims), str(self), nearest=self.nearest)

    def _whole(self, spatial_dims: int | None) -> Scan:
        """The scan on its own grid, of all its files."""
        scan = read(self.path, spatial_dims, self.selection)
        if self.more:
            scans = [scan, *(read(path, spatial_dims, self.selection) for path in self.more)]
            header = joined([each.header for each in scans], (self.path, *self.more))
            values = [_with_nodata(each, header) for each in scans]
            return replace(
                scan,
                values=np.concatenate(values),
                dtype=header.dtype,
                source=None,
                names=header.names,
                nodata=header.nodata,
            )
        if self.half is None:
            return scan
        width = scan.shape[-1]
        if width % 2:
            raise UserError(
                f"{self.path} has an odd width of {width}; an image with A on the left and B on "
                "the right must have two halves of equal width"
            )
        left, right = scan.values[..., : width // 2], scan.values[..., width // 2 :]
        return replace(scan, values=left if self.half == "left" else right)


@lru_cache(maxsize=2)
def _volume(ref: ScanRef, changed: tuple[int, ...]) -> Scan:
    """A volume whose slices are taken one after the other."""
    return ref.read(3)


def _slice(scan: Scan, plane: Plane) -> Scan:
    """A slice of a volume as an image, which has no place in space."""
    values = Turn.of(scan.place, plane.view).slices(scan.values)[:, plane.number]
    return replace(scan, values=np.ascontiguousarray(values), affine=None, source=None)


def joined(headers: Sequence[Header], paths: Sequence[Path]) -> Header:
    """The header of several scans whose channels are stacked.

    Raises:
        UserError: they aren't on one grid.
    """
    first = headers[0]
    for path, header in zip(paths[1:], headers[1:], strict=True):
        place, other = first.affine, header.affine
        moved = place is not None and other is not None and np.abs(place - other).max() > TOGETHER
        if header.shape != first.shape or moved:
            raise UserError(
                f"{paths[0]} and {path} aren't on one grid, as channels of one scan must be; "
                "resample one onto the other's grid"
            )
    dtype, nodata = np.result_type(*(header.dtype for header in headers)), first.nodata
    if any(header.nodata != nodata for header in headers):  # NaN stands for all of them
        dtype, nodata = np.result_type(dtype, np.float32), None
    names = tuple(name for header in headers for name in header.names)
    channels = sum(header.channels for header in headers)
    return replace(
        first,
        channels=channels,
        dtype=dtype,
        source=None,
        names=names if len(names) == channels else (),
        nodata=nodata,
    )


def _with_nodata(scan: Scan, header: Header) -> Values:
    """A scan's values in a header's type, with its nodata value."""
    values = scan.values.astype(header.dtype, copy=False)
    if scan.nodata is None or scan.nodata == header.nodata:
        return values
    return np.where(scan.values == scan.nodata, np.nan, values).astype(header.dtype)


def _files(path: Path) -> list[Path]:
    """A file, or the files of a folder that holds one scan."""
    if not path.is_dir():
        return [path]
    inside = path.rglob("*") if is_scan(path) else path.iterdir()
    return sorted(each for each in inside if each.is_file())


def existing_folder(folder: Path | str, what: str = "images") -> Path:
    """The folder as a path, after checking that it exists.

    Raises:
        UserError: it doesn't exist; the message asks for a folder of `what`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {problem}; give a folder of {what}")
    return folder


@dataclass(frozen=True)
class Scans:
    """The scans of a folder.

    Attributes:
        refs: ordered by name; at least one.
        passed: everything else, and why it is skipped.
        folder: the folder.
    """

    refs: tuple[ScanRef, ...]
    passed: tuple[Passed, ...]
    folder: Path

    def tell(self) -> None:
        """Tells the user what is skipped: how much, what and why."""
        by_reason: dict[str, list[str]] = {}
        for path, reason in self.passed:
            name = path.relative_to(self.folder) if path.is_relative_to(self.folder) else path
            by_reason.setdefault(reason, []).append(str(name))
        for reason, names in by_reason.items():
            more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
            many = "file is" if len(names) == 1 else "files are"
            if "folder" in reason:
                many = many.replace("file", "folder")
            notice(
                f"{len(names):,} {many} skipped in {self.folder} ({reason}): "
                f"{', '.join(names[:NAMED])}{more}"
            )


def find_scans(
    folder: Path | str, spatial_dims: int, *, recursive: bool = False, selection: Selection = WHOLE
) -> Scans:
    """The scans in a folder, ordered by name; hidden files don't count.

    Args:
        folder: the folder.
        spatial_dims: 2 for images, 3 for volumes.
        recursive: whether to search subfolders too; names then start with theirs.
        selection: which part of each file to read.

    Raises:
        UserError: there is no such folder, or it holds no scans.
    """
    folder = existing_folder(folder, KINDS[spatial_dims].many)
    found = scans_in(folder, spatial_dims, selection, recursive=recursive)
    if not found.scans:
        raise UserError(_nothing_in(folder, found, spatial_dims))
    return Scans(tuple(_ref(place, folder) for place in found.scans), found.passed, folder)


def given_scans(
    path: Path, spatial_dims: int, *, recursive: bool = False, selection: Selection = WHOLE
) -> Scans:
    """The scan at a path, which is a file or a folder that is a scan, or those in a folder.

    Args:
        path: a file or a folder.
        spatial_dims: as in `find_scans`.
        recursive: as in `find_scans`.
        selection: as in `find_scans`.

    Raises:
        UserError: there is nothing at the path.
    """
    if not path.is_dir() or suffix_of(path, spatial_dims):
        return Scans((ScanRef(path, selection=selection),), (), path.parent)
    own = gathered(path, spatial_dims, selection)
    if own is not None and len(own.scans) == 1 and own.scans[0].path == path:
        ref = ScanRef(path, selection=own.scans[0].selection)
        return Scans((ref,), own.passed, path)
    return find_scans(path, spatial_dims, recursive=recursive, selection=selection)


def _ref(place: Place, folder: Path) -> ScanRef:
    label = "" if place.name == stem(place.path) else place.name
    root = None if folder == place.path.parent else folder
    return ScanRef(place.path, selection=place.selection, label=label, root=root)


def _nothing_in(folder: Path, found: Listing, dims: int) -> str:
    """The error message for a folder without scans."""
    paths = [each.path for each in found.passed]
    unlike = [path for path in paths if not suffix_of(path, dims)]
    others = {each: [path for path in unlike if suffix_of(path, each)] for each in KINDS}
    another = next((each for each in others if others[each]), None)
    many = KINDS[dims].many
    if another is not None:
        kind = KINDS[another]
        return (
            f"{folder} holds {kind.many} such as {min(others[another]).name}; for these, set "
            f"data.spatial_dims {another}, for example by --preset {kind.preset}; or put files "
            f"there that end in {', '.join(suffixes(dims))}"
        )
    reasons = Counter(each.reason for each in found.passed).most_common(3)
    why = "; ".join(f"{count} skipped: {reason}" for reason, count in reasons)
    held = f" ({why})" if why else ""
    return (
        f"{folder} holds no {many}{held}; put files there that end in {', '.join(suffixes(dims))}"
    )
