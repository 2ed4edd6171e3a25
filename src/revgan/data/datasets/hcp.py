"""The paper's 3D task, super-resolution of diffusion tensors, as folders of volumes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
from rich.console import Console

from revgan.data.datasets.diffusion_scans import (
    Mask,
    Scan,
    ScanFiles,
    find_scans,
    read_gradients,
    read_scan,
)
from revgan.data.datasets.diffusion_tensors import (
    Progress,
    fit_tensors,
    low_resolution_tensors,
    require_dipy,
)
from revgan.data.datasets.prepared import Role, is_complete, open_target
from revgan.data.formats import Window, write
from revgan.errors import UsageError, UserError
from revgan.progress import progress_bar

MARGIN = 4
"""Voxels between the training and the test region of a single subject."""

MIN_SIDE = 2
"""The least voxels along each axis of a volume."""

KINDS = ("A", "B", "Mask")
"""The kinds of volumes: tensors at half resolution, at full resolution, and brain masks."""


@dataclass(frozen=True)
class Sample:
    """A scan, or a region of one, that becomes a volume of each kind.

    Attributes:
        files: the scan.
        role: the volumes' purpose.
        test_share: the test's share of the brain's length, if the scan is divided into regions.
    """

    files: ScanFiles
    role: Role
    test_share: float | None = None

    @property
    def name(self) -> str:
        """The name of its volumes."""
        subject = self.files.subject
        return subject if self.test_share is None else f"{subject}-{self.role}"

    def paths(self, target: Path) -> tuple[Path, ...]:
        """Its volumes in the folder `target`, in the order of `KINDS`."""
        return tuple(target / f"{self.role}{kind}" / f"{self.name}.nii.gz" for kind in KINDS)

    def read(self, max_b: float) -> Scan:
        """Reads it; see `read_scan`.

        Raises:
            UserError: it can't be read, or is too small to be divided.
        """
        scan = read_scan(self.files, max_b)
        if self.test_share is None:
            return scan
        regions = _regions(scan.mask, self.test_share)
        train = scan.mask[regions["train"]]
        if min(train.shape) < MIN_SIDE or not train.any():
            raise UserError(
                f"the brain in {self.files.dwi} is too small for --test-share "
                f"{self.test_share:g} with {MARGIN} voxels between training and test; lower it, or "
                "add subjects"
            )
        return scan.cut(regions[self.role])


def prepare_hcp(
    source: Path, target: Path, test: float | Sequence[str], max_b: float, console: Console
) -> list[Role]:
    """Writes tensors at half (A) and full resolution (B), and brain masks.

    The target gets the folders `trainA trainB trainMask testA testB testMask`. Volumes are named
    after the subjects; a single subject gives two, from regions of its brain. Volumes that an
    earlier call with the same subjects and options wrote stay as they are.

    Args:
        source: a folder of subjects; see `find_scans`.
        target: a folder that is new, empty or from an earlier call.
        test: the subjects to hold out for the test, or their share of all; for a single subject,
            the share of its brain's length.
        max_b: the highest b-value to use, in s/mm2.
        console: for the progress bar.

    Returns:
        Each volume's purpose.

    Raises:
        UsageError: a subject to hold out doesn't exist, or none is left for training.
        UserError: the source or the target can't be used; earlier subjects have been written.
        OSError: a file can't be read or written.
    """
    require_dipy()
    samples = _samples(find_scans(source), test)
    for sample in samples:  # so that a mistake there is found now, not after hours
        read_gradients(sample.files, max_b)
    record = {
        "volumes": {sample.name: sample.role for sample in samples},
        "test_share": samples[0].test_share,
        "max_b": max_b,
    }
    open_target(target, record, samples, "subjects")
    with progress_bar(console, transient=False) as bar:
        task = bar.add_task("", total=2 * len(samples))  # two fits of tensors each
        for sample in samples:
            bar.update(task, description=sample.name)
            if is_complete(sample, target):
                bar.advance(task, 2)
            else:
                _write(sample.read(max_b), sample.paths(target), partial(bar.advance, task))
    return [sample.role for sample in samples]


def _samples(scans: list[ScanFiles], test: float | Sequence[str]) -> list[Sample]:
    if isinstance(test, float) and len(scans) == 1:
        return [Sample(scans[0], role, test) for role in get_args(Role)]
    subjects = [scan.subject for scan in scans]
    if isinstance(test, float):
        count = min(max(round(test * len(subjects)), 1), len(subjects) - 1)
        # Spread over the names, which may go by site or by date.
        test = [subjects[int((place + 0.5) * len(subjects) / count)] for place in range(count)]
    unknown = sorted(set(test) - set(subjects))
    if unknown:
        raise UsageError(
            f"--test-subjects names {', '.join(unknown)}, but the source holds "
            f"{', '.join(subjects[:10])}{', ...' if len(subjects) > 10 else ''}"
        )
    if set(test) == set(subjects):
        raise UsageError("--test-subjects leaves no subject for training; name fewer")
    return [Sample(scan, "test" if scan.subject in test else "train") for scan in scans]


def _regions(mask: Mask, test_share: float) -> dict[Role, Window]:
    """Divides a volume along the axis in which the brain is longest."""
    extents = [
        np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(mask.ndim)
    ]
    axis = int(np.argmax([extent[-1] - extent[0] for extent in extents]))
    first, last = extents[axis][[0, -1]]
    start = last + 1 - max(round(test_share * (last + 1 - first)), MIN_SIDE)
    parts: dict[Role, slice] = {
        "train": slice(0, max(start - MARGIN, 0)),
        "test": slice(start, mask.shape[axis]),
    }
    return {role: _along(axis, part) for role, part in parts.items()}


def _along(axis: int, part: slice) -> Window:
    x, y, z = (part if place == axis else slice(None) for place in range(3))
    return x, y, z


def _write(scan: Scan, paths: tuple[Path, ...], advance: Progress) -> None:
    tensors = replace(scan.volume, dtype=np.dtype(np.float32))
    mask = replace(scan.volume, dtype=np.dtype(np.uint8))
    low_path, high_path, mask_path = paths
    write(low_path, low_resolution_tensors(scan, advance), tensors.header)
    write(high_path, fit_tensors(scan, advance), tensors.header)
    write(mask_path, scan.mask[None].astype(np.float32), mask.header)
