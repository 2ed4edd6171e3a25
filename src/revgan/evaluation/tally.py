"""Collects images' scores, one by one, into the rows of a table."""

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor

from revgan.evaluation.samples import Sample
from revgan.evaluation.scans import ScanRow
from revgan.evaluation.tables import Row
from revgan.scores.intervals import Estimate, bootstrap
from revgan.scores.metrics import Kind


class Tally:
    """The values of each image, by the method that made it.

    Images of one subject are drawn together by the bootstrap.

    Args:
        direction: the rows'.
        names: the scores' keys in `tables.COLUMNS`.
        statistic: computes scores from means over images, see `bootstrap`; by default the means are
            the scores.
        undefined: the names of scores that an image may not have, which is then NaN and left out.
    """

    def __init__(
        self,
        direction: str,
        names: Sequence[str],
        statistic: Callable[[Tensor], Tensor] | None = None,
        undefined: Sequence[str] = (),
    ) -> None:
        self.direction, self.names, self.statistic = direction, names, statistic
        self.undefined = undefined
        self.values: dict[str, list[Tensor]] = {}
        self.kinds: dict[str, Kind] = {}
        self.scans: dict[str, list[str]] = {}
        self.subjects: dict[str, list[str]] = {}

    def add(self, method: str, values: Tensor, sample: Sample, kind: Kind = "model") -> None:
        """Adds the values of one more image, which `sample` names."""
        self.values.setdefault(method, []).append(values)
        self.scans.setdefault(method, []).append(sample.name)
        self.subjects.setdefault(method, []).append(sample.subject)
        self.kinds[method] = kind

    @classmethod
    def joined(cls, tallies: Sequence[Self]) -> Self:
        """The values of several tests as those of one."""
        first = tallies[0]
        whole = cls(first.direction, first.names, first.statistic, first.undefined)
        for tally in tallies:
            for method, values in tally.values.items():
                whole.values.setdefault(method, []).extend(values)
                whole.scans.setdefault(method, []).extend(tally.scans[method])
                whole.subjects.setdefault(method, []).extend(tally.subjects[method])
                whole.kinds[method] = tally.kinds[method]
        return whole

    def rows(self) -> list[Row]:
        """One row per method, in the order in which they were added."""
        return [
            Row(
                self.direction,
                method,
                dict(zip(self.names, self._estimates(method), strict=True)),
                len(values),
                self.kinds[method],
            )
            for method, values in self.values.items()
        ]

    def _estimates(self, method: str) -> list[Estimate]:
        values = torch.stack(self.values[method])
        subjects = [name or place for place, name in enumerate(self.subjects[method])]
        undefined = [self.names.index(name) for name in self.undefined]
        return bootstrap(values, self.statistic, subjects, undefined)

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
