"""Masks of volumes: which voxels count when translations are scored."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from revgan.data.preparation import Grid
from revgan.data.volume_cache import CachedVolume
from revgan.data.volumes import VOLUME_SUFFIXES, read_volume
from revgan.errors import UserError


def find_masks(volumes: Sequence[CachedVolume]) -> list[Path] | None:
    """The masks of volumes: that of `testA/x.nii.gz` and `testB/x.nii.gz` is `testMask/x.nii.gz`.

    The mask's format may be another than the volume's. None if there is no folder of masks.

    Raises:
        UserError: there is one, but a volume has no mask in it.
    """
    folder = _mask_folder(volumes[0])
    return [_mask_of(volume) for volume in volumes] if folder.is_dir() else None


def read_mask(path: Path, volume: CachedVolume, grid: Grid) -> Tensor:
    """A volume's mask, (X, Y, Z) of bool, on the grid that the volume was brought to.

    Args:
        path: of a file with values above 0 inside the mask, on the grid of the volume's file.
        volume: what it is the mask of.
        grid: of all volumes.

    Raises:
        UserError: it can't be read, has another shape than the volume, or is empty.
    """
    file = read_volume(path)
    inside = grid.bring(replace(file, values=(file.values > 0).astype(np.float32)))
    if inside.values.shape != (1, *volume.shape):
        raise UserError(
            f"{path} is of shape {inside.values.shape}, but as the mask of {volume} it must be of "
            f"shape {(1, *volume.shape)}"
        )
    mask = torch.from_numpy(inside.values[0] >= 0.5)
    if not mask.any():
        raise UserError(f"{path} is empty; give a mask with values above 0 where voxels count")
    return mask


def _mask_of(volume: CachedVolume) -> Path:
    folder = _mask_folder(volume)
    paths = (folder / f"{volume.name}{suffix}" for suffix in VOLUME_SUFFIXES)
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise UserError(
            f"{folder} holds no mask of {volume}; put it there under the same name, or take the "
            "folder away"
        )
    return found


def _mask_folder(volume: CachedVolume) -> Path:
    folder = volume.path.parent
    return folder.with_name(f"{folder.name[:-1]}Mask")  # without A or B
