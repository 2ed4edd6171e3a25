"""Finds scans in the usual folder layouts of image translation, without reading them."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from revgan.data.formats import KINDS, Scan, is_scan, read, stem, suffixes
from revgan.directions import DomainName
from revgan.errors import UserError


@dataclass(frozen=True)
class ScanRef:
    """A scan that can be read: a file, or one half of a file that holds A and B side by side.

    Attributes:
        path: the file.
        half: which half of its width it is (left is A, right is B); None for the whole file.
    """

    path: Path
    half: Literal["left", "right"] | None = None

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return stem(self.path)

    def __str__(self) -> str:
        return str(self.path) if self.half is None else f"the {self.half} half of {self.path}"

    def read(self) -> Scan:
        """Reads the scan; a half's last axis is half as long as the file's.

        Raises:
            UserError: the file can't be read, or is to be halved but has an odd width.
        """
        scan = read(self.path)
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


@dataclass(frozen=True)
class Split:
    """The scans of both domains for one purpose, such as training.

    Attributes:
        a: those of A, ordered by name.
        b: those of B, ordered by name.
        aligned: a[i] and b[i] show the same thing: they are halves of one file, or have the same
            name. This holds for all of them or none.
    """

    a: tuple[ScanRef, ...] = ()
    b: tuple[ScanRef, ...] = ()
    aligned: bool = False

    def of(self, domain: DomainName) -> tuple[ScanRef, ...]:
        """The scans of a domain."""
        return self.a if domain == "a" else self.b


@dataclass(frozen=True)
class Folder:
    """A folder of scans for training and, if there are any, for testing and validation."""

    root: Path
    train: Split
    test: Split | None
    val: Split | None


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


def find_scans(folder: Path | str, spatial_dims: int) -> list[Path]:
    """The files directly in a folder that hold scans, ordered by name, without hidden ones.

    Folders that formats count as files, such as those of OME-Zarr, are among them.

    Args:
        folder: the folder.
        spatial_dims: 2 for images, 3 for volumes.

    Raises:
        UserError: there is no such folder, or it holds no scans.
    """
    many = KINDS[spatial_dims].many
    paths = [
        path for path in existing_folder(folder, many).iterdir() if not path.name.startswith(".")
    ]
    found = [path for path in paths if is_scan(path, spatial_dims)]
    if not found:
        others = {dims: [path for path in paths if is_scan(path, dims)] for dims in KINDS}
        dims = next((dims for dims in others if others[dims]), None)
        held = ""
        if dims is not None:
            kind = KINDS[dims]
            held = (
                f"{kind.many} such as {min(others[dims]).name}; for these, set data.spatial_dims "
                f"{dims}, for example by --preset {kind.preset}; or "
            )
        raise UserError(
            f"{folder} holds {held or 'no ' + many + '; '}put files there that end in "
            f"{', '.join(suffixes(spatial_dims))}"
        )
    return sorted(found, key=lambda path: (stem(path), path.name))


def open_folder(root: Path | str, spatial_dims: int, *, paired: bool) -> Folder:
    """Finds the scans of a folder in one of two layouts, without reading them.

    Either `trainA` and `trainB` with scans of A and B, or, for images only, `train` with files that
    show A on the left and B on the right. Test scans are in folders called `test` instead of
    `train`, validation scans in `val`. Both may be missing; without `test`, `val` is used for
    testing.

    Args:
        root: the folder.
        spatial_dims: 2 for images, 3 for volumes.
        paired: scans of A and B are pairs; in two folders, partners have the same name.

    Raises:
        UserError: the folder doesn't exist, has neither layout or no scans, or a paired scan has no
            partner.
    """
    kind = KINDS[spatial_dims]
    many, halves = kind.many, ""
    root = existing_folder(root, many)
    layouts: list[Callable[[Path, str, int], Split | None]] = [_open_two_folders]
    if kind.halved:
        layouts.append(_open_side_by_side)
        halves = f", or a folder train of {many} with A on the left and B on the right"
    for open_layout in layouts:
        train = open_layout(root, "train", spatial_dims)
        if train is None:
            continue
        test, val = (open_layout(root, name, spatial_dims) for name in ("test", "val"))
        if test is None:
            test, val = val, None
        for split in (train, test, val):
            if paired and split is not None:
                _require_aligned(split, many)
        return Folder(root, train, test, val)
    raise UserError(
        f"{root} has no training {many}; it needs the folders trainA and trainB{halves}"
    )


def _open_two_folders(root: Path, name: str, spatial_dims: int) -> Split | None:
    folders = root / f"{name}A", root / f"{name}B"
    present = [folder.name for folder in folders if folder.is_dir()]
    if not present:
        return None
    if missing := [folder for folder in folders if not folder.exists()]:
        remedy = "" if name == "train" else f", or remove {present[0]}"  # test scans may be missing
        raise UserError(
            f"{missing[0]} does not exist, though {present[0]} does; give both folders{remedy}"
        )
    a, b = (tuple(ScanRef(path) for path in find_scans(folder, spatial_dims)) for folder in folders)
    return Split(a, b, aligned=not _names_without_partner(a, b))


def _open_side_by_side(root: Path, name: str, spatial_dims: int) -> Split | None:
    folder = root / name
    if not folder.is_dir():
        return None
    files = find_scans(folder, spatial_dims)
    a = tuple(ScanRef(file, "left") for file in files)
    b = tuple(ScanRef(file, "right") for file in files)
    return Split(a, b, aligned=True)


def _require_aligned(split: Split, many: str) -> None:
    if split.aligned:
        return
    alone = _names_without_partner(split.a, split.b)
    more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
    raise UserError(
        f"{split.a[0].path.parent} holds {len(split.a)} {many} and {split.b[0].path.parent} "
        f"{len(split.b)}, but for pairs each name must occur exactly once in both, unlike "
        f"{', '.join(alone[:3])}{more}"
    )


def _names_without_partner(a: Sequence[ScanRef], b: Sequence[ScanRef]) -> list[str]:
    """The names that don't occur exactly once in both."""
    in_a, in_b = (Counter(ref.name for ref in refs) for refs in (a, b))
    return [name for name in sorted(in_a | in_b) if (in_a[name], in_b[name]) != (1, 1)]
