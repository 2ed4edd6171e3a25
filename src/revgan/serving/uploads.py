"""What people upload: files of one scan, alone or in a ZIP archive."""

import os
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from revgan.data.formats import KINDS, stem, suffix_of
from revgan.data.refs import ScanRef, given_scans
from revgan.errors import UserError
from revgan.memory import format_bytes

SERIES = "series"
"""What a folder is called, and with it a scan of several files that don't name it."""

MOST_MEMBERS = 100_000
"""The most files that an archive may hold; a series or an OME-Zarr has thousands."""


def uploaded_scan(uploads: Sequence[Path], folder: Path, dims: int, most: int) -> ScanRef:
    """The scan that uploaded files are, brought into a folder of their own.

    Args:
        uploads: one file, several that make one scan (a DICOM series, .mhd with .raw), or a ZIP
            archive of such files or of a folder (OME-Zarr).
        folder: an empty folder. Files are linked into it, so that the server may drop its own.
        dims: spatial axes of the scan.
        most: bytes that the files may have together, and an archive unpacked.

    Raises:
        UserError: they aren't one scan, or are too large.
    """
    if not uploads:
        raise UserError("there is no file yet; drop one first")
    size = sum(path.stat().st_size for path in uploads)
    if size > most:
        raise UserError(
            f"the files have {format_bytes(size)} together, and this page takes "
            f"{format_bytes(most)}; use revgan translate for larger ones"
        )
    if len(uploads) == 1 and uploads[0].suffix.lower() == ".zip":
        place = _unpack(uploads[0], folder, most)
    else:
        place = _link(uploads, folder)
    found = given_scans(place, dims, recursive=True).refs
    if len(found) != 1:
        raise UserError(
            f"these files are {len(found)} {KINDS[dims].many}; drop the files of one at a time"
        )
    return found[0]


def unpacked(uploads: Sequence[Path]) -> int:
    """Bytes of the files that uploads become beside themselves: those of archives."""
    total = 0
    for archive in uploads:
        if archive.suffix.lower() != ".zip":
            continue
        damaged = suppress(zipfile.BadZipFile, NotImplementedError, OSError)  # which is told later
        with damaged, zipfile.ZipFile(archive) as opened:
            total += sum(member.file_size for member in opened.infolist())
    return total


def _link(uploads: Sequence[Path], folder: Path) -> Path:
    """Brings files into a folder beside each other; returns the only file, or that folder."""
    names = [path.name for path in uploads]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"two of the files are called {twice}; rename one")
    inside = folder / SERIES
    inside.mkdir()
    for path in uploads:
        os.link(path, inside / path.name)
    return inside if len(names) > 1 else inside / names[0]


def _unpack(archive: Path, folder: Path, most: int) -> Path:
    """Unpacks a ZIP archive into a folder, which it returns.

    Raises:
        UserError: it is damaged, encrypted or too large, or holds names that lead out of it.
    """
    named = stem(archive)  # x.ome.zarr of x.ome.zarr.zip
    inside = folder / (stem(named).strip(".") or SERIES)
    inside.mkdir()
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [m for m in opened.infolist() if not m.filename.endswith(("/", "\\"))]
            _check(archive, members, most)
            for member in members:
                opened.extract(member, inside)  # of at most the size that it declares
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        # Zipfile says RuntimeError of encrypted members, and OSError of names that are too long.
        raise UserError(
            f"{archive.name} can't be unpacked; give an undamaged ZIP archive without a password"
        ) from error
    if suffix_of(named) and not any(suffix_of(each) for each in inside.iterdir()):
        return inside.rename(folder / named)  # what is in the folder was packed without it
    return inside


def _check(archive: Path, members: Sequence[zipfile.ZipInfo], most: int) -> None:
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or not name.parts or ":" in name.parts[0]:
            raise UserError(
                f"{archive.name} holds {member.filename}, a name that leads out of the archive; "
                "pack the files again"
            )
    size = sum(member.file_size for member in members)
    if size > most or len(members) > MOST_MEMBERS:
        raise UserError(
            f"{archive.name} unpacks to {format_bytes(size)} in {len(members)} "
            f"file{'s' * (len(members) != 1)}, and this page takes {format_bytes(most)} in "
            f"{MOST_MEMBERS}"
        )
