"""Scans to read window by window: parts of others, several stacked, or one on another's grid.

`revgan.data.formats.open` gives such a source for a file; those here are made of others.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from revgan.data.aligning import align, aligned_window, on_ground, on_same_grid
from revgan.data.formats import Header, Scan, Values, Window, header_of_part
from revgan.data.missing import missing_in, with_nan
from revgan.data.slices import Plane, Turn
from revgan.data.tiling import whole
from revgan.errors import UserError

TOGETHER = 1e-2
"""Millimetres that affines of scans on one grid may differ by: formats round them."""

OFF = 0.1
"""Pixels that images on one grid may be apart on the ground."""


class Source(Protocol):
    """A scan whose values are read where they are needed.

    Attributes:
        header: what is known of it without its values.
        windowed: whether reading a window reads little more.
    """

    @property
    def header(self) -> Header: ...

    @property
    def windowed(self) -> bool: ...

    def read(self, window: Window | None = None) -> Values:
        """The values (C, *window) of a part, by default of all."""


def scan_of(source: Source) -> Scan:
    """All of a source."""
    return Scan.of(source.read(), source.header)


class _Made(ABC):
    """A source that is made of another one."""

    def __init__(self, source: Source, header: Header) -> None:
        self._source, self.header = source, header

    @property
    def windowed(self) -> bool:
        return self._source.windowed

    @abstractmethod
    def read(self, window: Window | None = None) -> Values:
        """As of `Source`."""


class Part(_Made):
    """A part of a scan, as a scan of its own.

    Args:
        source: the scan.
        part: with both ends of each slice given.
    """

    def __init__(self, source: Source, part: Window) -> None:
        super().__init__(source, header_of_part(source.header, part))
        self._part = part

    def read(self, window: Window | None = None) -> Values:
        window = window or whole(self.header.shape)
        moved = []
        for own, part, size in zip(window, self._part, self.header.shape, strict=True):
            first, end, _ = own.indices(size)
            moved.append(slice(part.start + first, part.start + end))
        return self._source.read(tuple(moved))


class Slice(_Made):
    """A slice of a volume as an image, which has no place in space."""

    def __init__(self, source: Source, plane: Plane) -> None:
        header = source.header
        affine = np.eye(4) if header.affine is None else header.affine
        self._turn, self._number = Turn.of(affine, plane.view), plane.number
        _, rows, columns = (header.shape[axis] for axis in self._turn.axes)
        flat = replace(header, shape=(rows, columns), affine=None, source=None)
        super().__init__(source, flat)

    def read(self, window: Window | None = None) -> Values:
        turn, shape = self._turn, self._source.header.shape
        own = (slice(self._number, self._number + 1), *(window or whole(self.header.shape)))
        box = [slice(None)] * 3
        for axis, part, back in zip(turn.axes, own, turn.backwards, strict=True):
            first, end, _ = part.indices(shape[axis])
            box[axis] = slice(shape[axis] - end, shape[axis] - first) if back else slice(first, end)
        return np.ascontiguousarray(turn.slices(self._source.read(tuple(box)))[:, 0])


class Kept(_Made):
    """A scan whose file can only be read whole, which is done once for many parts of it.

    Args:
        source: the scan.
        load: gives it, from wherever it is kept.
    """

    def __init__(self, source: Source, load: Callable[[], Scan]) -> None:
        super().__init__(source, source.header)
        self._load = load

    def read(self, window: Window | None = None) -> Values:
        values = self._load().values
        return values if window is None else values[:, *window]


class Stacked(_Made):
    """Several scans on one grid, whose channels follow each other.

    Raises:
        UserError: they aren't on one grid.
    """

    def __init__(self, sources: Sequence[Source], paths: Sequence[Path]) -> None:
        super().__init__(sources[0], joined([each.header for each in sources], paths))
        self._sources = sources

    @property
    def windowed(self) -> bool:
        return all(source.windowed for source in self._sources)

    def read(self, window: Window | None = None) -> Values:
        return np.concatenate(
            [_with_nodata(each.read(window), each.header, self.header) for each in self._sources]
        )


class Aligned(_Made):
    """A scan on the grid of another, see `revgan.data.aligning`."""

    def __init__(self, source: Source, to: Header, name: str, *, nearest: bool) -> None:
        header = source.header
        moves = not on_same_grid(header, to, name)
        if moves:
            header = replace(
                header,
                shape=to.shape,
                affine=to.affine,
                ground=to.ground,
                nodata=None,
                source=None,
                masked=True,  # what the scan doesn't cover is NaN
            )
        super().__init__(source, header)
        self._to, self._name, self._nearest, self._moves = to, name, nearest, moves

    def read(self, window: Window | None = None) -> Values:
        if not self._moves:
            return self._source.read(window)
        if window is None or not self._source.windowed:
            values = align(
                scan_of(self._source), self._to, self._name, nearest=self._nearest
            ).values
            return values if window is None else values[:, *window]
        own = self._source.header

        def known(box: Window) -> Values:
            values = self._source.read(box)
            return with_nan(values, missing_in(values, own.nodata)).astype(np.float32, copy=False)

        return aligned_window(known, own, self._to, window, nearest=self._nearest)


def joined(headers: Sequence[Header], paths: Sequence[Path]) -> Header:
    """The header of several scans whose channels are stacked; its metadata are those of the first.

    Raises:
        UserError: they aren't on one grid.
    """
    first = headers[0]
    for path, header in zip(paths[1:], headers[1:], strict=True):
        place, other = first.affine, header.affine
        moved = place is not None and other is not None and np.abs(place - other).max() > TOGETHER
        if first.ground is not None and header.ground is not None:
            moved = on_ground(first.ground, header.ground, first.shape) > OFF
        if header.shape != first.shape or moved:
            raise UserError(
                f"{paths[0]} and {path} aren't on one grid, as channels of one scan must be; "
                "resample one onto the other's grid"
            )
    dtype, nodata = np.result_type(*(header.dtype for header in headers)), first.nodata
    if any(header.nodata != nodata for header in headers):  # NaN stands for all of them
        dtype, nodata = np.result_type(dtype, np.float32), None
    names = tuple(name for header in headers for name in header.names)
    channels = sum(header.channels for header in headers)
    return replace(
        first,
        channels=channels,
        dtype=dtype,
        names=names if len(names) == channels else (),
        nodata=nodata,
        masked=any(header.masked for header in headers),
    )


def _with_nodata(values: Values, own: Header, of_all: Header) -> Values:
    """A scan's values in the type of all, with its nodata value."""
    typed = values
    if values.dtype == own.dtype:  # else they are fractions, with NaN where a mask says so
        typed = values.astype(of_all.dtype, copy=False)
    if own.nodata is None or own.nodata == of_all.nodata:
        return typed
    return np.where(values == own.nodata, np.nan, typed).astype(typed.dtype)
