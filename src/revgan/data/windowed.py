"""Prepares a scan that is too large to be in memory: window by window, where it is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from revgan.data.channels import converted
from revgan.data.formats import Header, Values, Window
from revgan.data.large import LARGE, Unread, windows_of
from revgan.data.missing import missing_in, with_nan
from revgan.data.placing import Lattice, Move
from revgan.data.preparation import Grid
from revgan.data.refs import ScanRef
from revgan.data.sources import Source


def is_large(source: Source) -> bool:
    """Whether a scan is read window by window."""
    header = source.header
    size = header.channels * prod(header.shape) * header.dtype.itemsize
    return source.windowed and size >= LARGE


@dataclass(frozen=True)
class Windowed:
    """Reads windows of a prepared scan, each of them from the file.

    Attributes:
        ref: the scan.
        spatial_dims: of it.
        channels: see `Recipe`.
        grid: that it is brought to.
    """

    ref: ScanRef
    spatial_dims: int
    channels: int | None
    grid: Grid

    def __call__(self, window: Window) -> Values:
        with self.opened() as values:
            return values.read(window)

    @contextmanager
    def opened(self) -> Iterator[Unread]:
        """All of it, for many windows: the file stays open."""
        with self.ref.open(self.spatial_dims) as source:
            own = Lattice(source.header.shape, source.header.affine)
            move = Move(own, self.lattice(source.header))
            dtype = self._dtype(source, move)

            def read(window: Window) -> Values:
                values = move.read(lambda box: self._known(source, box), window)
                return np.ascontiguousarray(values, dtype)

            channels = self.channels or source.header.channels
            yield Unread(read, (channels, *self.lattice(source.header).shape), dtype)

    def lattice(self, header: Header) -> Lattice:
        """Where its voxels or pixels are, once it is prepared."""
        return Lattice.of(header, self.grid)

    def nodata(self, header: Header) -> float | None:
        """What marks missing values in the prepared scan, besides NaN."""
        changes = self.channels not in (None, header.channels) or self.grid != Grid()
        return None if changes or header.dtype.kind == "f" else header.nodata

    def _known(self, source: Source, window: Window) -> Values:
        values, header = source.read(window), source.header
        if self.nodata(header) is None:
            values = with_nan(values, missing_in(values, header.nodata))
        return values if self.channels is None else converted(values, self.channels, self.ref.path)

    def _dtype(self, source: Source, move: Move) -> np.dtype[Any]:
        header = source.header
        gaps = header.masked or header.nodata != self.nodata(header)
        whole_numbers = header.dtype.kind in "biu" and header.dtype.itemsize <= 4
        return header.dtype if whole_numbers and not (gaps or move.interpolates) else _FLOAT


_FLOAT = np.dtype(np.float32)


@dataclass
class Look:
    """What was seen of a scan's values.

    Attributes:
        missing: the share for which nothing was measured.
        constant: the value that all others have; None if they differ, or if there are none.
    """

    missing: float
    constant: float | None

    @classmethod
    def at(cls, values: Unread, nodata: float | None) -> "Look":
        """Looks at all of a scan, part by part.

        Args:
            values: of the scan.
            nodata: marks missing values, besides NaN.
        """
        gaps, lowest, highest = 0, np.inf, -np.inf
        for part in windows_of(values):
            piece = values[:, *part]
            missing = missing_in(piece, nodata)
            if missing is not None:
                gaps += int(missing.sum())
                piece = piece[~missing]
            if piece.size:
                lowest, highest = min(lowest, piece.min()), max(highest, piece.max())
        constant = float(lowest) if lowest == highest else None
        return cls(gaps / prod(values.shape), constant)


def measured(values: Unread, nodata: float | None) -> Unread:
    """The same values with NaN where nothing was measured, as float32."""

    def read(window: Window) -> Values:
        known = values.read(window)
        return with_nan(known, missing_in(known, nodata)).astype(np.float32, copy=False)

    return replace(values, read=read, dtype=_FLOAT)
