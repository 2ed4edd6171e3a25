"""Which families of formats there are, and which of them a file belongs to."""

import pkgutil
from functools import cache
from importlib import import_module
from itertools import chain
from pathlib import Path

from revgan.data.formats.contract import KINDS, Family, Header
from revgan.errors import UserError


@cache
def families() -> tuple[Family, ...]:
    """All families, the special ones first: one of each class of `Family` beside this file."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules([str(Path(__file__).parent)], f"{package}."):
        import_module(module.name)
    found = [family() for family in Family.__subclasses__()]
    return tuple(sorted(found, key=lambda family: not family.special))


def suffixes(spatial_dims: int | None = None) -> tuple[str, ...]:
    """The suffixes of files with scans of so many spatial axes; of all files by default."""
    of_families = (
        family.suffixes for family in families() if spatial_dims in (None, *family.spatial_dims)
    )
    return tuple(dict.fromkeys(chain.from_iterable(of_families)))


def suffix_of(path: Path | str, spatial_dims: int | None = None) -> str | None:
    """The longest of `suffixes` that a path ends in, in upper or lower case; None if in none."""
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
        UserError: no format of scans with so many spatial axes has it.
    """
    suffix = suffix_of(path, spatial_dims)
    if suffix is not None:
        return suffix
    wanted = " or ".join(KINDS[dims].one for dims in KINDS if spatial_dims in (None, dims))
    is_another = next((dims for dims in KINDS if suffix_of(path, dims)), None)
    found = f"no {wanted}" if is_another is None else KINDS[is_another].article
    raise UserError(
        f"{path} is {found} by its suffix; {wanted}s end in {', '.join(suffixes(spatial_dims))}"
    )


def reading_family(path: Path, head: bytes, spatial_dims: int | None) -> Family:
    """The family that reads a file: by its first bytes, as many a PNG goes by the name of .jpg.

    Where the family of its suffix has no such bytes, it is that one.

    Raises:
        UserError: none has the suffix, or the file starts otherwise.
    """
    suffix = known_suffix(path, spatial_dims)
    family = next(each for each in families() if suffix in each.suffixes)
    if not family.magic:
        return family
    dims = spatial_dims or family.spatial_dims[0]
    marked = [each for each in families() if dims in each.spatial_dims]
    fitting = (each for each in marked if head.startswith(each.magic))
    found = next((each for each in fitting if each.claims(path)), None)
    if found is None:
        kind = KINDS[dims].one
        held = f"no {kind} in spite of its name" if head else "an empty file"
        known = ", ".join(type(each).__name__.upper() for each in marked if each.magic)
        raise UserError(f"{path} is {held}; replace it by a file of the kinds {known}")
    return found


def writing_family(path: Path, header: Header) -> Family:
    """The family that writes a scan to a path.

    Raises:
        UserError: none has its suffix.
    """
    suffix = known_suffix(path, len(header.shape))
    named = (each for each in families() if suffix in each.suffixes)
    return next(each for each in named if each.suits(path, header))
