"""Test scans with their translations: what scorers score."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from rich.console import Console
from torch import Tensor

from revgan.data.domains import DataSet
from revgan.data.mappings import TypeRange
from revgan.data.refs import ScanRef
from revgan.directions import Direction, back
from revgan.errors import UserError
from revgan.evaluation.results import Results
from revgan.inference import Translator
from revgan.progress import track
from revgan.training.runs import RunFolder


class Tested(NamedTuple):
    """Identifies a translated image or volume; names such as 1.png occur in many data sets.

    Attributes:
        name: its name.
        shape: (C, *spatial), as the networks see it.
        digest: its file's.
    """

    name: str
    shape: tuple[int, ...]
    digest: str

    @classmethod
    def of(cls, ref: ScanRef, image: Tensor) -> Self:
        """From an image or volume's reference, and the loaded image."""
        digest = hashlib.sha256()
        for path in ref.files:
            with path.open("rb") as file:
                hashlib.file_digest(file, lambda: digest)
        return cls(ref.name, tuple(image.shape), digest.hexdigest())


class Values(NamedTuple):
    """A test scan and its translations in their files' units, each (C, *spatial).

    Attributes:
        image: the input, NaN where nothing was measured.
        translation: its translation, as in the written file.
        truth: its partner, NaN where nothing was measured; None if unknown.
        round_trip: its translation translated back.
    """

    image: Tensor
    translation: Tensor
    truth: Tensor | None
    round_trip: Tensor


@dataclass(frozen=True)
class Sample:
    """A test image or volume and its translations, each (C, *spatial) in [-1, 1].

    Attributes:
        number: its number among its domain's test images.
        image: the input.
        translation: its translation, as in the written file.
        truth: its partner in the other domain, if known.
        round_trip: its translation translated back.
        measured: where every channel of the image was measured, bool of shape (*spatial); None for
            everywhere.
        truth_measured: the same for the truth.
        name: the image's.
        subject: whom it shows; "" if that is unknown.
        values: all of them in the files' units, for scorers that need these.
    """

    number: int
    image: Tensor
    translation: Tensor
    truth: Tensor | None
    round_trip: Tensor
    measured: Tensor | None = None
    truth_measured: Tensor | None = None
    name: str = ""
    subject: str = ""
    values: Values | None = None


class TestSamples:
    """The test of one direction: images or volumes in, files out.

    Args:
        direction: "AtoB" or "BtoA".
        data: with test scans in the domain translated from.
        run: where the files go.

    Attributes:
        tested: the identities of what was translated so far.
    """

    __test__ = False  # despite its name, pytest isn't meant to run it

    def __init__(self, direction: Direction, data: DataSet, run: RunFolder) -> None:
        self.direction: Direction = direction
        self.source, self.target = data.sides(direction)
        self.results = Results(run.root / "results" / direction, self.source, self.target)
        self.aligned = data.test_aligned
        self.tested: list[Tested] = []

    def __len__(self) -> int:
        return len(self.source.test)

    def translated(self, translator: Translator, console: Console) -> Iterator[Sample]:
        """Translates each scan there and back, and writes it.

        Raises:
            UserError: the model produces NaN or infinite values.
        """
        for number in track(range(len(self)), f"translating {self.direction}", console):
            ref = self.source.test[number]
            image = self.source.load(ref)
            self.tested.append(Tested.of(ref, image))
            translation = translator(image, self.direction)
            round_trip = translator(translation, back(self.direction))
            if not (translation.isfinite().all() and round_trip.isfinite().all()):
                raise UserError(  # rather than treat it as black
                    f"the model produces NaN or infinite values for {ref}, as its training failed; "
                    "try --model best, or train again with a lower optimizer.lr"
                )
            yield self._sample(number, image, translation, round_trip)

    def _sample(
        self, number: int, image: Tensor, translation: Tensor, round_trip: Tensor
    ) -> Sample:
        source, target, ref = self.source, self.target, self.source.test[number]
        written = self.results.write(number, translation)
        if isinstance(target.intensity, TypeRange):
            translation = torch.from_numpy(target.intensity.to_unit(written.numpy()))
        truth = truth_measured = truth_values = None
        if self.aligned:
            partner = target.test[number]
            truth, truth_measured = target.load(partner), target.measured(partner)
            truth_values = target.values(partner)
        values = Values(
            source.values(ref), written, truth_values, source.from_unit(round_trip, ref)
        )
        return Sample(
            number,
            image,
            translation,
            truth,
            round_trip,
            measured=source.measured(ref),
            truth_measured=truth_measured,
            name=ref.name,
            subject=ref.group,
            values=values,
        )
