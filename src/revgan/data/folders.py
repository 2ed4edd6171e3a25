"""Folders of scans as users of image translation have them, found without reading them."""

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
        half: the half of its width that is meant (left is A, right is B); None for all of it.
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
        """The scan; of a half, its last axis is half as long as the file's.

        Raises:
            UserError: the file can't be read, or is to be halved and has an odd width.
        """
        scan = read(self.path)
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


@dataclass(frozen=True)
class Split:
    """The scans of both domains for training, or for testing.

    Attributes:
        a: those of A, ordered by name.
        b: those of B, ordered by name.
        aligned: a[i] and b[i] show the same thing: they are halves of one file, or have the same
            name, as all of them then do.
    """

    a: tuple[ScanRef, ...] = ()
    b: tuple[ScanRef, ...] = ()
    aligned: bool = False

    def of(self, domain: DomainName) -> tuple[ScanRef, ...]:
        """Those of a domain."""
        return self.a if domain == "a" else self.b


@dataclass(frozen=True)
class Folder:
    """A folder of scans for training and, where there are any, for the test and validation."""

    root: Path
    train: Split
    test: Split | None
    val: Split | None


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


def find_scans(folder: Path | str, spatial_dims: int) -> list[Path]:
    """The files right inside a folder that hold scans, ordered by name; hidden ones are left out.

    Folders that formats count as files, such as those of OME-Zarr, are among them.

    Args:
        folder: where they are.
        spatial_dims: how many spatial axes they have: 2 for images, 3 for volumes.

    Raises:
        UserError: there is no such folder, or none in it.
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
            f"{folder} holds {held or 'no ' + many + '; '}put files in it that end in "
            f"{', '.join(suffixes(spatial_dims))}"
        )
    return sorted(found, key=lambda path: (stem(path), path.name))


def open_folder(root: Path | str, spatial_dims: int, *, paired: bool) -> Folder:
    """Finds the scans of a folder in one of two layouts, without reading them.

    Either `trainA` and `trainB` with scans of A and B, or, of images alone, `train` with files that
    show A on the left and B on the right. Those for the test are in folders called `test` in place
    of `train`, those for validation in `val`. Both may be missing; without `test`, `val` is for the
    test.

    Args:
        root: the folder.
        spatial_dims: 2 for images, 3 for volumes.
        paired: scans of A and B are pairs: in two folders, they go by the same names.

    Raises:
        UserError: no such folder, neither layout, no scans, or some without partner if paired.
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
        remedy = "" if name == "train" else f", or remove {present[0]}"  # tests may be missing
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
        f"{len(split.b)}, but to be paired each name must occur exactly once in both, unlike "
        f"{', '.join(alone[:3])}{more}"
    )


def _names_without_partner(a: Sequence[ScanRef], b: Sequence[ScanRef]) -> list[str]:
    """The names that don't occur exactly once in both."""
    in_a, in_b = (Counter(ref.name for ref in refs) for refs in (a, b))
    return [name for name in sorted(in_a | in_b) if (in_a[name], in_b[name]) != (1, 1)]
