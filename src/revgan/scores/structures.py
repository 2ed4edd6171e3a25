"""How well structures agree that a network found in two scans."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor


def structure_scores(made: Tensor, true: Tensor, spacing: Sequence[float]) -> dict[int, Tensor]:
    """Dice and the 95th percentile of the Hausdorff distance, by MONAI, of each structure.

    Args:
        made: (*spatial), int64: the class of each voxel, in which 0 is background.
        true: the same of the truth.
        spacing: millimetres from voxel to voxel along each axis.

    Returns:
        (Dice, HD95 in mm), float64, by class, of those in the truth. A structure that is missing in
        `made` has a Dice of 0 and the scan's diagonal as its distance.
    """
    from monai.metrics import compute_dice, compute_hausdorff_distance  # MONAI takes seconds

    sides = [size * mm for size, mm in zip(true.shape, spacing, strict=True)]
    diagonal = torch.tensor(sides, dtype=torch.float64).square().sum().sqrt()
    scores = {}
    for structure in true.unique().tolist():
        if structure == 0:
            continue
        ours, theirs = ((each == structure)[None, None] for each in (made, true))
        dice = compute_dice(ours, theirs)[0, 0].double()
        far = diagonal
        if ours.any():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of MONAI's own calls
                distance = compute_hausdorff_distance(
                    ours,
                    theirs,
                    include_background=True,
                    percentile=95,
                    spacing=[float(mm) for mm in spacing],
                )
            far = distance[0, 0].double()
        scores[structure] = torch.stack((dice, far))
    return scores
