"""Scores of label maps made from photos, and of photos made from label maps."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from revgan.data.domains import DataSet, Domain
from revgan.data.labels import FILE, IGNORED, Palette, class_map
from revgan.data.refs import ScanRef
from revgan.directions import Direction
from revgan.errors import UserError
from revgan.evaluation.report import ClassTable
from revgan.evaluation.samples import Sample
from revgan.evaluation.scans import ScanRow
from revgan.evaluation.scorers import Scorer
from revgan.evaluation.tables import Row
from revgan.evaluation.tally import Tally
from revgan.scores.confusion import SCORES, class_iou, confusion, segmentation_scores
from revgan.scores.metrics import Kind


class ClassScorer(Scorer):
    """Counts how often each class was taken for which; see `LabelScorer` and `SegmenterScorer`.

    Args:
        direction: "AtoB" or "BtoA".
        palette: the label maps'.
        labels: the domain that has them.

    Raises:
        UserError: a test image's classes can't be read, or no class counts in any; raised before
            any work is done.
    """

    tally: Tally

    def __init__(self, direction: Direction, palette: Palette, labels: Domain) -> None:
        self.palette, self.labels = palette, labels
        self.tally = Tally(direction, SCORES, segmentation_scores)
        truth = [true_classes(labels, ref, palette).ne(IGNORED).any() for ref in labels.test]
        if not any(truth):
            raise UserError(
                f"no pixel of {labels.test[0].path.parent.name} has a class that counts in {FILE}, "
                f"so labels can't be scored; leave fewer classes void, or remove {FILE}"
            )

    def rows(self) -> list[Row]:
        return self.tally.rows()

    def scan_rows(self) -> list[ScanRow]:
        return self.tally.scan_rows()

    def class_ious(self) -> ClassTable:
        """Intersection over union of each class, over all test images together."""
        return {
            method: self._named(class_iou(torch.stack(counts).sum(0)))
            for method, counts in self.tally.values.items()
        }

    def _named(self, ious: Tensor) -> dict[str, float | None]:
        values = zip(self.palette.names, ious.tolist(), strict=True)
        return {name: None if math.isnan(iou) else iou for name, iou in values}

    def _count(self, method: str, sample: Sample, predicted: Tensor, kind: Kind = "model") -> None:
        truth = true_classes(self.labels, self.labels.test[sample.number], self.palette)
        counts = confusion(predicted, truth, len(self.palette.names))
        self.tally.add(method, counts, sample, kind)


class LabelScorer(ClassScorer):
    """Scores label maps made from photos: each pixel gets the class of the nearest colour.

    For reference, it also scores the most frequent class of the training label maps, everywhere.

    Args:
        direction: the one into the label maps' domain.
        data: aligned, with a palette.
        palette: the data set's.
        method: the model's name.

    Raises:
        UserError: a label map can't be read, or has unknown colours.
    """

    table = "labels"

    def __init__(self, direction: Direction, data: DataSet, palette: Palette, method: str) -> None:
        labels = data.sides(direction)[1]
        super().__init__(direction, palette, labels)
        self.method = method
        self.most_frequent = most_frequent_class(labels, palette)

    def add(self, sample: Sample) -> None:
        predicted = self.palette.nearest(sample.translation)
        self._count(self.method, sample, predicted)
        if self.most_frequent is not None:
            everywhere = torch.full_like(predicted, self.most_frequent)
            name = f"{self.palette.names[self.most_frequent]} everywhere"
            self._count(name, sample, everywhere, "reference")


class SegmenterScorer(ClassScorer):
    """Scores photos made from label maps by the classes that a segmenter finds in them.

    What it finds in the real photos is the ceiling (Isola et al., 2017, Section 3.2).

    Args:
        direction: the one into the photos' domain.
        data: aligned, with a palette.
        palette: the data set's.
        method: the model's name.
        segmenter: finds the class (H, W) of each pixel of a photo (C, H, W).

    Raises:
        UserError: a label map can't be read, or has unknown colours.
    """

    table = "segmenter"

    def __init__(
        self,
        direction: Direction,
        data: DataSet,
        palette: Palette,
        method: str,
        segmenter: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__(direction, palette, data.sides(direction)[0])
        self.method, self.segmenter = method, segmenter

    def add(self, sample: Sample) -> None:
        assert sample.truth is not None
        self._count(self.method, sample, self.segmenter(sample.translation))
        self._count("real photos", sample, self.segmenter(sample.truth), "ceiling")


def true_classes(labels: Domain, ref: ScanRef, palette: Palette) -> Tensor:
    """The classes (H, W) of a label map at the size that networks see, see `class_map`."""
    return class_map(ref, palette, labels.shape(ref))


def most_frequent_class(labels: Domain, palette: Palette) -> int | None:
    """The most frequent class in all training label maps; None if no class counts in any.

    Raises:
        UserError: a label map can't be read, or has unknown colours.
    """
    counts = torch.zeros(len(palette.names), dtype=torch.int64)
    for ref in labels.train:
        classes = class_map(ref, palette)
        counts += classes[classes != IGNORED].bincount(minlength=len(counts))
    return int(counts.argmax()) if counts.any() else None
