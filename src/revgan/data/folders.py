"""Finds scans in the usual folder layouts of image translation, without reading them."""

import hashlib
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from revgan.data.config import SplitName
from revgan.data.formats import KINDS, WHOLE, Passed, Selection
from revgan.data.patterns import Found, domain_scans, matched
from revgan.data.refs import ScanRef, Scans, existing_folder, find_scans
from revgan.data.slices import Plane, Turn
from revgan.data.views import View
from revgan.directions import DomainName
from revgan.errors import UserError, notice

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

    def onto_a(self, nearest: bool) -> "Split":
        """Brings each scan of B onto the grid of its partner in A, if `nearest` without mixing."""
        if not self.aligned:
            return self
        pairs = zip(self.a, self.b, strict=True)
        return replace(self, b=tuple(replace(b, onto=a, nearest=nearest) for a, b in pairs))

    def of(self, domain: DomainName) -> tuple[ScanRef, ...]:
        """The scans of a domain."""
        return self.a if domain == "a" else self.b

    def reading(self, a: Selection, b: Selection) -> "Split":
        """The same scans, with the parts to read."""
        return replace(
            self,
            a=tuple(replace(ref, selection=a.over(ref.selection)) for ref in self.a),
            b=tuple(replace(ref, selection=b.over(ref.selection)) for ref in self.b),
        )


@dataclass(frozen=True)
class Folder:
    """A folder of scans for training and, if there are any, for testing and validation."""

    root: Path
    train: Split
    test: Split | None
    val: Split | None

    def reading(self, a: Selection, b: Selection) -> "Folder":
        """The same scans, of which parts are read: of A's and of B's."""
        train, test, val = (
            split and split.reading(a, b) for split in (self.train, self.test, self.val)
        )
        return Folder(self.root, train or self.train, test, val)


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
                require_aligned(split, many)
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


def open_patterns(
    root: Path,
    patterns: Mapping[SplitName, tuple[Sequence[str], Sequence[str]]],
    spatial_dims: int,
    *,
    paired: bool,
    recursive: bool = False,
    selection: Selection = WHOLE,
) -> Folder:
    """Finds the scans of both domains by patterns of their paths, see `revgan.data.patterns`.

    The user is told what is skipped; for pairs, also what has no partner.

    Args:
        root: the folder that patterns begin in.
        patterns: of A and B, at least for "train"; several for a domain if their scans are channels
            of one.
        spatial_dims: as in `open_folder`.
        paired: whether scans of A and B are pairs, whose wildcards stand for the same text.
        recursive: as in `open_folder`.
        selection: as in `open_folder`.

    Raises:
        UserError: a pattern finds nothing, or nothing that belongs together.
    """
    splits: dict[str, Split] = {}
    for name, both in patterns.items():
        found: dict[str, Found] = {}
        for domain, several in zip("AB", both, strict=True):
            found[domain], scans = domain_scans(
                root, several, spatial_dims, recursive=recursive, selection=selection
            )
            scans.tell()
        splits[name] = _matched_split(root, found, paired=paired)
    return Folder(root, splits["train"], splits.get("test"), splits.get("val"))


def _matched_split(root: Path, found: Mapping[str, Found], *, paired: bool) -> Split:
    try:
        together, alone = matched(found)
    except UserError:
        if paired:
            raise
        together, alone = {}, {"A": list(found["A"].values())}
    if paired:
        for domain, other in ("AB", "BA"):
            reason = f"nothing in {other} belongs to it"
            Scans((), tuple(Passed(ref.path, reason) for ref in alone[domain]), root).tell()
    aligned = paired or not any(alone.values())
    a, b = (tuple((together if aligned else found)[domain].values()) for domain in "AB")
    if aligned:  # their wildcards may stand for more than the subject
        b = tuple(replace(theirs, subject=own.group) for own, theirs in zip(a, b, strict=True))
    return Split(a, b, aligned=aligned)


def hold_out(folder: Folder, test: float, val: float) -> Folder:
    """Takes a share of the training scans for the test and for validation.

    A subject's scans stay together, in A and B. The choice depends only on the subjects' names, so
    subjects that are added later change little.

    Args:
        folder: with both domains.
        test: the share of subjects for the test; nothing is taken if there is one already.
        val: the same for validation.

    Raises:
        UserError: nothing would be left for training.
    """
    train = folder.train
    subjects = _subjects(train)
    total = len(subjects)
    taken: list[Split | None] = []
    for share, own in ((test, folder.test), (val, folder.val)):
        if own is not None or not share:
            taken.append(own)
            continue
        count = max(1, round(share * total))
        chosen, subjects = set(subjects[:count]), subjects[count:]
        taken.append(_of_subjects(train, chosen))
    rest = _of_subjects(train, set(subjects))
    for split in (rest, *taken):
        if split is not None and not (split.a and split.b):
            raise UserError(
                f"{folder.root} has too few subjects to hold {test:g} of them out for the test and "
                f"{val:g} for validation; lower data.test_share or data.val_share"
            )
    return Folder(folder.root, rest, *taken)


def hold_out_fold(folder: Folder, fold: int, folds: int) -> Folder:
    """Takes one of several equal parts of the training scans for the test.

    A subject's scans stay together, in A and B, and each subject is in the test of one fold. A test
    set that the folder has is left alone, for the model that is chosen in the end.

    Args:
        folder: with both domains.
        fold: which part, from 1.
        folds: how many there are.

    Raises:
        UserError: there are too few subjects.
    """
    if folder.test is not None:
        notice(
            f"the folds are of the training scans; the test scans of {folder.root} are left alone, "
            "for the model chosen in the end"
        )
    train = folder.train
    subjects = _subjects(train)
    chosen = set(subjects[fold - 1 :: folds])
    test, rest = _of_subjects(train, chosen), _of_subjects(train, set(subjects) - chosen)
    for split in (test, rest):
        if not (split.a and split.b):
            raise UserError(
                f"{folder.root} has too few subjects, {len(subjects)} in all, for {folds} folds "
                "with scans of A and B in each; lower the number of folds"
            )
    return replace(folder, train=rest, test=test)


def require_apart(folder: Folder) -> None:
    """Refuses a subject, or a scan, that is in two splits: scores would be too good.

    Subjects are known by patterns, or by names such as sub-01_T1w.

    Raises:
        UserError: names it.
    """
    splits = {"training": folder.train, "test": folder.test, "validation": folder.val}
    found: dict[object, str] = {}
    for name, split in splits.items():
        refs = () if split is None else split.a + split.b
        known: dict[object, str] = {ref: str(ref) for ref in refs}
        subjects = {ref.known_subject for ref in refs} - {None}
        known |= {subject: f"subject {subject}" for subject in subjects}
        for key, said in known.items():
            if key in found:
                raise UserError(
                    f"{said} is among both the {found[key]} and the {name} scans of {folder.root}, "
                    "so that its scores would be too good; keep it in one of them"
                )
        found |= dict.fromkeys(known, name)


def sliced(folder: Folder, view: View) -> Folder:
    """Replaces volumes with their slices; pairs of volumes become pairs of slices.

    Raises:
        UserError: a volume can't be read, or a pair has different numbers of slices.
    """
    return Folder(
        folder.root,
        _sliced(folder.train, view),
        folder.test and _sliced(folder.test, view),
        folder.val and _sliced(folder.val, view),
    )


def _sliced(split: Split, view: View) -> Split:
    a, b = ([_planes(ref, view) for ref in refs] for refs in (split.a, split.b))
    for ours, theirs in zip(a, b, strict=True) if split.aligned else ():
        if len(ours) != len(theirs):
            raise UserError(
                f"{ours[0].path} has {len(ours)} {view} slices and {theirs[0].path} {len(theirs)}; "
                "paired volumes must have the same grid, so resample one onto the other's"
            )
    return Split(
        tuple(ref for refs in a for ref in refs),
        tuple(ref for refs in b for ref in refs),
        aligned=split.aligned,
    )


def _planes(ref: ScanRef, view: View) -> list[ScanRef]:
    header = ref.header(3)
    affine = np.eye(4) if header.affine is None else header.affine
    count = Turn.of(affine, view).count(header.shape)
    return [replace(ref, plane=Plane(view, number)) for number in range(count)]


def _subjects(split: Split) -> list[str]:
    """All subjects, in an order that depends on their names alone."""
    return sorted({ref.group for ref in split.a + split.b}, key=_shuffled)


def _of_subjects(split: Split, subjects: Container[str]) -> Split:
    a, b = (tuple(ref for ref in refs if ref.group in subjects) for refs in (split.a, split.b))
    return Split(a, b, aligned=split.aligned)


def _shuffled(subject: str) -> str:
    return hashlib.sha256(subject.encode()).hexdigest()


def require_aligned(split: Split, many: str) -> None:
    """Refuses scans of A and B that don't have the same names.

    Raises:
        UserError: names some that stand alone.
    """
    if split.aligned:
        return
    alone = _names_without_partner(split.a, split.b)
    more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
    raise UserError(
        f"{split.a[0].folder} holds {len(split.a)} {many} and {split.b[0].folder} {len(split.b)}, "
        "but for pairs each name must occur exactly once in both, unlike "
        f"{', '.join(alone[:3])}{more}; name partners alike, or set data.a and data.b to patterns "
        "whose wildcards stand for the same text in both"
    )


def _names_without_partner(a: Sequence[ScanRef], b: Sequence[ScanRef]) -> list[str]:
    """The names that don't occur exactly once in both."""
    in_a, in_b = (Counter(ref.name for ref in refs) for refs in (a, b))
    return [name for name in sorted(in_a | in_b) if (in_a[name], in_b[name]) != (1, 1)]
