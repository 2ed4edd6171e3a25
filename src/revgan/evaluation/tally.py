"""Scores of images, taken one by one, gathered into the rows of a table."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from revgan.evaluation.tables import Row
from revgan.scores.intervals import bootstrap
from revgan.scores.metrics import Kind


class Tally:
    """What is known of each image, by the method that made it.

    Args:
        direction: of the rows.
        names: of the scores, keys of `tables.COLUMNS`.
        statistic: makes the scores of means over images, see `bootstrap`; by default the means are
            the scores.
    """

    def __init__(
        self,
        direction: str,
        names: Sequence[str],
        statistic: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.direction, self.names, self.statistic = direction, names, statistic
        self.values: dict[str, list[Tensor]] = {}
        self.kinds: dict[str, Kind] = {}

    def add(self, method: str, values: Tensor, kind: Kind = "model") -> None:
        """Adds what is known of one more image."""
        self.values.setdefault(method, []).append(values)
        self.kinds[method] = kind

    def rows(self) -> list[Row]:
        """One for each method, in the order in which they came up."""
        return [
            Row(
                self.direction,
                method,
                dict(zip(self.names, bootstrap(torch.stack(values), self.statistic), strict=True)),
                len(values),
                self.kinds[method],
            )
            for method, values in self.values.items()
        ]
