"""What becomes of translated test scans: files in results/."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from revgan.data.domains import Domain
from revgan.data.formats import Scan, writable, write
from revgan.data.intensity import TypeRange
from revgan.data.refs import ScanRef
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
        suffix = ".png" if isinstance(target.intensity, TypeRange) else None
        self.files = _files(folder, source.test, suffix)

    def write(self, number: int, translation: Tensor) -> Tensor:
        """Writes a translation (C, *spatial) to its file.

        Returns:
            What it is with the values of the file, if these are integers of the domain's type.
        """
        ref = self.source.test[number]
        like = ref.header(len(self.source.shape(ref)))
        intensity = self.target.intensity
        values = intensity.to_file(translation.numpy(), self.target.dtype)
        moved = Scan(values, self.source.affine(ref), None, like.dtype)
        restored = restore(moved, like)
        self.files[number].parent.mkdir(parents=True, exist_ok=True)
        write(self.files[number], restored, like.of(restored) if like.affine is None else like)
        if isinstance(intensity, TypeRange):
            return torch.from_numpy(intensity.to_unit(values))
        return translation


def _files(folder: Path, refs: Sequence[ScanRef], suffix: str | None) -> list[Path]:
    """A file for each scan, named after it; with its own suffix where none is given."""
    if suffix is None:
        return [writable(folder / ref.file_name) for ref in refs]
    names = [ref.name for ref in refs]
    if len(set(names)) < len(names):  # x.png beside x.jpg
        names = [f"{number:05d}-{name}" for number, name in enumerate(names)]
    return [folder / f"{name}{suffix}" for name in names]
