"""Diffusion-weighted scans: finds them in folders of subjects, reads and checks them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from revgan.data import formats
from revgan.data.formats import Window, cut
from revgan.data.refs import ScanRef
from revgan.errors import UserError

B0_LIMIT = 50.0
"""Volumes with b-values up to this, in s/mm2, count as measured without diffusion weighting."""

LENGTH_TOLERANCE = 0.05
"""How far a direction's length may be from 1: text files round to few digits."""

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Layout:
    """File names in a subject's folder; those of volumes are without their suffix."""

    folder: str
    dwi: str
    bvals: str
    bvecs: str
    mask: str


LAYOUTS = (
    Layout("T1w/Diffusion/", "data", "bvals", "bvecs", "nodif_brain_mask"),
    Layout("", "dwi", "dwi.bval", "dwi.bvec", "mask"),
)
"""The layout of the Human Connectome Project, and a plain one."""


@dataclass(frozen=True)
class ScanFiles:
    """The files of a subject's scan; there may be no mask."""

    subject: str
    dwi: Path
    bvals: Path
    bvecs: Path
    mask: Path | None


@dataclass(frozen=True)
class Gradients:
    """How the N volumes of a scan were weighted.

    Attributes:
        bvals: b-values (N,) in s/mm2.
        bvecs: directions (N, 3) of length 1; volumes without weighting may have 0.
    """

    bvals: NDArray[np.float64]
    bvecs: NDArray[np.float64]

    @property
    def weighted(self) -> Mask:
        """Which volumes are diffusion-weighted."""
        return self.bvals > B0_LIMIT

    @property
    def determine_a_tensor(self) -> bool:
        """Whether the directions determine a tensor; those in one plane, say, don't."""
        if not self.weighted.any():
            return False
        x, y, z = self.bvecs[self.weighted].T
        products = np.stack([x * x, x * y, y * y, x * z, y * z, z * z])
        return bool(np.linalg.matrix_rank(products, rtol=1e-2) == len(products))

    def baseline(self, signals: Array) -> Array:
        """The mean of the signals (N, ...) measured without diffusion weighting."""
        return signals[~self.weighted].mean(axis=0)


@dataclass(frozen=True)
class Scan:
    """A subject's diffusion-weighted volumes.

    Attributes:
        volume: the volumes as channels (N, X, Y, Z).
        gradients: the N volumes' gradients.
        mask: where the brain is, (X, Y, Z).
    """

    volume: formats.Scan
    gradients: Gradients
    mask: Mask

    def cut(self, region: Window) -> Scan:
        """A region of the scan."""
        return replace(self, volume=cut(self.volume, region), mask=self.mask[region])


def find_scans(source: Path) -> list[ScanFiles]:
    """Finds the subjects' scans in a folder, ordered by the subjects' names.

    Folders without diffusion-weighted volumes are skipped; `LAYOUTS` has the volumes' names.
    Nothing is read.

    Raises:
        UserError: there is no such folder, it holds no scans, or a scan lacks b-values or
            directions.
    """
    if not source.is_dir():
        raise UserError(f"{source} is not a folder; give one that holds a folder for each subject")
    folders = sorted(path for path in source.iterdir() if path.is_dir())
    scans = [scan for folder in folders if (scan := _find_scan(folder))]
    if not scans:
        places = " or ".join(f"SUBJECT/{layout.folder}{layout.dwi}.nii.gz" for layout in LAYOUTS)
        raise UserError(f"{source} holds no diffusion-weighted volumes; put them there as {places}")
    return scans


def read_scan(files: ScanFiles, max_b: float) -> Scan:
    """Reads the volumes with b-values up to `max_b` in s/mm2, and reads or makes the brain mask.

    Without a file, the mask is dipy's `median_otsu` of the mean without diffusion weighting. In
    both cases, voxels where that mean isn't positive are left out.

    Raises:
        UserError: a file can't be read, or the files don't match.
    """
    gradients, used = read_gradients(files, max_b)
    volume = formats.read(files.dwi)
    if len(volume.values) != used.size:
        raise UserError(
            f"{files.dwi} holds {len(volume.values)} volumes, but {files.bvals} {used.size} "
            "b-values; there must be one per volume"
        )
    signals = np.ascontiguousarray(volume.values[used], np.float32)
    volume = replace(volume, values=signals)
    baseline = gradients.baseline(volume.values)
    mask = _otsu(baseline) if files.mask is None else _read_mask(files.mask, files.dwi)
    mask &= baseline > 0
    if not mask.any():
        source = files.mask or f"the brain mask made of {files.dwi}"
        raise UserError(f"{source} is empty; give a mask that shows where the brain is")
    return Scan(volume, gradients, mask)


def read_gradients(files: ScanFiles, max_b: float) -> tuple[Gradients, Mask]:
    """Reads b-values and directions as FSL writes them.

    Args:
        files: text files of N b-values, and of 3 x N or N x 3 direction components.
        max_b: the highest b-value to use, in s/mm2.

    Returns:
        The gradients to use, and which of the N volumes have them.

    Raises:
        UserError: the files can't be understood, or don't determine a tensor.
    """
    bvals = _numbers(files.bvals).ravel()
    bvecs = _numbers(files.bvecs)
    if bvecs.shape == (3, bvals.size):
        bvecs = bvecs.T
    if bvecs.shape != (bvals.size, 3):
        size = " x ".join(map(str, bvecs.shape))
        raise UserError(
            f"{files.bvecs} holds {size} numbers, but the {bvals.size} b-values of {files.bvals} "
            f"need 3 x {bvals.size}"
        )
    if not (bvals >= 0).all():
        raise UserError(f"{files.bvals} holds {bvals.min():g}; b-values are at least 0")
    bvecs = _normalised(bvecs, bvals > B0_LIMIT, files.bvecs)
    used: Mask = bvals <= max_b
    gradients = Gradients(bvals[used], bvecs[used])
    if gradients.weighted.all():
        raise UserError(
            f"{files.bvals} has no b-value up to {B0_LIMIT:g} s/mm2; fitting a tensor needs a "
            "volume without diffusion weighting"
        )
    if not gradients.determine_a_tensor:
        raise UserError(
            f"{files.bvecs} has {gradients.weighted.sum()} directions with b-values up to "
            f"{max_b:g} s/mm2 (--max-b), but a tensor needs at least 6 that aren't in one plane"
        )
    return gradients, used


def _find_scan(folder: Path) -> ScanFiles | None:
    """The subject's scan, in the first layout that matches."""
    for layout in LAYOUTS:
        place = folder / layout.folder
        dwi = _nifti(place, layout.dwi)
        if dwi is not None:
            bvals, bvecs = place / layout.bvals, place / layout.bvecs
            for path, what in (bvals, "b-values"), (bvecs, "gradient directions"):
                if not path.is_file():
                    raise UserError(f"{path} is missing; put the {what} of {dwi} there")
            return ScanFiles(folder.name, dwi, bvals, bvecs, _nifti(place, layout.mask))
    return None


def _nifti(folder: Path, stem: str) -> Path | None:
    paths = (folder / f"{stem}{suffix}" for suffix in (".nii.gz", ".nii"))
    return next((path for path in paths if path.is_file()), None)


def _read_mask(path: Path, dwi: Path) -> Mask:
    """A mask on the grid of the volumes, whatever its own."""
    values = ScanRef(path, onto=ScanRef(dwi), nearest=True).read().values
    if len(values) != 1:
        raise UserError(f"{path} has {len(values)} channels, but a mask must have one")
    inside: Mask = np.asarray(values[0]) > 0  # which NaN, beyond the mask, isn't
    return inside


def _otsu(baseline: Array) -> Mask:
    from dipy.segment.mask import median_otsu

    return median_otsu(baseline, median_radius=2, numpass=1)[1]


def _numbers(path: Path) -> NDArray[np.float64]:
    """Reads the numbers in a text file, row by row."""
    try:
        lines = path.read_text(encoding="utf-8").replace(",", " ").splitlines()
        return np.array([[float(word) for word in line.split()] for line in lines if line.strip()])
    except ValueError as error:  # not text, not numbers, or rows of different lengths
        raise UserError(
            f"{path} can't be read; it must hold numbers in rows of equal length, as written by FSL"
        ) from error


def _normalised(bvecs: NDArray[np.float64], weighted: Mask, path: Path) -> NDArray[np.float64]:
    """Directions of length 1; volumes without weighting may have none, written as 0 or nan."""
    bvecs = np.nan_to_num(bvecs)
    lengths = np.linalg.norm(bvecs, axis=1, keepdims=True)
    wrong = np.flatnonzero(weighted & (abs(lengths[:, 0] - 1) > LENGTH_TOLERANCE))
    if wrong.size:
        raise UserError(
            f"the direction of volume {wrong[0] + 1} in {path} has the length "
            f"{lengths[wrong[0], 0]:.3g}; diffusion-weighted volumes must have directions of "
            "length 1"
        )
    return bvecs / np.where(lengths > 0, lengths, 1)
