"""Scores of synthetic CT: SynthRAD2025's, by tissue, and of structures that a network finds."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from revgan.data.domains import DataSet
from revgan.data.masks import find_masks, read_mask
from revgan.directions import Direction
from revgan.errors import notice
from revgan.evaluation.samples import Sample
from revgan.evaluation.scales import Scale
from revgan.evaluation.scans import ScanRow
from revgan.evaluation.scorers import Scorer, TruthScorer
from revgan.evaluation.tables import Row
from revgan.evaluation.tally import Tally
from revgan.scores.metrics import Candidate
from revgan.scores.structures import structure_scores
from revgan.scores.synthetic_ct import score_synthetic_ct


class SyntheticCtScorer(TruthScorer):
    """MAE, bias, PSNR and MS-SSIM by `score_synthetic_ct`, inside the test scans' masks.

    Without masks, all voxels count.

    Args:
        direction: towards the domain of CT.
        data: aligned, of one channel.
        method: the model's name.
        scale: of the domain of CT.
        limits: HU that PSNR and MS-SSIM are clipped to.
    """

    table = "synthetic_ct"
    has_agreement = False

    def __init__(
        self,
        direction: Direction,
        data: DataSet,
        method: str,
        scale: Scale,
        limits: tuple[float, float],
    ) -> None:
        super().__init__(direction, data, method, scale)
        self.limits, self.masks = limits, find_masks(self.target.test)
        names = ("mae", "bias", "psnr", "ms_ssim")
        self.tally = Tally(direction, names, undefined=("ms_ssim",))

    def _mask(self, number: int) -> Tensor | None:
        if self.masks is None:
            return None
        return read_mask(self.masks[number], self.target, self.target.test[number])

    def _add(self, made: Candidate, truth: Tensor, mask: Tensor | None, sample: Sample) -> None:
        if mask is None:
            mask = torch.ones(truth.shape[1:], dtype=torch.bool)
        scores = score_synthetic_ct(made.image, truth, mask, self.limits)
        if made.kind == "model" and scores[-1].isnan():
            notice(
                f"{sample.name} has no MS-SSIM, as none of its mask is left at coarse scales, "
                "which keep every 16th voxel and lose the border; the mean is over other scans"
            )
        self.tally.add(made.method, scores, sample, made.kind)


class TissueScorer(SyntheticCtScorer):
    """MAE and bias in air, soft tissue and bone, which thresholds find in the truth.

    Args:
        direction: as in `SyntheticCtScorer`.
        data: as there.
        method: as there.
        scale: as there.
        thresholds: HU between air and soft tissue, and between soft tissue and bone.
    """

    table = "tissues"

    def __init__(
        self,
        direction: Direction,
        data: DataSet,
        method: str,
        scale: Scale,
        thresholds: tuple[float, float],
    ) -> None:
        super().__init__(direction, data, method, scale, scale.limits)
        self.thresholds = thresholds
        self.tally = Tally(direction, ("mae", "bias"))

    def _add(self, made: Candidate, truth: Tensor, mask: Tensor | None, sample: Sample) -> None:
        low, high = self.thresholds
        error = made.image.double() - truth.double()
        tissues = {
            f"air, below {low:g} HU": truth < low,
            "soft tissue": (truth >= low) & (truth <= high),
            f"bone, above {high:g} HU": truth > high,
        }
        for tissue, where in tissues.items():
            inside = where if mask is None else where & mask
            if inside.any():
                there = error[inside]
                scores = torch.stack((there.abs().mean(), there.mean()))
                self.tally.add(f"{made.method}: {tissue}", scores, sample, made.kind)


class StructureScorer(Scorer):
    """Dice and HD95 between the structures that a network finds in translations and in the truth.

    Args:
        direction: towards the domain of CT.
        data: aligned.
        method: the model's name.
        segmenter: finds the class (*spatial) of each voxel of (1, *spatial) in HU; 0 is background.
    """

    table = "structures"
    tally: Tally

    def __init__(
        self,
        direction: Direction,
        data: DataSet,
        method: str,
        segmenter: Callable[[Tensor], Tensor],
    ) -> None:
        self.method, self.segmenter = method, segmenter
        _, self.target = data.sides(direction)
        self.tally = Tally(direction, ("dice", "hd95"))

    def add(self, sample: Sample) -> None:
        assert sample.values is not None
        assert sample.values.truth is not None
        affine = self.target.affine(self.target.test[sample.number])
        spacing = [1.0] * (sample.image.ndim - 1)
        if affine is not None:
            spacing = np.linalg.norm(affine[:-1, :-1], axis=0).tolist()
        made, true = map(self.segmenter, (sample.values.translation, sample.values.truth))
        found = structure_scores(made, true, spacing)
        for structure, scores in found.items():
            self.tally.add(f"{self.method}: structure {structure}", scores, sample)
        if found:
            mean = torch.stack(list(found.values())).mean(0)
            self.tally.add(self.method, mean, sample)

    def rows(self) -> list[Row]:
        return self.tally.rows()

    def scan_rows(self) -> list[ScanRow]:
        return self.tally.scan_rows()
