"""References to scans, found in folders without reading them."""

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
    probe,
    read,
    scans_in,
    stem,
    suffix_of,
    suffixes,
)
from revgan.errors import UserError, notice

NAMED = 10
"""How many of the files skipped for one reason are named."""


@dataclass(frozen=True)
class ScanRef:
    """A scan that can be read: a file, a folder of slices, or a part of either.

    Attributes:
        path: the file or folder.
        half: which half of its width it is (left is A, right is B); None for the whole file.
        selection: which part of it to read, if it holds several scans.
        label: its name, if that isn't the file's; "/" separates folders.
        root: the folder of scans that it belongs to; None for the folder that it is in.
    """

    path: Path
    half: Literal["left", "right"] | None = None
    selection: Selection = WHOLE
    label: str = field(default="", compare=False)
    root: Path | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The name that partners share: the file's name without its suffix, or `label`."""
        return self.label or stem(self.path)

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
        if not self.path.is_dir():
            return [self.path]
        return sorted(path for path in self.path.iterdir() if path.is_file())

    @property
    def part(self) -> list[Any]:
        """Which part of its files it is, as JSON values."""
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
        """What its file says about it; for a half, about the whole.

        Raises:
            UserError: the file can't be read.
        """
        return probe(self.path, spatial_dims, self.selection)

    def read(self, spatial_dims: int | None = None) -> Scan:
        """Reads the scan; a half's last axis is half as long as the file's.

        Args:
            spatial_dims: how many spatial axes it has; None for its format's usual number.

        Raises:
            UserError: the file can't be read, or is to be halved but has an odd width.
        """
        scan = read(self.path, spatial_dims, self.selection)
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
    return ScanRef(place.path, None, place.selection, label, root)


def _nothing_in(folder: Path, found: Listing, dims: int) -> str:
    """The error message for a folder without scans."""
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
    why = "; ".join(f"{count} skipped: {reason}" for reason, count in reasons)
    held = f" ({why})" if why else ""
    return (
        f"{folder} holds no {many}{held}; put files in it that end in {', '.join(suffixes(dims))}"
    )
