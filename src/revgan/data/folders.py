"""Finds scans in the usual folder layouts of image translation, without reading them."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from revgan.data.formats import KINDS, WHOLE, Selection
from revgan.data.refs import ScanRef, Scans, existing_folder, find_scans
from revgan.directions import DomainName
from revgan.errors import UserError

HALVES: tuple[Literal["left"], Literal["right"]] = ("left", "right")
"""The halves of files that show A and B side by side."""


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


Finder = Callable[[Path], Scans]
"""Finds the scans of a folder."""


def open_folder(
    root: Path | str,
    spatial_dims: int,
    *,
    paired: bool,
    recursive: bool = False,
    selection: Selection = WHOLE,
) -> Folder:
    """Finds the scans of a folder in one of two layouts, without reading them.

    Either `trainA` and `trainB` with scans of A and B, or, for images only, `train` with files that
    show A on the left and B on the right. Test scans are in folders called `test` instead of
    `train`, validation scans in `val`. Both may be missing; without `test`, `val` is used for
    testing. The user is told what is skipped.

    Args:
        root: the folder.
        spatial_dims: 2 for images, 3 for volumes.
        paired: scans of A and B are pairs; in two folders, partners have the same name.
        recursive: whether to search subfolders too.
        selection: which part of each file to read.

    Raises:
        UserError: the folder doesn't exist, has neither layout or no scans, or a paired scan has no
            partner.
    """
    kind = KINDS[spatial_dims]
    find: Finder = partial(
        find_scans, spatial_dims=spatial_dims, recursive=recursive, selection=selection
    )
    many, halves = kind.many, ""
    root = existing_folder(root, many)
    layouts: list[Callable[[Path, str, Finder], Split | None]] = [_open_two_folders]
    if kind.halved:
        layouts.append(_open_side_by_side)
        halves = f", or a folder train of {many} with A on the left and B on the right"
    for open_layout in layouts:
        train = open_layout(root, "train", find)
        if train is None:
            continue
        test, val = (open_layout(root, name, find) for name in ("test", "val"))
        if test is None:
            test, val = val, None
        for split in (train, test, val):
            if paired and split is not None:
                _require_aligned(split, many)
        return Folder(root, train, test, val)
    raise UserError(
        f"{root} has no training {many}; it needs the folders trainA and trainB{halves}, or the "
        "options data.a and data.b, which say where the scans of each domain are"
    )


def _open_two_folders(root: Path, name: str, find: Finder) -> Split | None:
    folders = root / f"{name}A", root / f"{name}B"
    present = [folder.name for folder in folders if folder.is_dir()]
    if not present:
        return None
    if missing := [folder for folder in folders if not folder.exists()]:
        remedy = "" if name == "train" else f", or remove {present[0]}"  # test scans may be missing
        raise UserError(
            f"{missing[0]} does not exist, though {present[0]} does; give both folders{remedy}"
        )
    a, b = map(find, folders)
    a.tell()
    b.tell()
    return Split(a.refs, b.refs, aligned=not _names_without_partner(a.refs, b.refs))


def _open_side_by_side(root: Path, name: str, find: Finder) -> Split | None:
    folder = root / name
    if not folder.is_dir():
        return None
    found = find(folder)
    found.tell()
    a, b = (tuple(replace(ref, half=half) for ref in found.refs) for half in HALVES)
    return Split(a, b, aligned=True)


def _require_aligned(split: Split, many: str) -> None:
    if split.aligned:
        return
    alone = _names_without_partner(split.a, split.b)
    more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
    raise UserError(
        f"{split.a[0].folder} holds {len(split.a)} {many} and {split.b[0].folder} {len(split.b)}, "
        "but for pairs each name must occur exactly once in both, unlike "
        f"{', '.join(alone[:3])}{more}"
    )


def _names_without_partner(a: Sequence[ScanRef], b: Sequence[ScanRef]) -> list[str]:
    """The names that don't occur exactly once in both."""
    in_a, in_b = (Counter(ref.name for ref in refs) for refs in (a, b))
    return [name for name in sorted(in_a | in_b) if (in_a[name], in_b[name]) != (1, 1)]
