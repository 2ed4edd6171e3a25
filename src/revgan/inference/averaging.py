"""The mean of several translations of a file, by several models or of its mirror images.

Their spread tells where a translation is uncertain (Lakshminarayanan et al., 2017, of ensembles;
Wang et al., 2019, of test-time augmentation).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from revgan.data import formats
from revgan.data.formats import Header, Values, Window
from revgan.data.missing import missing_in
from revgan.data.scratch import Scratch, ScratchArray
from revgan.data.tiling import tiles, whole
from revgan.directions import Direction
from revgan.errors import UserError
from revgan.inference.jobs import FileJob, Say
from revgan.inference.mirrored import ways
from revgan.inference.slicewise import file_job
from revgan.inference.windows import Progress

if TYPE_CHECKING:
    from revgan.data.refs import ScanRef
    from revgan.inference.translator import Translator

TILE = 512
"""Pixels or voxels a side that are averaged at a time."""


def members(models: Sequence[Translator], flips: Sequence[int]) -> list[Translator]:
    """Each model, mirrored along each set of some axes of its grid."""
    found = []
    for model in models:
        for axes in ways(flips):
            member = copy.copy(model)
            member.mirrored = axes
            found.append(member)
    return found


def require_alike(models: Sequence[Translator], names: Sequence[Path], way: Direction) -> None:
    """Refuses models whose translations have no mean.

    Raises:
        UserError: names two that differ.
    """

    def kind(model: Translator) -> tuple[Any, ...]:
        known = way in model.generator.directions
        units = [type(each).__name__ for each in model.intensities(way)] if known else []
        by_type = [unit == "TypeRange" for unit in units]
        return known, model.file_dims, model.generator.spatial_dims, model.channels(way), by_type

    for model, name in zip(models, names, strict=True):
        if kind(model) != kind(models[0]):
            raise UserError(
                f"{name} and {names[0]} differ in direction, dimensions, channels or the kind of "
                "intensities, so that their translations have no mean; leave one out"
            )


class AveragedJob(FileJob):
    """A file to translate into the mean of several translations; as `FileJob`.

    Each of them is kept as float32, in memory or in scratch files, and rounded once, in the mean.

    Args:
        translators: see `members`; at least one.
        source, target, direction, dtype, resize: see `FileJob`.
        spread: the file for the standard deviation of the translations (with n - 1), float32; None
            for none.
    """

    def __init__(
        self,
        translators: Sequence[Translator],
        source: ScanRef,
        target: Path,
        direction: Direction,
        dtype: np.dtype[Any] | None = None,
        resize: int | None = None,
        spread: Path | None = None,
    ) -> None:
        super().__init__(translators[0], source, target, direction, dtype, resize)
        self._members, self._spread = translators, spread

    def read(self) -> None:
        """Looks at the source, and refuses what isn't possible before the work."""
        first = self._translator
        with first.as_trained(self.source, self._direction).open(first.file_dims) as source:
            self._check(source)
        if self._spread is not None:
            formats.require_holds(self._spread, self._of_spread)

    def translate(self, progress: Progress | None = None, say: Say = lambda sentence: None) -> None:
        """Translates by each member, and writes the mean and the spread.

        Args:
            progress: called after each part, if there are several.
            say: is told how large scratch files become.
        """
        scratch, kept = Scratch(), []
        for member in self._members:
            sink = _Sink(scratch)
            job = file_job(
                member,
                self.source,
                self.target,
                self._direction,
                np.dtype(np.float32),
                self._resize,
                create=sink.create,
            )
            job.read()
            try:
                job.translate(progress, say)
                job.write()
            finally:
                job.close()
            self.in_parts = self.in_parts or job.in_parts
            kept.append(sink)
        self._write_mean(kept)

    def write(self) -> None:
        """Everything is written already."""

    @property
    def _of_spread(self) -> Header:
        return replace(self._result, dtype=np.dtype(np.float32), nodata=None)

    def _write_mean(self, kept: Sequence[_Sink]) -> None:
        nodata = kept[0].header.nodata
        with ExitStack() as stack:
            target = stack.enter_context(formats.create(self.target, self._result))
            spread = None
            if self._spread is not None:
                spread = stack.enter_context(formats.create(self._spread, self._of_spread))
            for tile in tiles(whole(self._result.shape), TILE):
                parts = np.stack([each.array.read(tile) for each in kept])
                missing = missing_in(parts[0], nodata)
                nowhere = None if missing is None else np.logical_and.reduce(missing, axis=0)
                mean = parts.mean(axis=0, dtype=np.float64)
                target.write(self._marked(mean, nowhere), tile)
                if spread is not None:
                    deviation = parts.std(axis=0, dtype=np.float64, ddof=min(1, len(parts) - 1))
                    if nowhere is not None:
                        deviation[:, nowhere] = np.nan
                    spread.write(deviation.astype(np.float32), tile)


class _Sink:
    """Takes a translation instead of a file.

    Attributes:
        header: of the translation.
        array: its values, float32.
    """

    header: Header
    array: ScratchArray

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch

    @contextmanager
    def create(self, header: Header) -> Iterator[_Sink]:
        """Makes room for a translation."""
        self.header = header
        self.array = self._scratch.array((header.channels, *header.shape), np.float32)
        yield self

    def write(self, values: Values, window: Window | None = None) -> None:
        """Takes (C, *window), or everything."""
        self.array.write(whole(self.header.shape) if window is None else window, values)
