"""Scans that can be read, found in folders without reading them."""

from collections import Counter
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from revgan.data.formats import (
    KINDS,
    WHOLE,
    Header,
    Listing,
    Passed,
    Place,
    Scan,
    Selection,
    gathered,
    is_scan,
    probe,
    read,
    scans_in,
    stem,
    suffix_of,
    suffixes,
)
from revgan.errors import UserError, notice

NAMED = 10
"""Files passed over for one reason that are named; of more, the first."""


@dataclass(frozen=True)
class ScanRef:
    """A scan that can be read: a file, a folder of slices, or a part of either.

    Attributes:
        path: the file or folder.
        half: the half of its width that is meant (left is A, right is B); None for all of it.
        selection: which part of it is meant, where it holds several scans.
        label: what it is called, where that isn't its file's name; "/" stands between folders.
        root: the folder whose scans it is one of; None for that which it lies in.
    """

    path: Path
    half: Literal["left", "right"] | None = None
    selection: Selection = WHOLE
    label: str = field(default="", compare=False)
    root: Path | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """By which it is matched with others: the file's name without its suffix, or `label`."""
        return self.label or stem(self.path)

    @property
    def folder(self) -> Path:
        """The folder whose scans it is one of."""
        return self.root or self.path.parent

    @property
    def file_name(self) -> str:
        """What a file of the same format is called beside others."""
        return f"{self.name}{self.path.name[len(stem(self.path)) :]}"

    @property
    def files(self) -> list[Path]:
        """What is read for it, as far as its changes are looked for."""
        if not self.path.is_dir():
            return [self.path]
        inside = self.path.rglob("*") if is_scan(self.path) else self.path.iterdir()
        return sorted(path for path in inside if path.is_file())

    @property
    def part(self) -> list[Any]:
        """What of its files it is, as JSON has it."""
        return [self.half, *astuple(self.selection)]

    def __str__(self) -> str:
        if self.half is not None:
            return f"the {self.half} half of {self.path}"
        return (
            f"{self.path} (series {self.selection.series})"
            if self.selection.series
            else str(self.path)
        )

    def header(self, spatial_dims: int | None = None) -> Header:
        """What its file says of it; of a half, what it says of all.

        Raises:
            UserError: the file can't be read.
        """
        return probe(self.path, spatial_dims, self.selection)

    def read(self, spatial_dims: int | None = None) -> Scan:
        """The scan; of a half, its last axis is half as long as the file's.

        Args:
            spatial_dims: how many spatial axes it has; None for what is usual in its format.

        Raises:
            UserError: the file can't be read, or is to be halved and has an odd width.
        """
        scan = read(self.path, spatial_dims, self.selection)
        if self.half is None:
            return scan
        width = scan.shape[-1]
        if width % 2:
            raise UserError(
                f"{self.path} has the odd width {width}; an image with A on the left and B on the "
                "right needs two halves of equal width"
            )
        left, right = scan.values[..., : width // 2], scan.values[..., width // 2 :]
        return replace(scan, values=left if self.half == "left" else right)


def existing_folder(folder: Path | str, what: str = "images") -> Path:
    """The folder, which is there.

    Raises:
        UserError: it isn't; asks for a folder of what is said.
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
        passed: what there is besides, and why it is passed over.
        folder: where they are.
    """

    refs: tuple[ScanRef, ...]
    passed: tuple[Passed, ...]
    folder: Path

    def tell(self) -> None:
        """Tells the user what is passed over: how much, what, and why."""
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
                f"{len(names):,} {many} passed over in {self.folder} ({reason}): "
                f"{', '.join(names[:NAMED])}{more}"
            )


def find_scans(
    folder: Path | str, spatial_dims: int, *, recursive: bool = False, selection: Selection = WHOLE
) -> Scans:
    """The scans in a folder, ordered by name; hidden files don't count.

    Args:
        folder: where they are.
        spatial_dims: how many spatial axes they have: 2 for images, 3 for volumes.
        recursive: looks into folders inside, too; names then begin with theirs.
        selection: which part of each file is meant.

    Raises:
        UserError: there is no such folder, or none in it.
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
        path: of a file or a folder.
        spatial_dims: as of `find_scans`.
        recursive: likewise.
        selection: likewise.

    Raises:
        UserError: nothing is there.
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
    return ScanRef(place.path, None, place.selection, label, root)


def _nothing_in(folder: Path, found: Listing, dims: int) -> str:
    """The sentence on a folder without scans."""
    paths = [each.path for each in found.passed]
    others = {each: [path for path in paths if suffix_of(path, each)] for each in KINDS}
    another = next((each for each in others if each != dims and others[each]), None)
    many = KINDS[dims].many
    if another is not None:
        kind = KINDS[another]
        return (
            f"{folder} holds {kind.many} such as {min(others[another]).name}; for these, set "
            f"data.spatial_dims {another}, for example by --preset {kind.preset}; or put files in "
            f"it that end in {', '.join(suffixes(dims))}"
        )
    reasons = Counter(each.reason for each in found.passed).most_common(3)
    why = "; ".join(f"{count} passed over: {reason}" for reason, count in reasons)
    held = f" ({why})" if why else ""
    return (
        f"{folder} holds no {many}{held}; put files in it that end in {', '.join(suffixes(dims))}"
    )
