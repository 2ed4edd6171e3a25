"""NIfTI-1 and 2, compressed or not: channels are the fourth or fifth axis, as are time frames."""

import gzip
import math
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any

import nibabel
import numpy as np
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from nibabel.nifti2 import Nifti2Header, Nifti2Image
from numpy.typing import NDArray

from revgan.data.formats.axes import volume_channels
from revgan.data.formats.contract import (
    DEFLATED,
    Affine,
    Family,
    Header,
    Reader,
    Selection,
    Values,
    Window,
    Writer,
)
from revgan.data.scratch import reserve
from revgan.errors import UserError

MILLIMETRES = {1: 1e3, 3: 1e-3}
"""By the header's codes for units of length: metres and micrometres; others count as mm."""


CHUNK = 2**20
"""Bytes that are compressed at a time."""

GZIP = b"\x1f\x8b"
"""What compressed files start with."""

HEADER = 540
"""Bytes of the longer header, that of NIfTI-2."""


class _NiftiReader(Reader):
    windowed = True

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._compressed = file.read(2) == GZIP  # whatever the name says
        self._stream: Any = None
        if self._compressed == (path.suffix.lower() == ".gz"):
            image = nibabel.load(path)
        else:
            self._stream = gzip.open(path) if self._compressed else path.open("rb")  # noqa: SIM115
            try:
                image = _from_stream(self._stream)
            except BaseException:
                self._stream.close()
                raise
        if not isinstance(image, Nifti1Image):  # such as CIFTI, which also ends in .nii
            raise UserError(f"{path} is a {type(image).__name__}, not a volume; give a volume")
        self._path, self._image = path, image
        self._plain: IO[bytes] | None = None
        shape, others = image.shape[:3], image.shape[3:]
        stored = image.header.get_data_dtype().newbyteorder("=")
        channels = volume_channels(path, stored, shape, others)
        size = math.prod(image.shape) * stored.itemsize
        self.least = size / DEFLATED if self._compressed else size
        proxy: Any = image.dataobj
        self._scaled = (float(proxy.slope), float(proxy.inter)) != (1, 0)
        whole = float(proxy.slope).is_integer() and float(proxy.inter).is_integer()
        dtype = stored if whole else np.dtype(np.float32)
        affine = _to_millimetres(image.header) @ image.affine
        self.header = Header(channels, shape, dtype, affine, image.header)

    def values(self, window: Window) -> Values:
        if self._compressed and window == (slice(None),) * 3:
            data = self._uncompressed()
        else:
            if self._compressed and self._plain is None:
                self._uncompress()
            data = np.asanyarray(self._image.dataobj[*window])
        dtype = np.dtype(np.float32) if self._scaled else data.dtype.newbyteorder("=")
        with np.errstate(over="ignore"):  # reported as infinite
            data = data.astype(dtype, copy=False)
        return np.moveaxis(data.reshape(*data.shape[:3], self.header.channels), -1, 0)

    def _uncompress(self) -> None:
        """Into a file that windows can be read from."""
        self._plain = plain = tempfile.TemporaryFile()  # noqa: SIM115 - until the reader is closed
        with gzip.open(self._path) as source:
            shutil.copyfileobj(source, plain, CHUNK)
        plain.seek(0)
        self._image = _from_stream(plain)

    def _uncompressed(self) -> NDArray[Any]:
        with gzip.open(self._path) as file:
            kind: type[Nifti1Image] = type(self._image)
            data = np.asanyarray(kind.from_stream(file).dataobj)
            while file.read(2**20):  # gzip detects damage only at the end of a file
                pass
        return data

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._plain is not None:
            self._plain.close()


def _from_stream(stream: Any) -> Any:
    """A volume whose file's name doesn't tell nibabel how it is compressed."""
    head = stream.read(HEADER)
    stream.seek(0)
    kinds = (
        kind for kind in (Nifti2Image, Nifti1Image) if kind.header_class.may_contain_header(head)
    )
    return next(kinds, Nifti1Image).from_stream(stream)


class Nifti(Family):
    """NIfTI-1 and 2."""

    suffixes = (".nii", ".nii.gz")
    spatial_dims = (3,)
    instead = ".npy"

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _NiftiReader(path)

    def write(self, path: Path, values: Values, header: Header) -> None:
        image = _image(values, header)
        with path.open("wb") as file:
            if path.suffix.lower() != ".gz":
                image.to_stream(file)
                return
            with _compressed(file) as compressed:
                image.to_stream(compressed)

    def create(self, path: Path, header: Header) -> Writer:
        return _NiftiWriter(path, header)

    def beyond(self, header: Header) -> list[str]:
        fits = header.dtype.kind in "iu" or header.dtype.itemsize >= 4
        return [] if fits else [f"values of {header.dtype}"]


class _NiftiWriter(Writer):
    """Writes windows to an uncompressed file, which is compressed at the end if that is asked."""

    def __init__(self, path: Path, header: Header) -> None:
        self._path = path
        self._compresses = path.suffix.lower() == ".gz"
        self._plain = path.with_name(f"{path.name}.nii") if self._compresses else path
        # One number stands for all voxels.
        like = np.broadcast_to(np.zeros((), header.dtype), (header.channels, *header.shape))
        image = _image(like, header)
        image.update_header()
        image.header.set_slope_inter(1, 0)
        with self._plain.open("wb") as file:
            image.header.write_to(file)
            file.write(bytes(image.header.get_data_offset() - file.tell()))
        self._shape: tuple[int, ...] = image.shape
        self._dtype, self._offset = image.header.get_data_dtype(), image.header.get_data_offset()
        with self._plain.open("r+b") as file:
            reserve(file, self._offset + math.prod(image.shape) * self._dtype.itemsize)

    def write(self, window: Window, values: Values) -> None:
        # Mapped for this window alone: what stays mapped counts as the process's memory.
        stored = np.memmap(self._plain, self._dtype, "r+", self._offset, self._shape, order="F")
        data = np.moveaxis(values, 0, -1)
        stored[window] = data.reshape(*data.shape[:3], *self._shape[3:])

    def finish(self) -> None:
        if not self._compresses:
            return
        with (
            self._plain.open("rb") as plain,
            self._path.open("wb") as file,
            _compressed(file) as compressed,
        ):
            shutil.copyfileobj(plain, compressed, CHUNK)
        self._plain.unlink()

    def abandon(self) -> None:
        if self._compresses:
            self._plain.unlink(missing_ok=True)


def _compressed(file: Any) -> gzip.GzipFile:
    """Compresses what is written into it.

    By the fastest level, which nibabel uses too; without a timestamp, so that the same volume gives
    the same file.
    """
    return gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0)


def _image(values: Values, like: Header) -> Nifti1Image:
    """An image of values (C, X, Y, Z), with the header of `like` if that is from NIfTI."""
    known = like.source if isinstance(like.source, Nifti1Header) else None
    channels = len(values)
    others: tuple[int, ...] = known.get_data_shape()[3:] if known is not None else ()
    if math.prod(others) != channels:
        others = () if channels == 1 else (channels,)
    data = np.moveaxis(values, 0, -1).reshape(*values.shape[1:], *others)
    if known is None:
        affine = np.eye(4) if like.affine is None else like.affine
        image = Nifti1Image(data, affine, dtype=values.dtype)
        image.header.set_xyzt_units("mm")
        return image
    header = known.copy()
    header["cal_min"] = header["cal_max"] = 0
    if len(others) < 2:
        header.set_intent("none")
    kind: type[Nifti1Image] = Nifti2Image if isinstance(header, Nifti2Header) else Nifti1Image
    # nibabel changes sform and qform only if their affine differs from this one.
    assert like.affine is not None  # everything with such a header has one
    affine = np.linalg.inv(_to_millimetres(header)) @ like.affine
    return kind(data, affine, header, dtype=values.dtype)


def _to_millimetres(header: Nifti1Header) -> Affine:
    """An affine that converts from the header's unit of length."""
    unit = MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    return np.diag([unit, unit, unit, 1.0])
