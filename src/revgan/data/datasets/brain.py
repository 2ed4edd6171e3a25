"""The built-in sample set `brain`: regions of the MNI152 template of the human brain.

The PyPI package `nilearn` includes its skull-stripped T1-weighted volume and a probability map of
grey matter on the same 1 mm grid (the symmetric ICBM 152 template of 2009; Fonov et al., NeuroImage
54, 2011). They are written as an ordinary folder of volumes, so everything that works on `brain`
works on a user's folder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from revgan.data.formats import Scan, Window, cut, read, write
from revgan.data.grids import double, halve
from revgan.errors import missing_package
from revgan.files import making_folder

BrainTask = Literal["gray-matter", "super-resolution"]

T1 = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
GRAY_MATTER = "mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz"

LEFT_TO_RIGHT = slice(20, 176)
LOW_TO_HIGH = slice(0, 160)
"""The voxels of the brain, with a small border. The template's left is the exact mirror image of
its right, so test and training can't be split between left and right."""


@dataclass(frozen=True)
class Slab:
    """A part of the brain between two coronal planes.

    Attributes:
        name: of its file.
        role: its purpose.
        back_to_front: its voxels along the second axis.
    """

    name: str
    role: Literal["train", "test"]
    back_to_front: slice

    @property
    def region(self) -> Window:
        """Its voxels in the whole volume."""
        return LEFT_TO_RIGHT, self.back_to_front, LOW_TO_HIGH


SLABS = (
    Slab("posterior", "train", slice(24, 80)),
    Slab("central", "train", slice(80, 136)),
    Slab("anterior", "test", slice(140, 212)),
)
"""Both roles have cortex and deep structures: training has the thalamus, the hippocampus and most
of the putamen (and the cerebellum); the test has the head of the caudate nucleus, the nucleus
accumbens and the front of the putamen. The 4 mm between them belong to neither."""


def write_brain(root: Path, *, task: BrainTask) -> Path:
    """Writes the regions as `trainA trainB testA testB` below `root`, once; returns the folder.

    A and B are aligned. For the task "gray-matter", A is the T1 and B the grey matter. For
    "super-resolution", B is the T1, and A the same at half the resolution, interpolated back onto
    the grid of B like the paper's inputs (Section 1.1, "3d Architecture"). Each region is resampled
    separately, so that A contains nothing from outside it. Values are in the units of the package's
    files, 0 to 255.

    Raises:
        UserError: the package with the volumes isn't installed.
    """
    folder = root / f"brain-{task}"
    if folder.is_dir():
        return folder
    t1 = _read(T1)
    other = _read(GRAY_MATTER) if task == "gray-matter" else None
    with making_folder(folder) as building:
        for name in ("trainA", "trainB", "testA", "testB"):
            (building / name).mkdir()
        for slab in SLABS:
            image = cut(t1, slab.region)
            pair = (_blurred(image), image) if other is None else (image, cut(other, slab.region))
            for domain, volume in zip("AB", pair, strict=True):
                path = building / f"{slab.role}{domain}" / f"{slab.name}.nii.gz"
                write(path, volume.values, volume.header)
    return folder


def _blurred(volume: Scan) -> Scan:
    """A volume without the details that half its resolution can't show."""
    values = double(halve(volume.values), volume.shape)
    return replace(volume, values=values, dtype=np.dtype(np.float32))


def _read(name: str) -> Scan:
    spec = find_spec("nilearn")
    for place in (spec.submodule_search_locations if spec else None) or ():
        path = Path(place) / "datasets" / "data" / name
        if path.is_file():
            return read(path)
    raise missing_package("nilearn", "samples", "the sample set brain")
