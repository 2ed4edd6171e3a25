"""What becomes of translated test scans: files in results/."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from revgan.data.domains import Domain
from revgan.data.folders import ScanRef
from revgan.data.formats import Header, Scan, holds, probe, write
from revgan.data.intensity import TypeRange, in_type
from revgan.data.missing import mark, nodata_for
from revgan.inference.restoring import restore


class Results:
    """The results of one direction, by the numbers of the test scans.

    Scans whose intensities are the range of their type, such as photos, become PNGs of the type of
    the domain translated to. Others have the format and the place of the test scans, in the units
    of the domain translated to.

    Args:
        folder: where they are written, under the names of the test scans; made here.
        source: the domain translated from.
        target: the domain translated to.

    Raises:
        OSError: the folder can't be made.
    """

    def __init__(self, folder: Path, source: Domain, target: Domain) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.source, self.target = source, target
        photo = Header(target.channels, (1, 1), target.dtype)
        as_png = isinstance(target.intensity, TypeRange) and holds(Path("x.png"), photo)
        suffix = ".png" if as_png else None
        self.files = _files(folder, source.test, suffix)

    def write(self, number: int, translation: Tensor) -> Tensor:
        """Writes a translation (C, *spatial) to its file.

        Returns:
            What it is with the values of the file, if these are integers of the domain's type.
        """
        ref = self.source.test[number]
        like = probe(ref.path, len(self.source.shape(ref)))
        intensity = self.target.intensity
        dtype = intensity.output_type(self.target.dtype)
        values = intensity.from_unit(translation.numpy(), dtype)
        moved = Scan(values, self.source.affine(ref), None, like.dtype)
        restored = in_type(restore(moved, like), dtype)
        nodata = None
        measured = self.source.measured(ref)
        if measured is not None and measured.shape == restored.shape[1:]:
            nodata = nodata_for(restored.dtype, like.nodata)
            restored = mark(restored, ~measured.numpy(), nodata)
        header = like if dtype is None and like.affine is not None else like.of(restored)
        write(self.files[number], restored, replace(header, nodata=nodata))
        if isinstance(intensity, TypeRange):
            return torch.from_numpy(intensity.to_unit(in_type(values, dtype)))
        return translation


def _files(folder: Path, refs: Sequence[ScanRef], suffix: str | None) -> list[Path]:
    """A file for each scan, named after it; with its own suffix where none is given."""
    if suffix is None:
        return [folder / ref.path.name for ref in refs]
    names = [ref.name for ref in refs]
    if len(set(names)) < len(names):  # x.png beside x.jpg
        names = [f"{number:05d}-{name}" for number, name in enumerate(names)]
    return [folder / f"{name}{suffix}" for name in names]
