"""The families of formats, and which one a file belongs to."""

import pkgutil
from functools import cache
from importlib import import_module
from itertools import chain
from pathlib import Path

from revgan.data.formats.contract import KINDS, Family, Header
from revgan.errors import UserError


@cache
def families() -> tuple[Family, ...]:
    """All families, special ones first: one of each subclass of `Family` in this package."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules([str(Path(__file__).parent)], f"{package}."):
        import_module(module.name)
    found = [family() for family in Family.__subclasses__()]
    return tuple(sorted(found, key=lambda family: not family.special))


def suffixes(spatial_dims: int | None = None) -> tuple[str, ...]:
    """The suffixes of scans with this many spatial axes; by default of all scans."""
    of_families = (
        family.suffixes for family in families() if spatial_dims in (None, *family.spatial_dims)
    )
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


def reading_family(path: Path, head: bytes, spatial_dims: int | None) -> Family:
    """The family that reads a file, found by its first bytes, as many PNGs are called .jpg.

    If the suffix's family has no magic bytes, it is that one.

    Args:
        path: the file.
        head: what it starts with; empty for a folder that counts as a file.
        spatial_dims: how many spatial axes its scan must have; None for any.

    Raises:
        UserError: no family has the suffix, or none has the file's first bytes.
    """
    suffix = known_suffix(path, spatial_dims)
    family = next(each for each in families() if suffix in each.suffixes)
    if family.folder and not family.claims(path):
        raise UserError(
            f"{path} isn't a folder of {type(family).__name__} despite its name; replace it with "
            "an undamaged copy"
        )
    if not family.magic:
        return family
    dims = spatial_dims or family.spatial_dims[0]
    marked = [each for each in families() if dims in each.spatial_dims]
    fitting = (each for each in marked if head.startswith(each.magic))
    found = next((each for each in fitting if each.claims(path)), None)
    if found is None:
        held = f"not {KINDS[dims].article} despite its name" if head else "an empty file"
        known = ", ".join(type(each).__name__.upper() for each in marked if each.magic)
        raise UserError(f"{path} is {held}; replace it with a file of one of these kinds: {known}")
    return found


def writing_family(path: Path, header: Header) -> Family:
    """The family that writes a scan to a path.

    Raises:
        UserError: no family has its suffix.
    """
    suffix = known_suffix(path, len(header.shape))
    named = (each for each in families() if suffix in each.suffixes)
    return next(each for each in named if each.suits(path, header))
