"""From files to scans, whatever their format; `revgan.data.formats.writing` is the way back.

header = probe(path)                 # channels, shape, type, place; reads no values
with open(path) as file:             # file.header; file.read(window) -> (C, *window)
    values = file.read()
with create(path, header) as file:   # the file appears whole, or not at all
    file.write(values)
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from revgan.data.formats.blaming import blaming
from revgan.data.formats.bounds import require_declared, require_memory
from revgan.data.formats.contract import (
    IDLE,
    WHOLE,
    Affine,
    Header,
    Reader,
    Scan,
    Selection,
    Values,
    Window,
)
from revgan.data.formats.kinds import KINDS
from revgan.data.formats.registry import reading_family
from revgan.data.formats.selecting import channels
from revgan.errors import UserError


class OpenScan:
    """A scan in an open file.

    Args:
        path: the file.
        reader: its family's reader.

    Attributes:
        header: what the file says of its scan.
        windowed: whether reading a window reads little more.
    """

    def __init__(self, path: Path, reader: Reader) -> None:
        self._path, self._reader = path, reader
        self.header = reader.header
        self.windowed = reader.windowed

    def read(self, window: Window | None = None) -> Values:
        """Reads the values (C, *window) of a part of the scan, by default all, in the file's units.

        They have the file's type, in the machine's byte order; float32 where the file scales
        integers. Where a mask beside the values says that some were not measured, these are NaN,
        and all are floats that can hold the file's type: float32, or float64. Formats with tiles,
        strips or no compression read only what the window needs.

        Raises:
            UserError: the file is damaged, or values are infinite or beyond float32.
        """
        window = window or (slice(None),) * len(self.header.shape)
        require_memory(self._needed(window), self._path)
        with blaming(self._path):
            values = self._reader.values(window)
            measured = self._reader.measured(window)
        self._require_all(values, window)
        wrong = _count_infinite(values, self.header.nodata)
        if wrong:
            raise UserError(
                f"{self._path} has {wrong} infinite values (of float32); replace them by NaN where "
                "nothing was measured"
            )
        if measured is not None and not measured.all():
            known = values.astype(np.result_type(values.dtype, np.float32))
            values = np.where(measured, known, known.dtype.type(np.nan))
        return values

    def _needed(self, window: Window) -> int:
        """Bytes of memory that reading a window takes."""
        header, sides = self.header, self.header.shape
        if self.windowed:
            sides = tuple(
                len(range(*part.indices(side))) for part, side in zip(window, sides, strict=True)
            )
        size = header.channels * math.prod(sides) * header.dtype.itemsize
        return size if self.windowed else 2 * size  # decoded, then copied

    def _require_all(self, values: Values, window: Window) -> None:
        """Refuses what decoders make of files whose parts contradict each other."""
        parts = zip(window, self.header.shape, strict=True)
        told = self.header.channels, *(len(range(*part.indices(size))) for part, size in parts)
        if values.shape != told:
            raise UserError(
                f"{self._path} cannot be read (its header tells of values of shape {told}, but "
                f"there are {values.shape}); replace it with an undamaged copy"
            )

    def scan(self) -> Scan:
        """The whole scan.

        Raises:
            UserError: as `read`.
        """
        return Scan.of(self.read(), self.header)


class _Picked(Reader):
    """Some of a file's channels, of a family that reads all."""

    def __init__(self, path: Path, reader: Reader, wanted: tuple[str, ...]) -> None:
        self._reader, header = reader, reader.header
        self._numbers = channels(path, wanted, header.names, header.channels)
        names = tuple(header.names[number] for number in self._numbers) if header.names else ()
        self.header = replace(header, channels=len(self._numbers), names=names)
        self.windowed = reader.windowed

    def values(self, window: Window) -> Values:
        return self._reader.values(window)[self._numbers]

    def measured(self, window: Window) -> NDArray[np.bool_] | None:
        return self._reader.measured(window)

    def close(self) -> None:
        self._reader.close()


@contextmanager
def open(
    path: Path | str, spatial_dims: int | None = None, selection: Selection = WHOLE
) -> Iterator[OpenScan]:
    """Opens a file; see `OpenScan`.

    Args:
        path: the file.
        spatial_dims: how many spatial axes its scan must have; None for any.
        selection: which part of the file to read.

    Raises:
        UserError: the file is missing, damaged, empty, of another kind, or holds what its family
            refuses, such as complex numbers or an affine that can't be inverted.
    """
    path = Path(path)
    family = reading_family(path, spatial_dims)
    picked = None if "channels" in family.selects else selection.channels
    if picked is not None:  # of any format, though all are read
        selection = replace(selection, channels=None)
    if unknown := [name for name in selection.given if name not in family.selects]:
        raise UserError(
            f"{path} can't be read with {' and '.join(unknown)}, which files of the kind "
            f"{type(family).__name__} don't have; leave that out"
        )
    dims = spatial_dims or family.usual_dims(path)
    if idle := [name for name in selection.given if name in IDLE[dims]]:
        raise UserError(
            f"{path} is read as {KINDS[dims].article}, for which {' and '.join(idle)} does "
            "nothing; leave that out"
        )
    with blaming(path):
        reader = family.open(path, dims, selection)
    try:
        if picked is not None:
            reader = _Picked(path, reader, picked)
        require_declared(reader, path)
        if reader.header.affine is not None:
            _require_place(reader.header.affine, path)
        yield OpenScan(path, reader)
    finally:
        reader.close()


def understood(path: Path | str, spatial_dims: int) -> set[str]:
    """What of a `Selection` means something for a file.

    Raises:
        UserError: it is missing, empty or of another kind.
    """
    family = reading_family(Path(path), spatial_dims)
    return {"channels", *family.selects} - set(IDLE[spatial_dims])


def probe(
    path: Path | str, spatial_dims: int | None = None, selection: Selection = WHOLE
) -> Header:
    """What a file says about its scan, without reading any values.

    Raises:
        UserError: as `open`.
    """
    with open(path, spatial_dims, selection) as file:
        return file.header


def read(path: Path | str, spatial_dims: int | None = None, selection: Selection = WHOLE) -> Scan:
    """Reads the scan in a file.

    Raises:
        UserError: as `open` and `OpenScan.read`.
    """
    with open(path, spatial_dims, selection) as file:
        return file.scan()


def cut(scan: Scan, window: Window) -> Scan:
    """Cuts a part of a scan, which keeps its place in space."""
    part = header_of_part(scan.header, window)
    return replace(scan, values=scan.values[:, *window], affine=part.affine, ground=part.ground)


def header_of_part(header: Header, window: Window) -> Header:
    """The header of a part of a scan, at its place; without what a family keeps of the whole."""
    ranges = [range(*part.indices(size)) for part, size in zip(window, header.shape, strict=True)]
    starts, affine, ground = [part.start for part in ranges], header.affine, header.ground
    return replace(
        header,
        shape=tuple(map(len, ranges)),
        affine=None if affine is None else _moved(affine, starts),
        ground=None if ground is None else replace(ground, affine=_moved(ground.affine, starts)),
        source=None,
    )


def _moved(affine: NDArray[np.float64], starts: list[int]) -> NDArray[np.float64]:
    """The affine of a part that starts at these indices."""
    shift = np.eye(len(affine))
    shift[:-1, -1] = starts
    return affine @ shift


def _require_place(affine: Affine, path: Path) -> None:
    """Refuses an affine that can't be inverted, as it puts several voxels in one place."""
    # Headers hold float32: rounding makes ranks look full.
    steps = affine[:-1, :-1]
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(steps, rtol=1e-6) < len(steps):
        raise UserError(
            f"{path} does not say where its {KINDS[len(steps)].elements} are, as its affine can't "
            "be inverted; repair its header, for example with that of another scan on the same grid"
        )


def _count_infinite(values: Values, nodata: float | None) -> int:
    """How many values float32 doesn't hold; networks know no larger ones.

    NaN stands for nothing measured, as does `nodata`, however large it is.
    """
    if values.dtype.kind != "f":
        return 0
    with np.errstate(over="ignore"):
        infinite = np.isinf(values.astype(np.float32, copy=False))
        if nodata is not None and infinite.any():
            infinite &= values != values.dtype.type(nodata)
    return int(np.count_nonzero(infinite))
