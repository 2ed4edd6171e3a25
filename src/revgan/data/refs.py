"""References to scans, found in folders without reading them."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from revgan.data import formats
from revgan.data.formats import (
    KINDS,
    WHOLE,
    Header,
    Listing,
    Passed,
    Place,
    Scan,
    Selection,
    Window,
    gathered,
    is_scan,
    scans_in,
    stem,
    suffix_of,
    suffixes,
)
from revgan.data.slices import Plane
from revgan.data.sources import Aligned, Kept, Part, Slice, Source, Stacked, scan_of
from revgan.errors import UserError, notice

NAMED = 10
"""How many of the files skipped for one reason are named."""

_BIDS_SUBJECT = re.compile(r"(?:^|[_/])sub-([a-zA-Z0-9]+)")


class Block(NamedTuple):
    """A part of a scan on a grid of blocks.

    Attributes:
        place: on that grid, along each axis.
        starts: the first position along each axis.
        stops: the end, exclusive.
    """

    place: tuple[int, ...]
    starts: tuple[int, ...]
    stops: tuple[int, ...]

    @property
    def window(self) -> Window:
        """The part of the scan that it is."""
        return tuple(slice(*ends) for ends in zip(self.starts, self.stops, strict=True))


@dataclass(frozen=True)
class ScanRef:
    """A scan that can be read: a file, a folder of slices, or a part of either.

    Attributes:
        path: the file or folder.
        half: which half of its width it is (left is A, right is B); None for the whole file.
        selection: which part of it to read, if it holds several scans.
        more: other files on the same grid, whose channels are appended.
        plane: which slice of a volume it is, as an image; None for the whole scan.
        block: which part of the scan it is; None for all of it.
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
    block: Block | None = None
    label: str = field(default="", compare=False)
    root: Path | None = field(default=None, compare=False)
    onto: "ScanRef | None" = None
    nearest: bool = False
    subject: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """The name that partners share: the file's name without its suffix, or `label`.

        A slice's name includes its number, and a block's its place.
        """
        if self.block is not None:
            return "-".join([self.whole, *(f"{number:02d}" for number in self.block.place)])
        return self.whole if self.plane is None else f"{self.whole}-{self.plane.number:03d}"

    @property
    def whole(self) -> str:
        """The name of the whole scan, of which it may be a slice."""
        return self.label or stem(self.path)

    @property
    def group(self) -> str:
        """The subject, whose scans stay together when some are held out."""
        return self.subject or self.known_subject or self.whole

    @property
    def known_subject(self) -> str | None:
        """The subject, if a pattern or a name such as sub-01_T1w (BIDS) tells it."""
        named = _BIDS_SUBJECT.search(self.subject or self.whole)
        return named[1] if named else self.subject or None

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
        own = [self.half, len(self.more), self.plane, *astuple(self.selection)]
        return [*own, *([] if self.block is None else [self.block]), *others]

    def __str__(self) -> str:
        if self.half is not None:
            return f"the {self.half} half of {self.path}"
        series = f" (series {self.selection.series})" if self.selection.series else ""
        more = f" (with {', '.join(path.name for path in self.more)})" if self.more else ""
        plane = f" ({self.plane.view} slice {self.plane.number})" if self.plane else ""
        block = ""
        if self.block is not None:
            block = f" (block {' '.join(map(str, self.block.place))})"
        return f"{self.path}{series}{more}{plane}{block}"

    def header(self, spatial_dims: int | None = None) -> Header:
        """What is known of it before any value is read.

        Raises:
            UserError: as `open`.
        """
        with self.open(spatial_dims) as source:
            return source.header

    def read(self, spatial_dims: int | None = None) -> Scan:
        """Reads the scan.

        Args:
            spatial_dims: how many spatial axes its file has; None for its format's usual number.

        Raises:
            UserError: as `open`, or a file is damaged.
        """
        with self.open(spatial_dims) as source:
            return scan_of(source)

    @contextmanager
    def open(self, spatial_dims: int | None = None) -> Iterator[Source]:
        """Opens its files, to read it window by window.

        Raises:
            UserError: a file can't be read, is to be halved but has an odd width, or files that
                belong together aren't on one grid.
        """
        dims = 3 if self.plane is not None else spatial_dims
        with ExitStack() as stack:
            paths = (self.path, *self.more)
            files = [
                stack.enter_context(formats.open(path, dims, self.selection)) for path in paths
            ]
            source: Source = Stacked(files, paths) if self.more else files[0]
            if self.half is not None:
                source = Part(source, self._half_of(source.header.shape))
            if self.onto is not None:
                grid = self.onto.header(dims)
                source = Aligned(source, grid, str(self), nearest=self.nearest)
            if (self.plane is not None or self.block is not None) and not source.windowed:
                whole, changed = replace(self, plane=None, block=None), self._changed
                source = Kept(source, lambda: _kept(whole, dims, changed))
            if self.block is not None:
                source = Part(source, self.block.window)
            yield source if self.plane is None else Slice(source, self.plane)

    @property
    def _changed(self) -> tuple[int, ...]:
        return tuple(path.stat().st_mtime_ns for path in self.files)

    def _half_of(self, shape: tuple[int, ...]) -> Window:
        *others, width = shape
        if width % 2:
            raise UserError(
                f"{self.path} has an odd width of {width}; an image with A on the left and B on "
                "the right must have two halves of equal width"
            )
        start = 0 if self.half == "left" else width // 2
        return (*(slice(0, side) for side in others), slice(start, start + width // 2))


@lru_cache(maxsize=2)
def _kept(ref: ScanRef, spatial_dims: int | None, changed: tuple[int, ...]) -> Scan:
    """A scan whose parts are taken one after the other."""
    return ref.read(spatial_dims)


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
    remedy = f"put files there that end in {', '.join(suffixes(dims))}"
    if any(path.is_dir() for path in paths):
        remedy = "descend, or name files by patterns, for training by data.a and data.b"
    return f"{folder} holds no {many}{held}; {remedy}"
