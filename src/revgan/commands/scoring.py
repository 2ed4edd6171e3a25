"""Scores of translated test images and volumes, taken one by one."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor

from revgan.data.domains import DataSet
from revgan.data.masks import find_masks, read_mask
from revgan.evaluation.metrics import Row, Scores, mean_colour, score_direction
from revgan.networks import Direction


class Scoring:
    """Scores the translations of one direction, one by one, and the references beside them.

    Args:
        direction: "AtoB" or "BtoA".
        data: its test images or volumes are aligned.
        method: the model's name.

    Attributes:
        rows: those of `score_direction` for each image or volume scored.
        mask_rows: likewise, inside the masks of the test volumes; empty if they have none. The
            reference "mean" is that inside the masks of the training volumes, if these have some.
    """

    def __init__(self, direction: Direction, data: DataSet, method: str) -> None:
        self.direction, self.method = direction, method
        self.target = data.b if direction == "AtoB" else data.a
        self.grid = data.preparation.grid if data.preparation is not None else None
        self.masks = self._find_masks(self.target.test)
        self.mean = mean_colour(self.target.load(ref) for ref in self.target.train)
        self.mean_inside = self.mean
        if self.masks is not None and (train := self._find_masks(self.target.train)):
            masks = map(self._read_mask, train, self.target.train)
            self.mean_inside = mean_colour(map(self.target.load, self.target.train), masks)
        self.rows: list[Row] = []
        self.mask_rows: list[Row] = []

    def score(self, number: int, image: Tensor, translation: Tensor, truth: Tensor) -> None:
        """Adds the rows of test image or volume `number`."""
        triple = [image], [translation], [truth]
        self.rows += score_direction(self.direction, *triple, self.mean, self.method)
        if self.masks is not None:
            mask = self._read_mask(self.masks[number], self.target.test[number])
            self.mask_rows += score_direction(
                self.direction, *triple, self.mean_inside, self.method, [mask]
            )

    def _find_masks(self, refs: Sequence[Any]) -> list[Path] | None:
        return None if self.grid is None else find_masks(refs)

    def _read_mask(self, path: Path, ref: Any) -> Tensor:
        assert self.grid is not None
        return read_mask(path, ref, self.grid)


def means(rows: Iterable[Row]) -> list[Row]:
    """The means of rows of one image each, by method, in the order in which methods come up."""
    by_method: dict[tuple[str, str], list[Scores]] = {}
    for row in rows:
        by_method.setdefault((row.direction, row.method), []).append(row.scores)
    return [Row(*names, _mean(scores)) for names, scores in by_method.items()]


def _mean(scores: Sequence[Scores]) -> Scores:
    mae, psnr, ssim = (fmean(getattr(s, name) for s in scores) for name in ("mae", "psnr", "ssim"))
    return Scores(mae, psnr, ssim, sum(s.count for s in scores))
