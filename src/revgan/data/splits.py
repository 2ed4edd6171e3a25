"""Pairs of folders such as `trainA` and `trainB`, whatever lies in them."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from revgan.errors import UserError


class Named(Protocol):
    """An image or volume in a file."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def name(self) -> str:
        """What pairs have in common."""


Ref = TypeVar("Ref", bound=Named)


@dataclass(frozen=True)
class Split(Generic[Ref]):
    """The images, or volumes, of both domains for training, or for testing.

    Attributes:
        a: those of A, ordered by name.
        b: those of B, ordered by name.
        aligned: a[i] and b[i] show the same thing: they are halves of one file, or have the same
            name, as all of them then do.
    """

    a: tuple[Ref, ...]
    b: tuple[Ref, ...]
    aligned: bool


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


def open_split(root: Path, name: str, find: Callable[[Path], Sequence[Ref]]) -> Split[Ref] | None:
    """What is found in a pair of folders such as `trainA` and `trainB`; None if neither is there.

    Args:
        root: where they are.
        name: of the folders, without A and B.
        find: finds all that is right inside a folder, ordered by name.

    Raises:
        UserError: one of the two is missing.
    """
    folders = root / f"{name}A", root / f"{name}B"
    present = [folder.name for folder in folders if folder.is_dir()]
    if not present:
        return None
    if missing := [folder for folder in folders if not folder.exists()]:
        remedy = "" if name == "train" else f", or remove {present[0]}"  # tests may be missing
        raise UserError(
            f"{missing[0]} does not exist, though {present[0]} does; give both folders{remedy}"
        )
    a, b = (tuple(find(folder)) for folder in folders)
    return Split(a, b, aligned=not _names_without_partner(a, b))


def require_aligned(split: Split[Ref], what: str = "images") -> None:
    """Refuses a split whose names don't pair.

    Raises:
        UserError: names some that occur in one domain alone, or twice.
    """
    if split.aligned:
        return
    alone = _names_without_partner(split.a, split.b)
    more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
    raise UserError(
        f"{split.a[0].path.parent} holds {len(split.a)} {what} and {split.b[0].path.parent} "
        f"{len(split.b)}, but to be paired each name must occur exactly once in both, unlike "
        f"{', '.join(alone[:3])}{more}"
    )


def _names_without_partner(a: Sequence[Ref], b: Sequence[Ref]) -> list[str]:
    """The names that don't occur exactly once in both."""
    in_a, in_b = (Counter(ref.name for ref in refs) for refs in (a, b))
    return [name for name in sorted(in_a | in_b) if (in_a[name], in_b[name]) != (1, 1)]
