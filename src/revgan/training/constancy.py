"""Notices a direction whose translations have become the same value everywhere.

Losses stay finite then, so nothing else tells. Where tanh saturates, no gradient comes back, and
the direction stays dead however long training goes on.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from revgan.directions import DIRECTIONS, Direction, DomainName, ends
from revgan.training.batch import Batch
from revgan.training.objectives import Fakes

FLAT = 1 / 255
"""Translations that vary by less, in [-1, 1], are constant: half a grey level of 8 bits."""

VARIED = 0.1
"""What inputs and real images of the other domain must vary by, as a flat one may come out flat."""

PATIENCE = 100
"""Steps for which they must have been constant: fresh networks may begin so."""


class Constancy:
    """Follows how much translations vary, in the steps whose losses are read.

    `look` computes on the device and waits for nothing; `told`, which reads the numbers, belongs
    where losses are read.

    Attributes:
        asked: whether `look` does anything.
    """

    def __init__(self) -> None:
        self.asked = True
        self._ranges: dict[Direction, Tensor] = {}
        self._since: dict[Direction, int] = {}
        self._told: set[Direction] = set()

    def look(self, parts: Iterable[tuple[Batch, Fakes]]) -> None:
        """Takes in a step's translations, by the parts of its batch, if `asked`."""
        if not self.asked:
            return
        seen = list(parts)
        for direction in DIRECTIONS:
            source, target = ends(direction)
            ranges = [
                torch.stack([
                    _range(*batch.unmarked(fakes.of(target))),
                    _range(batch.of(source), _measured(batch, source)),
                    _range(batch.of(target), _measured(batch, target)),
                ])
                for batch, fakes in seen
            ]  # fmt: skip
            self._ranges[direction] = torch.stack(ranges).amax(0)

    def told(self, step: int) -> list[str]:
        """A sentence for each direction that has been constant for long, once.

        Args:
            step: steps done; the last one was looked at, unless it was skipped.
        """
        sentences = []
        for direction, ranges in self._ranges.items():
            made, *given = ranges.tolist()
            if not made < FLAT:  # NaN, which ends a run anyway, isn't
                self._since.pop(direction, None)
                continue
            if min(given) < VARIED:
                continue
            since = self._since.setdefault(direction, step)
            if step - since >= PATIENCE and direction not in self._told:
                self._told.add(direction)
                sentences.append(
                    f"translations {direction} have been one and the same value since step "
                    f"{since}, whatever the input, and seldom recover; train again with "
                    "--generator.tanh false (where tanh saturates, no gradient comes back) or a "
                    "lower --optimizer.lr"
                )
        return sentences


def _measured(batch: Batch, domain: DomainName) -> Tensor | None:
    return None if batch.gaps is None else batch.gaps.seen(domain)


def _range(image: Tensor, seen: Tensor | None) -> Tensor:
    """The largest difference between values of one channel, where they are seen.

    Args:
        image: (B, C, *spatial).
        seen: (B, 1, *spatial), 0 or false where values don't count.
    """
    image = image.detach()
    over = (0, *range(2, image.ndim))
    if seen is None:
        low, high = image.amin(over), image.amax(over)
    else:
        away = seen == 0
        low = image.masked_fill(away, math.inf).amin(over)
        high = image.masked_fill(away, -math.inf).amax(over)
    return (high - low).amax().float()
