"""Writes translated test scans to files in results/."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from revgan.data.domains import Domain, as_floats
from revgan.data.formats import Header, Scan, holds, suffix_of, writable, write
from revgan.data.mappings import TypeRange
from revgan.data.missing import settled
from revgan.data.number_types import in_type
from revgan.data.refs import ScanRef
from revgan.files import remove_abandoned
from revgan.inference.restoring import restore


class Results:
    """The results of one direction, by the test scans' numbers.

    Scans whose intensities are the range of their type, such as photos, become PNGs of the target
    domain's type. Others keep the test scans' place and their format, or get the target domain's
    format if theirs can't hold the result; they have the target domain's units and type.

    Args:
        folder: the folder to make for them; files are named like the test scans.
        source: the domain translated from.
        target: the domain translated to.

    Raises:
        OSError: the folder can't be made.
    """

    def __init__(self, folder: Path, source: Domain, target: Domain) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        self.source, self.target = source, target
        self.files = _files(folder, source.test, _suffix(source, target))

    def write(self, number: int, translation: Tensor) -> Tensor:
        """Writes a translation (C, *spatial) to its file.

        Returns:
            What the file holds, in its units, before it was brought to the test scan's grid.
        """
        ref = self.source.test[number]
        like = ref.header(len(self.source.shape(ref)))
        intensity = self.target.intensity
        dtype = intensity.output_type(self.target.dtype)
        values = intensity.from_unit(translation.numpy(), dtype)
        gaps = self.source.missing(ref)
        known = values if gaps is None else np.where(gaps.all(dim=0), np.float32(np.nan), values)
        moved = Scan(known, self.source.affine(ref), None, like.dtype)
        by_mask = like.masked and like.nodata is None
        restored, nodata = settled(restore(moved, like), dtype, like.nodata, named=not by_mask)
        if by_mask:
            nodata = None  # the file has the mask, too, and so may have that value elsewhere
        header = like if dtype is None and like.affine is not None else like.of(restored)
        self.files[number].parent.mkdir(parents=True, exist_ok=True)
        write(self.files[number], restored, replace(header, nodata=nodata))
        return as_floats(in_type(values, header.dtype))


def _suffix(source: Domain, target: Domain) -> str | None:
    """The suffix of all files; None if each can keep that of its scan."""
    shape = (1,) * len(source.shape(source.test[0]))
    made = Header(target.channels, shape, target.intensity.output_type(None) or target.dtype)
    if isinstance(target.intensity, TypeRange) and len(shape) == 2 and holds("x.png", made):
        return ".png"
    if any(ref.plane is not None for ref in source.test):
        return ".tif"
    if all(holds(ref.path, made) for ref in source.test):
        return None
    return suffix_of(target.train[0].path, len(shape))


def _files(folder: Path, refs: Sequence[ScanRef], suffix: str | None) -> list[Path]:
    """A file for each scan, named after it; with the scan's suffix if none is given."""
    if suffix is None:
        return [writable(folder / ref.file_name) for ref in refs]
    names = [ref.name for ref in refs]
    if len(set(names)) < len(names):  # x.png beside x.jpg
        names = [f"{number:05d}-{name}" for number, name in enumerate(names)]
    return [folder / f"{name}{suffix}" for name in names]
