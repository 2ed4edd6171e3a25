"""What is scored of test images and volumes, one after the other, and gathered into table rows."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from revgan.data.domains import DataSet, both, spread
from revgan.data.masks import find_masks, read_mask
from revgan.data.refs import ScanRef
from revgan.directions import Direction, round_trip
from revgan.errors import notice
from revgan.evaluation.tables import Row
from revgan.evaluation.tally import Tally
from revgan.scores.distribution import Features, fid, kid
from revgan.scores.intervals import Estimate
from revgan.scores.metrics import Kind, candidates, match_channels, mean_colour, score_pair

PIXEL_SCORES = ("mae", "psnr", "ssim")
"""What `score_pair` gives, in order."""


@dataclass(frozen=True)
class Sample:
    """A test image or volume and what became of it, (C, *spatial) each in [-1, 1].

    Attributes:
        number: among the test images of its domain.
        image: itself.
        translation: its translation, as it stands in the file that was written.
        truth: the one of the other domain that belongs to it, where one is known.
        round_trip: its translation translated back.
        measured: where every channel of the image was measured, (*spatial) of bool; None where
            everything was.
        truth_measured: likewise of the truth.
    """

    number: int
    image: Tensor
    translation: Tensor
    truth: Tensor | None
    round_trip: Tensor
    measured: Tensor | None = None
    truth_measured: Tensor | None = None


class Scorer(ABC):
    """Scores one direction.

    Attributes:
        table: the key of the table that its rows belong to.
    """

    table: str

    @abstractmethod
    def add(self, sample: Sample) -> None:
        """Scores one more sample."""

    @abstractmethod
    def rows(self) -> list[Row]:
        """The scores of all samples; none if there were too few."""


class TruthScorer(Scorer):
    """Distance to the truth, of the translation and of the references beside it.

    Args:
        direction: "AtoB" or "BtoA".
        data: its test images or volumes are aligned.
        method: the model's name.
        perceptual: a further distance of two images, LPIPS; none without it.
    """

    table = "test"

    def __init__(
        self,
        direction: Direction,
        data: DataSet,
        method: str,
        perceptual: Callable[[Tensor, Tensor], float] | None = None,
    ) -> None:
        self.method, self.perceptual = method, perceptual
        _, self.target = data.sides(direction)
        self.mean = self._mean_colour()
        names = PIXEL_SCORES if perceptual is None else (*PIXEL_SCORES, "lpips")
        self.tally = Tally(direction, names)

    def add(self, sample: Sample) -> None:
        assert sample.truth is not None
        mask = both(sample.measured, both(sample.truth_measured, self._mask(sample.number)))
        if mask is not None and not mask.any():
            notice(
                f"{self.target.test[sample.number]} is not scored: nowhere were all channels of it "
                "and of what was translated measured"
            )
            return
        made = candidates(sample.image, sample.translation, sample.truth, self.mean, self.method)
        for method, image, kind in made:
            scores = score_pair(image, sample.truth, mask)
            if self.perceptual is not None:
                distance = self.perceptual(image, sample.truth)
                scores = torch.cat((scores, scores.new_tensor([distance])))
            self.tally.add(method, scores, kind)

    def rows(self) -> list[Row]:
        return self.tally.rows()

    def _mean_colour(self) -> Tensor:
        return self._mean_inside([None] * len(self.target.train))

    def _mean_inside(self, masks: Iterable[Tensor | None]) -> Tensor:
        """The mean colour of what was measured of the training scans, inside their masks."""
        target = self.target
        measured = map(target.measured, target.train)
        return mean_colour(map(target.load, target.train), map(both, measured, masks))

    def _mask(self, number: int) -> Tensor | None:
        """Where test image or volume `number` is scored; None for everywhere."""
        return None


class MaskedTruthScorer(TruthScorer):
    """Distance to the truth inside the masks of the test scans alone.

    The reference "mean" is that inside the masks of the training scans, if these have some.

    Args:
        direction: "AtoB" or "BtoA".
        data: aligned, with masks, see `has_masks`.
        method: the model's name.
    """

    table = "test_inside_masks"

    def __init__(self, direction: Direction, data: DataSet, method: str) -> None:
        super().__init__(direction, data, method)
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
    """The test scans translated to have masks."""
    _, target = data.sides(direction)
    return find_masks(target.test) is not None


class RoundTripScorer(Scorer):
    """Distance of what was translated there and back to itself: the cycle-consistency error."""

    table = "round_trip"

    def __init__(self, direction: Direction, method: str) -> None:
        self.method = method
        self.tally = Tally(round_trip(direction), PIXEL_SCORES)

    def add(self, sample: Sample) -> None:
        if sample.measured is None or sample.measured.any():
            scores = score_pair(sample.round_trip, sample.image, sample.measured)
            self.tally.add(self.method, scores)

    def rows(self) -> list[Row]:
        return self.tally.rows()


MOST_REAL = 500
"""Real training images that a distance between sets looks at, at most."""


class DistributionScorer(Scorer):
    """How far translations, all together, are from the real test images of the domain.

    The distance of real training images from these tells how near a set can come.

    Args:
        direction: "AtoB" or "BtoA".
        data: its test images need not be aligned.
        method: the model's name.
        features: of an image, by which sets are compared.
        key: the score's, "kid_random", "kid_segmenter" or "kid"; with "kid" goes "fid".
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
            return []  # a distance between sets takes two of each
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
        # No interval: the estimate's bias depends on how many different images there are.
        return scores | ({"fid": Estimate(fid(features, real))} if self.key == "kid" else {})
