"""The families of formats, and which one a file belongs to."""

import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from inspect import isabstract
from itertools import chain
from pathlib import Path
from typing import Any

from revgan.data.formats.contract import Family, Header
from revgan.data.formats.entries import first_bytes, unreadable, visible
from revgan.data.formats.kinds import KINDS
from revgan.errors import UserError


@cache
def families() -> tuple[Family, ...]:
    """All families, special ones first: one of each subclass of `Family` in this package."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules([str(Path(__file__).parent)], f"{package}."):
        import_module(module.name)
    found = [family() for family in _below(Family) if not isabstract(family)]
    return tuple(sorted(found, key=lambda family: not family.special))


def _below(family: type[Any]) -> Iterator[type[Any]]:
    for each in family.__subclasses__():
        yield each
        yield from _below(each)


def suffixes(spatial_dims: int | None = None) -> tuple[str, ...]:
    """The suffixes of scans with this many spatial axes; by default of all scans."""
    of_families = (family.suffixes for family in families() if family.takes(spatial_dims))
    return tuple(dict.fromkeys(chain.from_iterable(of_families)))


def suffix_of(path: Path | str, spatial_dims: int | None = None) -> str | None:
    """The longest of `suffixes` that a path ends in, ignoring case; None if there is none."""
    name = Path(path).name.lower()
    fitting = (suffix for suffix in suffixes(spatial_dims) if name.endswith(suffix))
    return max(fitting, key=len, default=None)


def stem(path: Path | str) -> str:
    """A file's name without its suffix, such as ``t1`` of ``t1.nii.gz``."""
    path = Path(path)
    suffix = suffix_of(path) or path.suffix
    return path.name[: -len(suffix)] if suffix else path.name


def known_suffix(path: Path, spatial_dims: int | None) -> str:
    """The suffix of a path.

    Raises:
        UserError: no format for scans with this many spatial axes has it.
    """
    suffix = suffix_of(path, spatial_dims)
    if suffix is not None:
        return suffix
    wanted = [kind for dims, kind in KINDS.items() if spatial_dims in (None, dims)]
    other = next((kind.article for dims, kind in KINDS.items() if suffix_of(path, dims)), None)
    found = other or "not " + " or ".join(kind.article for kind in wanted)
    many = " or ".join(kind.many for kind in wanted)
    raise UserError(
        f"{path} is {found} by its suffix; {many} end in {', '.join(suffixes(spatial_dims))}"
    )


def is_scan(path: Path, spatial_dims: int | None = None) -> bool:
    """Whether a path has a scan's suffix and is a file, or a folder that counts as one."""
    suffix = suffix_of(path, spatial_dims)
    if suffix is None:
        return False
    return path.is_dir() == next(each.folder for each in families() if suffix in each.suffixes)


def reading_family(path: Path, spatial_dims: int | None) -> Family:
    """The family that reads a file, found by its first bytes, as many PNGs are called .jpg.

    If the suffix's family has no magic bytes, it is that one. What has no known suffix is of a
    family whose files need none.

    Args:
        path: the file.
        spatial_dims: how many spatial axes its scan must have; None for any.

    Raises:
        UserError: there is no such file, no family has the suffix, or the file starts otherwise.
    """
    if suffix_of(path) is None and (found := _nameless(path, spatial_dims)):
        return found
    suffix = known_suffix(path, spatial_dims)
    family = next(each for each in families() if suffix in each.suffixes)
    head = b"" if path.is_dir() and (family.folder or family.gathers) else first_bytes(path)
    if family.folder and not family.claims(path):
        raise UserError(
            f"{path} isn't a folder of {type(family).__name__} despite its name; replace it with "
            "an undamaged copy"
        )
    if not family.magic:
        return family
    dims = spatial_dims or family.spatial_dims[0]
    marked = [each for each in families() if each.takes(dims) and each.magic]
    fitting = (each for each in marked if each.starts(head))
    found = next((each for each in fitting if each.claims(path)), None)
    if found is None:
        held = f"not {KINDS[dims].article} despite its name" if head else "an empty file"
        known = ", ".join(type(each).__name__.upper() for each in marked if not each.special)
        raise UserError(f"{path} is {held}; replace it with a file of one of these kinds: {known}")
    return found


def writing_family(path: Path, header: Header) -> Family:
    """The family that writes a scan to a path.

    Raises:
        UserError: no family has its suffix, or only such as write files of their own.
    """
    suffix, dims = suffix_of(path, len(header.shape)), len(header.shape)
    if suffix is None:
        nameless = (each for each in families() if each.nameless and each.suits(path, header))
        if found := next(nameless, None):
            return found
        suffix = known_suffix(path, dims)
    named = [each for each in families() if suffix in each.suffixes and each.takes(dims)]
    if found := next((each for each in named if each.suits(path, header)), None):
        return found
    others = (
        other
        for each in named
        for other in each.suffixes
        if each.suits(path.with_name(f"x{other}"), header)
    )
    raise UserError(
        f"{path} can only be {KINDS[dims].article} that is made of such a file; use the suffix "
        f"{next(others, named[0].instead)}"
    )


def writable(path: Path) -> Path:
    """The path, but with another suffix where files with its own are only read."""
    suffix = suffix_of(path)
    of_suffix = (each for each in families() if suffix in each.suffixes)
    instead = {each.instead for each in of_suffix if each.reads_only}
    return path.with_name(f"{stem(path)}{instead.pop()}") if instead else path


def family_of(path: Path, dims: int) -> Family | None:
    """The family of what a folder holds by its suffix or, where that tells nothing, its content.

    None for what isn't a scan with so many spatial axes.
    """
    if unreadable(path):
        return None
    suffix = suffix_of(path, dims)
    if suffix is None:
        return _nameless(path, dims) if suffix_of(path) is None else None
    fitting = (each for each in families() if each.takes(dims))
    found = next(each for each in fitting if suffix in each.suffixes)
    if path.is_dir():
        return found if dims in found.gathers or (found.folder and found.claims(path)) else None
    return None if found.folder else found


def _nameless(path: Path, spatial_dims: int | None) -> Family | None:
    """The family that a file, or the first of a folder, is of by its first bytes alone."""
    fitting = (each for each in families() if each.takes(spatial_dims))
    unnamed = [each for each in fitting if each.nameless]
    files = [path]
    if path.is_dir():
        files = [each for each in visible(path) if each.is_file()]
    for file in files:
        head = first_bytes(file)
        for family in unnamed:
            if suffix_of(file) in family.suffixes or family.starts(head):
                return family
    return None
