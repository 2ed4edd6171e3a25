"""Masks: which pixels or voxels of a scan count when translations are scored."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from revgan.data.domains import Domain
from revgan.data.formats import suffixes
from revgan.data.refs import ScanRef
from revgan.data.training_masks import MaskRecipe, mask_ref
from revgan.errors import UserError, notice


def find_masks(refs: Sequence[ScanRef]) -> list[Path] | None:
    """Finds scans' masks: that of `testA/x.nii.gz` and `testB/x.nii.gz` is `testMask/x.nii.gz`.

    A mask's format may differ from its scan's. Returns None if there is no folder of masks.

    Raises:
        UserError: the folder exists, but lacks a scan's mask.
    """
    folder = _mask_folder(refs[0])
    if refs[0].plane is not None:
        if folder.is_dir():
            notice(f"the masks in {folder} are of volumes, and count in no score of slices")
        return None
    return [_mask_of(ref) for ref in refs] if folder.is_dir() else None


def read_mask(path: Path, domain: Domain, ref: ScanRef) -> Tensor:
    """A scan's mask, bool of shape (*spatial), on the grid and at the size of the prepared scan.

    Args:
        path: a file with values above 0 inside the mask, which lies where its header says.
        domain: the scan's.
        ref: the scan.

    Raises:
        UserError: it can't be read, lies elsewhere than the scan, is empty, or has another shape
            than the scan though a format has no place.
    """
    mask = MaskRecipe.of(domain.store.recipe.config).read(mask_ref(ref, path))
    inside = np.asarray(mask.values)
    shape = domain.shape(ref)
    if inside.shape != (1, *shape):
        raise UserError(
            f"{path} has the shape {inside.shape}, but as the mask of {ref} it must have "
            f"{(1, *shape)}"
        )
    return torch.from_numpy(inside[0] > 0)


def _mask_of(ref: ScanRef) -> Path:
    folder = _mask_folder(ref)
    paths = (folder / f"{ref.whole}{suffix}" for suffix in suffixes())
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise UserError(
            f"{folder} has no mask for {ref}; put it there under the same name, or remove the "
            "folder"
        )
    return found


def _mask_folder(ref: ScanRef) -> Path:
    folder = ref.folder
    return folder.with_name(f"{folder.name[:-1]}Mask")  # without A or B
