"""From scans to files, see `revgan.data.formats.files`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from revgan.data.formats.blaming import reason
from revgan.data.formats.contract import Family, Header, Values, Window, Writer
from revgan.data.formats.kinds import KINDS
from revgan.data.formats.registry import suffix_of, writing_family
from revgan.errors import UserError
from revgan.files import replacing

MIN_STEPS = 100
"""How many integers floats must span to be rounded to them; then rounding changes none by more than
0.5% of the contrast."""


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
        UserError: the message says what the format can't hold, which package it needs, or
            what the path should be.
    """
    path = Path(path)
    family = writing_family(path, header)
    if family.reads_only:
        raise UserError(
            f"{path} can't be written, as {type(family).__name__} files can only be read; use the "
            f"suffix {family.instead}"
        )
    family.require(path, header)
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
    if dtype.kind not in "iu":
        return values.astype(np.float32, copy=False)
    if values.dtype != np.float64:
        values = values.astype(np.float32, copy=False)
    rounded, kind = np.rint(values), values.dtype.type
    limits = np.iinfo(dtype)
    lowest, highest = kind(limits.min), kind(limits.max)
    fits = lowest <= rounded.min() and rounded.max() <= highest  # false for NaN
    if not fits or (np.ptp(values) < MIN_STEPS and not np.array_equal(rounded, values)):
        return values.astype(np.float32, copy=False)
    if int(highest) > limits.max:  # float32 rounds 2**31 - 1 to 2**31
        highest = np.nextafter(highest, kind(0))
    return np.minimum(rounded, highest, out=rounded).astype(dtype)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Same as `replacing`, with a `UserError` if the file can't be put in place."""
    of_body: OSError | None = None
    try:
        with replacing(path, suffix_of(path)) as unfinished:
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
