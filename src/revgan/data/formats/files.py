"""From files to scans and back, whatever their format.

header = probe(path)                 # channels, shape, type, place; reads no values
with open(path) as file:             # file.header; file.read(window) -> (C, *window)
    values = file.read()
with create(path, header) as file:   # the file appears whole, or not at all
    file.write(values)
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from revgan.data.formats.bounds import require_declared, require_memory
from revgan.data.formats.contract import (
    IDLE,
    KINDS,
    WHOLE,
    Affine,
    Family,
    Header,
    Reader,
    Scan,
    Selection,
    Values,
    Window,
    Writer,
)
from revgan.data.formats.registry import reading_family, suffix_of, writing_family
from revgan.data.formats.selecting import channels
from revgan.errors import UserError, out_of_memory
from revgan.files import replacing

MIN_STEPS = 100
"""How many integers floats must span to be rounded to them; then rounding changes none by more than
0.5% of the contrast."""


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
        integers, and where a mask beside the values says that some were not measured: these are NaN
        then. Formats with tiles, strips or no compression read only what the window needs.

        Raises:
            UserError: the file is damaged, or values are infinite or beyond float32.
        """
        window = window or (slice(None),) * len(self.header.shape)
        require_memory(self._needed(window), self._path)
        with _blaming(self._path):
            values = self._reader.values(window)
            measured = self._reader.measured(window)
        wrong = _count_infinite(values, self.header.nodata)
        if wrong:
            raise UserError(
                f"{self._path} has {wrong} infinite values (of float32); replace them by NaN where "
                "nothing was measured"
            )
        if measured is not None and not measured.all():
            values = np.where(measured, values.astype(np.float32), np.float32(np.nan))
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
    with _blaming(path):
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


class NewScan:
    """A file being written; see `create`."""

    def __init__(self, path: Path, header: Header, family: Family, unfinished: Path) -> None:
        self.header = header
        self._path, self._family, self._unfinished = path, family, unfinished
        self._whole: Values | None = None
        self._writer: Writer | None = None

    def write(self, values: Values, window: Window | None = None) -> None:
        """Writes the values (C, *window) of a part of the scan, by default all of it.

        Raises:
            UserError: the disk is full or not writable.
            ValueError: their shape or type differs from the header's.
        """
        header = self.header
        everything = (slice(None),) * len(header.shape)
        window = window or everything
        shape = tuple(
            len(range(*part.indices(side))) for part, side in zip(window, header.shape, strict=True)
        )
        if values.dtype != header.dtype or values.shape != (header.channels, *shape):
            raise ValueError(
                f"the file takes {header.channels} channels of {header.dtype} on the grid of "
                f"{shape}, not {values.shape} of {values.dtype}"
            )
        if shape == header.shape and self._writer is None:
            self._whole = values  # which families write better in one go
            return
        with _writing(self._path):
            if self._writer is None:
                self._writer = self._family.create(self._unfinished, header)
                if self._whole is not None:
                    self._writer.write(everything, self._whole)
                    self._whole = None
            self._writer.write(window, values)

    def finish(self) -> None:
        """Completes the file.

        Raises:
            UserError: the disk is full or not writable.
            ValueError: nothing was written.
        """
        with _writing(self._path):
            if self._writer is not None:
                self._writer.finish()
            elif self._whole is not None:
                self._family.write(self._unfinished, self._whole, self.header)
            else:
                raise ValueError(f"nothing was written to {self._path}")

    def abandon(self) -> None:
        """Lets go of what was written, after a failure."""
        if self._writer is not None:
            self._writer.abandon()


@contextmanager
def create(path: Path | str, header: Header) -> Iterator[NewScan]:
    """Writes a file in the format of its suffix.

    The file appears complete at the end of the context or, after a failure, not at all: a previous
    file stays. The folder must exist.

    Args:
        path: the file.
        header: the scan's; values are written in its type.

    Raises:
        UserError: no format has the suffix, the format can't hold the scan, or writing fails.
    """
    path = Path(path)
    family = writing_family(path, header)
    require_holds(path, header)
    taken = (family.folder or family.gathers) and path.is_dir() and any(path.iterdir())
    if taken and not family.claims(path):
        raise UserError(f"{path} is a folder with something else in it; name another output")
    with ExitStack() as stack:
        with _writing(path):
            unfinished = stack.enter_context(_replacing(path))
            if suffix_of(path) and not family.folder:
                unfinished.touch()
        new = NewScan(path, header, family, unfinished)
        try:
            yield new
            new.finish()
        except BaseException:
            new.abandon()
            raise


def write(path: Path | str, values: Values, like: Header) -> None:
    """Writes values with another scan's place and metadata, in the type that `stored` chooses.

    From NIfTI to NIfTI, the header is kept: sform and qform with their codes, voxel sizes and
    units. The data's scaling and display range are reset, and so is the intent, except for vectors
    and tensors with as many components. Of other formats only the place in space is kept.

    Args:
        path: its suffix determines the format.
        values: (C, *spatial); C may differ from that of `like`.
        like: the header of a scan on the same grid.

    Raises:
        UserError: as `create`.
        ValueError: the values aren't on the grid of `like`.
    """
    if values.shape[1:] != like.shape:
        raise ValueError(f"values are {values.shape}, not on the grid of {like.shape}")
    if like.masked and values.dtype.kind == "f" and like.dtype.kind != "f":
        values = np.where(np.isnan(values).all(axis=0), 0, values)  # the mask says so
    values = stored(values, like.dtype)
    with create(path, like.of(values)) as file:
        file.write(values)


def holds(path: Path | str, header: Header) -> bool:
    """Whether the format of a path's suffix can hold such a scan."""
    path = Path(path)
    if suffix_of(path) is None:  # only what a scan was read from tells the format
        return True
    family = writing_family(path, header)
    return not family.reads_only and not family.beyond(header)


def require_holds(path: Path | str, header: Header) -> None:
    """Refuses a path whose format can't hold a scan, before there is anything to write.

    Raises:
        UserError: the message says what the format can't hold.
    """
    path = Path(path)
    family = writing_family(path, header)
    if family.reads_only:
        raise UserError(
            f"{path} can't be written, as {type(family).__name__} files can only be read; use the "
            f"suffix {family.instead}"
        )
    if beyond := family.beyond(header):
        raise UserError(
            f"{path} can't hold {KINDS[len(header.shape)].article} with {' and '.join(beyond)}; "
            f"use the suffix {family.instead}"
        )


def stored(values: Values, dtype: np.dtype[Any]) -> Values:
    """Converts values to the type to store them in.

    Integers stay as they are. Floats become float32, unless `dtype` is an integer type, they fit
    its range when rounded, and they are either integral or span `MIN_STEPS`: probabilities written
    like an int16 scan aren't rounded to 0 and 1.

    Args:
        values: of any shape.
        dtype: the wanted type.
    """
    if values.dtype.kind in "biu" or values.dtype == dtype:
        return values
    values = values.astype(np.float32, copy=False)
    if dtype.kind not in "iu":
        return values
    rounded = np.rint(values)
    limits = np.iinfo(dtype)
    lowest, highest = np.float32(limits.min), np.float32(limits.max)
    fits = lowest <= rounded.min() and rounded.max() <= highest  # false for NaN
    if not fits or (np.ptp(values) < MIN_STEPS and not np.array_equal(rounded, values)):
        return values
    if int(highest) > limits.max:  # float32 rounds 2**31 - 1 to 2**31
        highest = np.nextafter(highest, np.float32(0))
    return np.minimum(rounded, highest, out=rounded).astype(dtype)


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


def reason(error: Exception) -> str:
    """An error's message on one line."""
    text = error.strerror if isinstance(error, OSError) else None
    return " ".join((text or str(error) or type(error).__name__).split())


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Same as `replacing`, with a `UserError` if the file can't be put in place."""
    of_body: OSError | None = None
    try:
        with replacing(path) as unfinished:
            try:
                yield unfinished
            except OSError as error:
                of_body = error
                raise
    except OSError as error:
        if error is of_body:
            raise
        raise _unwritable(path, error) from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns errors of the disk into a `UserError`."""
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(
        f"{path} cannot be written ({reason(error)}); choose a writable folder with space left"
    )


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Turns what libraries raise for damaged files into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # damaged files make decoders raise nearly anything
        if out_of_memory(error):
            raise UserError(
                f"{path} needs more memory to be read than there is; crop it"
            ) from error
        raise UserError(
            f"{path} cannot be read ({reason(error)}); replace it with an undamaged copy"
        ) from error


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
