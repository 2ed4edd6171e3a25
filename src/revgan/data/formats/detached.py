"""Headers of MetaImage and NRRD: which files hold their values, and which axes are spatial.

Both are text, followed by the values or with the values in separate files.
"""

import re
from pathlib import Path, PurePosixPath, PureWindowsPath

from revgan.data.formats.physical import millimetres
from revgan.errors import UserError

MOST = 2**20
"""The largest size of a header's text, in bytes."""

LOCAL = ("local", "")
"""MetaImage's names for the file itself."""


def require_inside(path: Path) -> None:
    """Refuses a header whose values are outside its folder or missing.

    Raises:
        UserError: the message says which file it names.
    """
    text = _text(path)
    if len(text) == MOST and not _complete(text):
        raise UserError(f"{path} has a header of more than {MOST // 2**20} MiB; save it again")
    for name in _named(text):
        require_beside(path, name, "values")
        if "%" not in name and not (path.parent / name).is_file():
            raise UserError(
                f"{path} says that its values are in {name}, which isn't there; put it beside"
            )


def values_file(path: Path) -> Path | None:
    """The one file that a header names; None if there are several, or the values follow it."""
    named = _named(_text(path))
    return path.parent / named[0] if len(named) == 1 and "%" not in named[0] else None


def require_whole(path: Path, size: int) -> None:
    """Refuses a MetaImage's file of plain values that is too small, of which ITK fills the rest.

    Args:
        path: the header.
        size: bytes of the values.
    """
    packed = re.search(r"^\s*CompressedData\s*=\s*True", _text(path), re.MULTILINE | re.IGNORECASE)
    if not packed and (beside := values_file(path)) and beside.stat().st_size < size:
        raise UserError(
            f"{beside} is too small for what {path.name} says; replace it with an undamaged copy"
        )


def require_beside(path: Path, name: str, what: str) -> None:
    """Refuses a file that names another one outside its folder.

    A stranger's file could name any file on the machine.

    Args:
        path: the file.
        name: the other one's, or a pattern such as slice%03d.raw.
        what: what of the file is in there.

    Raises:
        UserError: it is outside, or leads there by a link.
    """
    plain = re.sub(r"%[0-9.]*[diu]", "0", name)
    parts = (*PurePosixPath(plain).parts, *PureWindowsPath(plain).parts)
    outside = PurePosixPath(plain).is_absolute() or PureWindowsPath(plain).anchor
    if outside or ".." in parts or not _within(path.parent / name, path.parent):
        raise UserError(
            f"{path} says that its {what} are in {name}, outside its folder; put both in one "
            "folder, and give only the file's name"
        )


def _within(target: Path, folder: Path) -> bool:
    try:
        return target.resolve().is_relative_to(folder.resolve())
    except (RuntimeError, OSError, ValueError):  # a loop of links, or a null character
        return False


def _complete(text: str) -> bool:
    """Whether the text has all of a header."""
    return "\n\n" in text if text.startswith("NRRD") else _META_FILE.search(text) is not None


_META_FILE = re.compile(r"^\s*ElementDataFile\s*[=:](.*)$", re.MULTILINE | re.IGNORECASE)
_NRRD_FILE = re.compile(r"^\s*data ?file\s*:(.*)$", re.MULTILINE | re.IGNORECASE)


def _text(path: Path) -> str:
    """The header's text; latin-1 can decode every byte."""
    with path.open("rb") as file:
        return file.read(MOST).decode("latin-1").replace("\r\n", "\n")


def _named(text: str) -> list[str]:
    """The files, or patterns of files, that a header names."""
    if text.startswith("NRRD"):
        text = text.partition("\n\n")[0]
        found = _NRRD_FILE.search(text)
    else:
        found = _META_FILE.search(text)
    named = found[1].strip(" \t\r=:") if found is not None else ""
    if found is None or (not text.startswith("NRRD") and named.lower() in LOCAL):
        return []
    after = text[found.end() :]
    if named.upper().startswith("LIST"):
        return [line.strip() for line in after.splitlines() if line.strip()]
    if "%" in named:  # followed by the first number, the last and the step
        return [re.sub(r"( +-?[0-9]+)+$", "", named)]
    return [named]


def millimetres_in_space(path: Path) -> list[float]:
    """Millimetres per unit along each axis of space of an NRRD; ITK takes all numbers for these.

    Units that aren't lengths count as millimetres, as do missing ones.
    """
    fields = _fields(_lines(_text(path)))
    units = re.findall(r'"([^"]*)"', fields.get("space units", ""))
    if not units:
        of_axes = re.findall(r'"([^"]*)"', fields.get("units", ""))
        spatial = _spatial(fields) or [True] * len(of_axes)
        if len(of_axes) == len(spatial):
            units = [unit for unit, each in zip(of_axes, spatial, strict=True) if each]
    return [millimetres(unit) or 1.0 for unit in units] if len(units) == 3 else [1.0] * 3


def _lines(text: str) -> list[str]:
    """The lines of an NRRD's header."""
    return text.partition("\n\n")[0].rstrip("\n").split("\n")


def _fields(lines: list[str]) -> dict[str, str]:
    """What an NRRD's header says, by the names of its fields."""
    return {
        name.strip().lower(): value.strip()
        for name, mark, value in (line.partition(": ") for line in lines)
        if mark and not name.startswith("#")
    }


def _spatial(fields: dict[str, str]) -> list[bool]:
    """Whether each axis of an NRRD is in space; [] if nothing says so."""
    directions = re.findall(r"none|\([^)]*\)", fields.get("space directions", ""))
    if directions:
        return [direction != "none" for direction in directions]
    return [number.lower() != "nan" for number in fields.get("spacings", "").split()]


def with_kinds(path: Path) -> str | None:
    """An NRRD header that says for every axis whether it is spatial, if `path` doesn't.

    Axes without a direction, or without a number as spacing, hold channels; ITK accepts that only
    if the header names their kind. The new header gives the full path of the file with the values.

    Returns:
        The text, or None if the header needs no change.

    Raises:
        UserError: the values are packed in a way that ITK can't read.
    """
    text = _text(path)
    if not text.startswith("NRRD"):
        return None
    lines = _lines(text)
    fields = _fields(lines)
    if fields.get("encoding", "").lower() in ("bzip2", "bz2"):
        raise UserError(f"{path} is packed by bzip2, which ITK can't read; save it with gzip")
    sizes, spatial = fields.get("sizes", "").split(), _spatial(fields)
    if len(spatial) != len(sizes) or all(spatial):
        return None
    kinds = ["domain" if each else "list" for each in spatial]
    said = fields.get("kinds", "").split()
    in_space = ("domain", "space", "time", "???", "none")
    if len(said) == len(sizes) and all(
        each or kind.lower() not in in_space for each, kind in zip(spatial, said, strict=True)
    ):
        return None
    kept = [line for line in lines if not re.match(r"(kinds|data ?file|line ?skip):", line, re.I)]
    kept.append(f"kinds: {' '.join(kinds)}")
    named = _named(text)
    if not named:  # the values follow the header and an empty line
        kept += [f"line skip: {len(lines) + 1}", f"data file: {path.resolve()}"]
    elif len(named) == 1 and "%" not in named[0]:
        skip = [line for line in lines if re.match(r"line ?skip:", line, re.I)]
        kept += [*skip, f"data file: {(path.parent / named[0]).resolve()}"]
    else:
        return None
    return "\n".join(kept) + "\n"
