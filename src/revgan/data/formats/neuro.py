"""FreeSurfer, Analyze, MINC, AFNI and Philips files, with nibabel.

Only FreeSurfer's can be written.
"""

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader, MGHImage

from revgan.data.formats.axes import volume_channels
from revgan.data.formats.contract import Family, Header, Reader, Selection, Values, Window
from revgan.errors import UserError

GZIP = b"\x1f\x8b"
"""What compressed files start with."""


class _Reader(Reader):
    _image: Any = None

    def __init__(self, path: Path) -> None:
        _require_values(path)
        self._stream: Any = None
        if path.suffix.lower() in FreeSurfer.suffixes:  # nibabel would leave the file open
            with path.open("rb") as file:
                compressed = file.read(2) == GZIP
            self._stream = gzip.open(path) if compressed else path.open("rb")  # noqa: SIM115
        try:
            self._open(path)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path) -> None:
        stream = self._stream
        image: Any = nibabel.load(path) if stream is None else MGHImage.from_stream(stream)
        if not hasattr(image, "affine"):
            raise UserError(f"{path} is a {type(image).__name__}, not a volume; give a volume")
        self._image = image
        shape, others = image.shape[:3], image.shape[3:]
        stored = image.get_data_dtype().newbyteorder("=")
        channels = volume_channels(path, stored, shape, others)
        # Each format says in its own way whether values are scaled; the first value shows it.
        first = np.asanyarray(image.dataobj[(slice(0, 1),) * len(image.shape)])
        self._dtype = first.dtype.newbyteorder("=")
        if self._dtype.kind == "f" and stored.kind != "f":
            self._dtype = np.dtype(np.float32)
        source = image.header if isinstance(image, MGHImage) else None
        self.header = Header(channels, shape, self._dtype, image.affine.astype(float), source)

    def values(self, window: Window) -> Values:
        data = np.asanyarray(self._image.dataobj[*window])
        with np.errstate(over="ignore"):  # reported as infinite
            data = data.astype(self._dtype, copy=False)
        return np.moveaxis(data.reshape(*data.shape[:3], self.header.channels), -1, 0)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._image is not None:
            opened: Any = getattr(self._image.dataobj, "file_like", None)
            if hasattr(opened, "close"):  # nibabel leaves Philips' files open
                opened.close()


class FreeSurfer(Family):
    """FreeSurfer's MGH."""

    suffixes = (".mgz", ".mgh")
    spatial_dims = (3,)
    instead = ".nii.gz"

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _Reader(path)

    def write(self, path: Path, values: Values, header: Header) -> None:
        known = header.source if isinstance(header.source, MGHHeader) else None
        affine = np.eye(4) if header.affine is None else header.affine
        data = values[0] if len(values) == 1 else np.moveaxis(values, 0, -1)
        image = MGHImage(data, affine, known)
        image.set_data_dtype(values.dtype)
        with path.open("wb") as file:
            if path.suffix.lower() == ".mgh":
                image.to_stream(file)
                return
            with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as compressed:
                image.to_stream(compressed)

    def beyond(self, header: Header) -> list[str]:
        fits = header.dtype in (np.uint8, np.int16, np.int32, np.float32)
        return [] if fits else [f"values of {header.dtype}"]


class Neuroimaging(Family):
    """The formats that nibabel can only read.

    Analyze 7.5 and NIfTI in two files (.hdr has the header, .img the values), AFNI (.HEAD and
    .BRIK), Philips' PAR and REC, MINC 1 and 2.
    """

    suffixes = (".hdr", ".img", ".head", ".brik", ".brik.gz", ".par", ".rec", ".mnc")
    parts = (".img", ".brik", ".brik.gz", ".rec")
    spatial_dims = (3,)
    reads_only = True
    instead = ".nii.gz"

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        try:
            return _Reader(path)
        except ModuleNotFoundError as error:
            raise UserError(f"{path} is MINC 2, which needs h5py; pip install h5py") from error


PAIRS = {
    ".hdr": (".img", ".img.gz"),
    ".head": (".BRIK", ".BRIK.gz", ".brik", ".brik.gz"),
    ".par": (".REC", ".rec"),
}
"""Where a header's values are."""


def _require_values(path: Path) -> None:
    """Refuses a header whose values are missing, which nibabel would call damaged."""
    partners = PAIRS.get(path.suffix.lower(), ())
    beside = [path.with_name(path.name[: -len(path.suffix)] + suffix) for suffix in partners]
    beside += [each.with_suffix(each.suffix.upper()) for each in beside]
    if partners and not any(each.is_file() for each in beside):
        raise UserError(
            f"{path} says that its values are in {beside[0].name}, which isn't there; put it beside"
        )
