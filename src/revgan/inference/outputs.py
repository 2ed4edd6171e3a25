"""Where translations go: files of the input's format, or of one that can hold them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from revgan.data.formats import Header, holds, suffix_of, writable
from revgan.data.refs import ScanRef
from revgan.directions import Direction
from revgan.errors import UserError
from revgan.inference.jobs import WIDER
from revgan.inference.translator import Translator

INSTEAD = {2: (".png", ".tif", ".npy"), 3: (".nii.gz", ".npy")}
"""Suffixes for what an input's format can't hold, by the spatial axes; the first that can."""


def least_header(translator: Translator, direction: Direction, dtype: str | None = None) -> Header:
    """What all translations have in common: the smallest size, and the smallest type.

    Args:
        translator: the model.
        direction: "AtoB" or "BtoA".
        dtype: of the values to write; None for that of `Translator.output_type`.
    """
    usual = translator.output_type(direction, np.dtype(np.uint8))
    name = dtype or ("uint8" if usual is None else usual.name)
    channels, dims = translator.channels(direction)[1], translator.file_dims
    return Header(channels, (1,) * dims, np.dtype(WIDER.get(name, name)))


def fitting_path(path: Path, least: Header) -> Path:
    """A path, with another suffix if its format can only be read, or can't hold the translation.

    That is the case for an alpha channel in a JPEG, and for seven channels in any photo.
    """
    path = writable(path)
    if holds(path, least):
        return path
    fitting = (suffix for suffix in INSTEAD[len(least.shape)] if holds(f"x{suffix}", least))
    return path.with_suffix(next(fitting, path.suffix))


def output_paths(
    sources: Sequence[ScanRef], folder: Path, least: Header, console: Console
) -> list[Path]:
    """The paths of translations in a folder; the user is told of other suffixes.

    Raises:
        UserError: two would be the same.
    """
    named = [folder / ref.file_name for ref in sources]
    outputs = [fitting_path(path, least) for path in named]
    changes = (_changes(*both, least) for both in zip(named, outputs, strict=True))
    for change in sorted(set().union(*changes)):
        console.print(change)
    taken: dict[Path, ScanRef] = {}
    for ref, output in zip(sources, outputs, strict=True):
        if output in taken:
            raise UserError(f"{taken[output]} and {ref} would both become {output}; rename one")
        taken[output] = ref
    return outputs


def _changes(path: Path, output: Path, least: Header) -> set[str]:
    """Why a path got another suffix, if it did."""
    kept, changes = writable(path), set()
    if kept != path:
        changes.add(f"{suffix_of(path)} can only be read: writing {suffix_of(kept)} instead")
    if output != kept:
        changes.add(
            f"{kept.suffix} can't hold {least.channels} channels of {least.dtype}: writing "
            f"{output.suffix} instead"
        )
    return changes
