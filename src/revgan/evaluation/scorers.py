"""Scores test images and volumes one by one, and collects the scores in table rows."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from revgan.data.domains import DataSet, both, spread
from revgan.data.mappings import TypeRange
from revgan.data.masks import find_masks, read_mask
from revgan.data.refs import ScanRef
from revgan.directions import Direction, round_trip
from revgan.errors import notice
from revgan.evaluation.samples import Sample, Values
from revgan.evaluation.scales import Scale
from revgan.evaluation.scans import ScanRow
from revgan.evaluation.tables import Row
from revgan.evaluation.tally import Tally
from revgan.scores.agreement import AgreementTally
from revgan.scores.distribution import Features, fid, kid
from revgan.scores.intervals import Estimate
from revgan.scores.metrics import (
    Candidate,
    Kind,
    candidates,
    match_channels,
    mean_colour,
    score_values,
)

PIXEL_SCORES = ("mae", "psnr", "ssim")
"""What `score_values` gives, in order."""


class Scorer(ABC):
    """Scores one direction.

    Attributes:
        table: the key of the table that its rows belong to.
        tally: what they are made from, if that is one value or more of each image.
        agreement: of the model's translations with the truth, if it is collected.
    """

    table: str
    tally: Tally | None = None
    agreement: AgreementTally | None = None

    @abstractmethod
    def add(self, sample: Sample) -> None:
        """Scores one more sample."""

    @abstractmethod
    def rows(self) -> list[Row]:
        """The scores of all samples; empty if there were too few."""

    def scan_rows(self) -> list[ScanRow]:
        """The scores of each sample; empty if they are of all together."""
        return []


class TruthScorer(Scorer):
    """Distance to the truth in its file's units, for the translation and for the references.

    Args:
        direction: "AtoB" or "BtoA".
        data: with aligned test images or volumes.
        method: the model's name.
        scale: of the domain translated to.
        perceptual: one more distance between two images, LPIPS; None leaves it out.
    """

    table = "test"
    tally: Tally
    has_agreement = True
    masked = False

    def __init__(
        self,
        direction: Direction,
        data: DataSet,
        method: str,
        scale: Scale,
        perceptual: Callable[[Tensor, Tensor], float] | None = None,
    ) -> None:
        self.method, self.scale, self.perceptual = method, scale, perceptual
        self.source, self.target = data.sides(direction)
        self.mean = self._mean_colour()
        names = PIXEL_SCORES if perceptual is None else (*PIXEL_SCORES, "lpips")
        self.tally = Tally(direction, names)
        if self.has_agreement:
            self.agreement = AgreementTally(scale.lowest, scale.highest, scale.step, self.masked)

    def add(self, sample: Sample) -> None:
        assert sample.values is not None
        truth = sample.values.truth
        assert truth is not None
        mask = both(sample.measured, both(sample.truth_measured, self._mask(sample.number)))
        if mask is not None and not mask.any():
            notice(
                f"{self.target.test[sample.number]} isn't scored, as no position has all channels "
                "measured in both it and its input"
            )
            return
        image, translation = self._unchanged(sample, sample.values), sample.values.translation
        if self.agreement is not None:
            self.agreement.add(sample.name, sample.subject, translation, truth, mask)
        made = candidates(image, translation, truth, self.mean, self.method)
        for candidate in made:
            self._add(candidate, truth, mask, sample)

    def _add(self, made: Candidate, truth: Tensor, mask: Tensor | None, sample: Sample) -> None:
        """Scores one candidate in the files' units."""
        scores = score_values(made.image, truth, self.scale.limits, mask)
        if self.perceptual is not None:
            distance = self.perceptual(*map(self._in_unit, (made.image, truth)))
            scores = torch.cat((scores, scores.new_tensor([distance])))
        self.tally.add(made.method, scores, sample, made.kind)

    def _unchanged(self, sample: Sample, values: Values) -> Tensor:
        """The input as it is; photos of 8 and of 16 bits by their types' ranges."""
        if isinstance(self.source.intensity, TypeRange) and isinstance(
            self.target.intensity, TypeRange
        ):
            return self.target.from_unit(sample.image)
        return values.image

    def _in_unit(self, values: Tensor) -> Tensor:
        unit = torch.from_numpy(self.target.intensity.to_unit(values.numpy()))
        return unit.nan_to_num(-1)

    def rows(self) -> list[Row]:
        return self.tally.rows()

    def scan_rows(self) -> list[ScanRow]:
        return self.tally.scan_rows()

    def _mean_colour(self) -> Tensor:
        return self._mean_inside([None] * len(self.target.train))

    def _mean_inside(self, masks: Iterable[Tensor | None]) -> Tensor:
        """The mean colour of the training scans, where measured and inside their masks."""
        target = self.target
        measured = map(target.measured, target.train)
        return mean_colour(map(target.values, target.train), map(both, measured, masks))

    def _mask(self, number: int) -> Tensor | None:
        """Where test image or volume `number` is scored; None for everywhere."""
        return None


class MaskedTruthScorer(TruthScorer):
    """Distance to the truth, only inside the test scans' masks.

    The reference "mean" is taken inside the training scans' masks, if they have any.

    Args:
        direction: "AtoB" or "BtoA".
        data: aligned, with masks, see `has_masks`.
        method: the model's name.
        scale: of the domain translated to.
    """

    table = "test_inside_masks"
    masked = True

    def __init__(self, direction: Direction, data: DataSet, method: str, scale: Scale) -> None:
        super().__init__(direction, data, method, scale)
        masks = find_masks(self.target.test)
        assert masks is not None
        self.masks = masks

    def _mean_colour(self) -> Tensor:
        train = self.target.train
        paths = find_masks(train)
        if not paths:
            return super()._mean_colour()
        return self._mean_inside(map(self._read, paths, train))

    def _mask(self, number: int) -> Tensor | None:
        return self._read(self.masks[number], self.target.test[number])

    def _read(self, path: Path, ref: ScanRef) -> Tensor:
        return read_mask(path, self.target, ref)


def has_masks(data: DataSet, direction: Direction) -> bool:
    """Whether the target domain's test scans have masks."""
    _, target = data.sides(direction)
    return find_masks(target.test) is not None


class RoundTripScorer(Scorer):
    """Distance between the input and its round trip: the cycle-consistency error.

    Args:
        direction: "AtoB" or "BtoA".
        method: the model's name.
        scale: of the domain translated from.
    """

    table = "round_trip"

    tally: Tally

    def __init__(self, direction: Direction, method: str, scale: Scale) -> None:
        self.method, self.scale = method, scale
        self.tally = Tally(round_trip(direction), PIXEL_SCORES)

    def add(self, sample: Sample) -> None:
        if sample.measured is None or sample.measured.any():
            assert sample.values is not None
            values = sample.values
            limits = self.scale.limits
            scores = score_values(values.round_trip, values.image, limits, sample.measured)
            self.tally.add(self.method, scores, sample)

    def rows(self) -> list[Row]:
        return self.tally.rows()

    def scan_rows(self) -> list[ScanRow]:
        return self.tally.scan_rows()


MOST_REAL = 500
"""The most real training images that a distance between sets uses."""


class DistributionScorer(Scorer):
    """Distance between the set of translations and the set of the domain's real test images.

    The distance of real training images from the latter shows how close a set can come.

    Args:
        direction: "AtoB" or "BtoA".
        data: its test images needn't be aligned.
        method: the model's name.
        features: computes an image's features, by which sets are compared.
        key: the score's: "kid_random", "kid_segmenter" or "kid", which adds "fid".
    """

    table = "distribution"

    def __init__(
        self, direction: Direction, data: DataSet, method: str, features: Features, key: str
    ) -> None:
        self.direction, self.method, self.features, self.key = direction, method, features, key
        _, self.target = data.sides(direction)
        self.made: dict[str, list[Tensor]] = {}
        self.kinds: dict[str, Kind] = {}

    def add(self, sample: Sample) -> None:
        self._add(self.method, sample.translation, "model")
        matched = match_channels(sample.image, self.target.channels)
        if matched is not None:
            self._add("input unchanged", matched, "reference")

    def rows(self) -> list[Row]:
        test = self.target.test
        if min(len(test), len(self.made.get(self.method, ()))) < 2:
            return []  # a distance between sets needs two of each
        real = torch.stack([self.features(self.target.load(ref)) for ref in test])
        for ref in spread(self.target.train, MOST_REAL):
            self._add("real training images", self.target.load(ref), "ceiling")
        return [
            Row(self.direction, method, self._scores(made, real), len(made), self.kinds[method])
            for method, made in self.made.items()
            if len(made) > 1
        ]

    def _add(self, method: str, image: Tensor, kind: Kind) -> None:
        self.made.setdefault(method, []).append(self.features(image))
        self.kinds[method] = kind

    def _scores(self, made: Sequence[Tensor], real: Tensor) -> dict[str, Estimate]:
        features = torch.stack(list(made))
        scores = {self.key: kid(features, real)}
        # No interval: the estimate's bias depends on the number of different images.
        return scores | ({"fid": Estimate(fid(features, real))} if self.key == "kid" else {})
