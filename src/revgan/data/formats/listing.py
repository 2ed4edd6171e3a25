"""What a folder holds: its scans, and everything else with the reason why it isn't one."""

from collections import defaultdict
from pathlib import Path

from revgan.data.formats.contract import Family, Listing, Passed, Place, Selection
from revgan.data.formats.entries import unreadable, visible
from revgan.data.formats.kinds import KINDS
from revgan.data.formats.registry import families, family_of, stem, suffix_of

NOT_DESCENDED = "a folder; data.recursive true descends"


def scans_in(
    folder: Path, spatial_dims: int, selection: Selection, *, recursive: bool = False
) -> Listing:
    """The scans in a folder, ordered by name; hidden files and folders don't count.

    DICOM files make volumes together: those of one series in the folder itself, or in a subfolder,
    which gives the volume its name.

    Args:
        folder: an existing folder.
        spatial_dims: 2 for images, 3 for volumes.
        selection: which part of each file to read.
        recursive: whether to search subfolders too; names then start with theirs.

    Raises:
        UserError: the folder can't be read.
    """
    found = _listed(folder, spatial_dims, selection, recursive, frozenset())
    return Listing(tuple(sorted(found.scans, key=lambda scan: (scan.name, scan.path.name))),
                   found.passed)  # fmt: skip


def gathered(folder: Path, dims: int, selection: Selection) -> Listing | None:
    """The scans that a folder's files make together; None if they don't make any."""
    by_family: dict[Family, list[Path]] = defaultdict(list)
    for path in visible(folder):
        family = family_of(path, dims) if path.is_file() else None
        if family is not None and dims in family.gathers:
            by_family[family].append(path)
    parts = [family.gather(files, selection) for family, files in by_family.items()]
    return parts[0] if parts else None


def _listed(
    folder: Path, dims: int, selection: Selection, recursive: bool, above: frozenset[Path]
) -> Listing:
    entries = visible(folder)
    by_family: dict[Family, list[Path]] = defaultdict(list)
    names = {path.name.lower() for path in entries}
    parts: list[Listing] = []
    passed: list[Passed] = []
    for path in entries:
        family = family_of(path, dims)
        if _is_part(path, dims, names):
            continue
        if path.is_dir() and (family is None or family.gathers):
            parts.append(_inside(path, dims, selection, recursive, above | {folder.resolve()}))
        elif family is None:
            passed.append(Passed(path, _reason(path, dims)))
        else:
            by_family[family].append(path)
    for family, files in by_family.items():
        if dims in family.gathers:
            parts.append(family.gather(files, selection))
        else:
            parts.append(Listing(tuple(Place(path, selection, stem(path)) for path in files)))
    return Listing(
        tuple(scan for part in parts for scan in part.scans),
        (*passed, *(each for part in parts for each in part.passed)),
    )


def _inside(
    folder: Path, dims: int, selection: Selection, recursive: bool, above: frozenset[Path]
) -> Listing:
    """What a subfolder adds to the listing."""
    own = gathered(folder, dims, selection)
    if own is not None and (own.scans or not recursive):
        alone = len(own.scans) == 1
        scans = tuple(
            scan._replace(name=folder.name if alone else f"{folder.name}-{scan.name}")
            for scan in own.scans
        )
        return Listing(scans, own.passed)
    if not recursive:
        return Listing(passed=(Passed(folder, NOT_DESCENDED),))
    if folder.resolve() in above:
        return Listing(passed=(Passed(folder, "a link to a folder that it is in"),))
    inside = _listed(folder, dims, selection, recursive, above)
    scans = tuple(scan._replace(name=f"{folder.name}/{scan.name}") for scan in inside.scans)
    return Listing(scans, inside.passed)


def _is_part(path: Path, dims: int, names: set[str]) -> bool:
    """Whether it only holds the values of another file, as x.img does for x.hdr.

    So does the folder x for x.mrxs.
    """
    name = path.name.lower()
    if path.is_dir():
        beside = [suffix for family in families() for suffix in family.beside]
        return any(f"{name}{suffix}" in names for suffix in beside)
    return any(
        f"{name[: -len(part)]}{whole}" in names
        for family in families()
        if family.takes(dims)
        for part in family.parts
        if name.endswith(part)
        for whole in set(family.suffixes) - set(family.parts)
    )


def passed_over(path: Path, dims: int) -> str | None:
    """Why a file isn't a scan of so many spatial axes, by name and first bytes; None if it is."""
    return _reason(path, dims) if family_of(path, dims) is None else None


def _reason(path: Path, dims: int) -> str:
    if why := unreadable(path):
        return why
    other = next((KINDS[each] for each in KINDS if suffix_of(path, each)), None)
    if other is not None:
        return f"{other.article} by its suffix"
    kind = KINDS[dims].many
    return f"{path.suffix} isn't a format for {kind}" if path.suffix else f"not a format for {kind}"
