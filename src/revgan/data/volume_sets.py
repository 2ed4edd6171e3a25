"""Data sets of volumes, checked, brought to their grid and opened."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from nibabel.orientations import aff2axcodes
from torch import Tensor

from revgan.data.config import DataConfig
from revgan.data.domains import DataSet, Domain, Progress
from revgan.data.images import SUFFIXES as IMAGE_SUFFIXES
from revgan.data.intensity import Intensity, fit_intensity
from revgan.data.preparation import Preparation
from revgan.data.splits import Split, existing_folder, open_split, require_aligned
from revgan.data.volume_cache import CachedVolume, VolumeFile, prepare_volume
from revgan.data.volumes import VOLUME_SUFFIXES, volume_suffix
from revgan.errors import UserError

MAX_READERS = 4
"""Volumes read at a time: each may take some gigabytes until it is in the cache."""

MISPLACED = 0.1
"""How far voxels of aligned volumes may be apart, as a share of the smallest voxel's side."""


@dataclass(frozen=True)
class VolumeDomain(Domain[CachedVolume]):
    """Volumes of one domain, and what their intensities become.

    Attributes:
        train: the training volumes.
        test: the test volumes.
        val: those that are scored while training goes on.
        intensity: from the file's units to [-1, 1].
    """

    intensity: Intensity

    @property
    def channels(self) -> int:
        return int((self.train + self.test)[0].values.shape[0])

    def load(self, ref: CachedVolume) -> Tensor:
        """One volume on its grid, (channels, X, Y, Z) in [-1, 1]; beyond that without `clip`."""
        return self.cut(ref, (0, 0, 0), ref.shape)

    def load_middle(self, ref: CachedVolume, largest: int) -> Tensor:
        corner, sides = zip(*(_middle(side, largest) for side in ref.shape), strict=True)
        return self.cut(ref, corner, sides)

    def cut(self, ref: CachedVolume, corner: tuple[int, ...], sides: tuple[int, ...]) -> Tensor:
        """A box of a volume, (channels, *sides) in [-1, 1]; nothing else is read from the disk.

        Args:
            ref: the volume.
            corner: the box's first voxel.
            sides: its size.
        """
        box = [slice(first, first + side) for first, side in zip(corner, sides, strict=True)]
        values = ref.values[:, *box].astype(np.float32)
        return torch.from_numpy(np.ascontiguousarray(self.intensity.to_unit(values)))


def find_volumes(folder: Path) -> list[VolumeFile]:
    """The volume files right inside a folder, ordered by name; hidden files are passed over.

    Raises:
        UserError: there is no such folder, or it holds no volumes.
    """
    paths = [
        path
        for path in existing_folder(folder, "volumes").iterdir()
        if not path.name.startswith(".") and not path.is_dir()
    ]
    files = [VolumeFile(path) for path in paths if volume_suffix(path)]
    if not files:
        images = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
        held = f"2D images such as {min(images).name}" if images else "none"
        raise UserError(
            f"{folder} should hold volumes, which end in {', '.join(VOLUME_SUFFIXES)}, and holds "
            f"{held}; for images, set data.spatial_dims 2"
        )
    return sorted(files, key=lambda file: (file.name, file.path.name))


def open_volumes(
    root: Path,
    config: DataConfig,
    *,
    paired: bool,
    progress: Progress | None,
    preparation: Preparation | None,
) -> DataSet:
    """Prepares every volume of a folder once; see `revgan.data.sets.open_data_set`.

    Raises:
        UserError: what is wrong with which volume, or with the folder.
    """
    splits = _find_splits(root, paired=paired)
    a = _prepare_domain("A", [split.a for split in splits], config, progress)
    b = _prepare_domain("B", [split.b for split in splits], config, progress)
    if config.orientation is None:
        _require_one_orientation(sum(a + b, ()))
    train, test, val = (
        Split(of_a, of_b, split.aligned) for of_a, of_b, split in zip(a, b, splits, strict=True)
    )
    misplaced_test, misplaced_val = _misplaced_pair(test), _misplaced_pair(val)
    if paired and (problem := _misplaced_pair(train) or misplaced_test or misplaced_val):
        raise UserError(problem)
    if preparation is None:
        preparation = Preparation(
            _fitted("a", train.a, config), _fitted("b", train.b, config), config.grid
        )
    # Unpaired sets may have equal names by chance, as in 1.nii, 2.nii.
    test_aligned = test.aligned and misplaced_test is None
    val_aligned = val.aligned and misplaced_val is None
    if not val.a:
        val, val_aligned = test, test_aligned
    return DataSet(
        a=VolumeDomain(train.a, test.a, preparation.a, val=val.a),
        b=VolumeDomain(train.b, test.b, preparation.b, val=val.b),
        test_aligned=test_aligned,
        val_aligned=val_aligned,
        preparation=preparation,
    )


def _find_splits(root: Path, *, paired: bool) -> list[Split[VolumeFile]]:
    """For training, for the test and for validation; the last two may be empty."""
    existing_folder(root, "volumes")
    train = open_split(root, "train", find_volumes)
    if train is None:
        raise UserError(f"{root} has no training volumes; it needs the folders trainA and trainB")
    test, val = (open_split(root, name, find_volumes) for name in ("test", "val"))
    if test is None:
        test, val = val, None
    splits = [split or Split((), (), aligned=False) for split in (train, test, val)]
    if paired:
        for split in splits:
            if split.a:
                require_aligned(split, "volumes")
    return splits


def _prepare_domain(
    name: str,
    splits: Sequence[tuple[VolumeFile, ...]],
    config: DataConfig,
    progress: Progress | None,
) -> list[tuple[CachedVolume, ...]]:
    """The volumes of each split; the first is for training."""
    files = [file for split in splits for file in split]
    prepared: list[CachedVolume] = []
    pool = ThreadPoolExecutor(min(MAX_READERS, os.cpu_count() or 1))
    try:
        # In order, whichever is read first, so that the same folder gives the same error.
        for volume in pool.map(lambda file: prepare_volume(file, config.grid), files):
            prepared.append(volume)
            _require_same_channels(volume, prepared[0])
            if len(prepared) <= len(splits[0]):
                _require_room(volume, config)
            if progress is not None:
                progress(f"preparing volumes of {name}", len(prepared), len(files))
    finally:
        pool.shutdown(cancel_futures=True)
    volumes = iter(prepared)
    return [tuple(islice(volumes, len(split))) for split in splits]


def _require_same_channels(volume: CachedVolume, first: CachedVolume) -> None:
    found, expected = len(volume.values), len(first.values)
    if found != expected:
        raise UserError(
            f"{volume} has {found} channel{'s'[: found > 1]}, but {first} has {expected}; all "
            "volumes of a domain need the same number"
        )


def _require_room(volume: CachedVolume, config: DataConfig) -> None:
    if min(volume.shape) < config.crop:
        resampled = " after resampling" if config.spacing is not None else ""
        raise UserError(
            f"{volume} has {_times(volume.shape)} voxels{resampled}, too few for data.crop "
            f"{config.crop}; lower data.crop, or leave the volume out"
        )


def _require_one_orientation(volumes: tuple[CachedVolume, ...]) -> None:
    first = _orientation(volumes[0])
    for volume in volumes:
        if _orientation(volume) != first:
            raise UserError(
                f"the axes of {volumes[0]} run to {first}, but those of {volume} to "
                f"{_orientation(volume)}; set data.orientation, such as RAS, to turn all volumes "
                "alike"
            )


def _orientation(volume: CachedVolume) -> str:
    return "".join(aff2axcodes(volume.affine))


def _misplaced_pair(split: Split[CachedVolume]) -> str | None:
    """What is wrong with the first of aligned pairs that don't lie in the same place."""
    for a, b in zip(split.a, split.b, strict=True) if split.aligned else ():
        if a.shape != b.shape:
            return (
                f"{a} has {_times(a.shape)} voxels and {b} {_times(b.shape)}; to be paired, both "
                "need the same shape: resample one onto the grid of the other"
            )
        # The eight corners of the volume; an affine takes no voxel farther away than these.
        corners = np.indices((2, 2, 2)).reshape(3, 8) * (np.array(a.shape)[:, None] - 1)
        apart = (a.affine - b.affine) @ np.vstack([corners, np.ones(8)])
        distance = np.linalg.norm(apart[:3], axis=0).max()
        if distance > MISPLACED * np.linalg.norm(a.affine[:3, :3], axis=0).min():
            return (
                f"{a} and {b} are up to {distance:.3g} mm apart in space, by their affines; to be "
                "paired, both need the same place: resample one onto the grid of the other"
            )
    return None


def _fitted(
    domain: Literal["a", "b"], train: tuple[CachedVolume, ...], config: DataConfig
) -> Intensity:
    try:
        return fit_intensity(config.intensity(domain), (volume.values for volume in train))
    except UserError as error:
        raise UserError(f"in domain {domain.upper()}, {error}") from error


def _middle(side: int, largest: int) -> tuple[int, int]:
    """Where the middle of a side starts, and its length."""
    length = min(side, largest)
    return (side - length) // 2, length


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
