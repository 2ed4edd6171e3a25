"""Collects images' scores, one by one, into the rows of a table."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from revgan.evaluation.scans import ScanRow
from revgan.evaluation.tables import Row
from revgan.scores.intervals import bootstrap
from revgan.scores.metrics import Kind


class Tally:
    """The values of each image, by the method that made it.

    Args:
        direction: the rows'.
        names: the scores' keys in `tables.COLUMNS`.
        statistic: computes scores from means over images, see `bootstrap`; by default the means are
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
        self.scans: dict[str, list[str]] = {}

    def add(self, method: str, values: Tensor, scan: str, kind: Kind = "model") -> None:
        """Adds the values of one more image, of which `scan` is the name."""
        self.values.setdefault(method, []).append(values)
        self.scans.setdefault(method, []).append(scan)
        self.kinds[method] = kind

    def rows(self) -> list[Row]:
        """One row per method, in the order in which they were added."""
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

    def scan_rows(self) -> list[ScanRow]:
        """One row per method and image."""
        return [
            ScanRow(self.direction, method, scan, self._scores(values), self.kinds[method])
            for method, several in self.values.items()
            for scan, values in zip(self.scans[method], several, strict=True)
        ]

    def _scores(self, values: Tensor) -> dict[str, float]:
        """The scores of one image."""
        if self.statistic is not None:
            values = self.statistic(values[None])[0]
        return dict(zip(self.names, values.double().tolist(), strict=True))
