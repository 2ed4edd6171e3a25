"""MetaImage and NRRD, with ITK; channels are the components or the fourth axis."""

import re
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from revgan.data.formats.axes import volume_channels
from revgan.data.formats.blaming import blaming
from revgan.data.formats.contract import Family, Header, Reader, Selection, Values, Window
from revgan.data.formats.detached import (
    millimetres_in_space,
    require_inside,
    require_whole,
    values_file,
    with_kinds,
)
from revgan.errors import optional, require_package

FORMATS = {
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
}

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""ITK's coordinates grow towards left, posterior and superior; this converts both ways."""


def _itk() -> Any:
    """SimpleITK, which is large: an extra, imported on demand.

    Raises:
        UserError: it isn't installed.
    """
    return optional("SimpleITK", "itk", "a MetaImage or NRRD file")


class _ItkReader(Reader):
    def __init__(self, path: Path) -> None:
        itk = _itk()
        require_inside(path)
        self._folder: TemporaryDirectory[str] | None = None
        self._header_file, self._values_in = path, values_file(path) or path
        kinds = with_kinds(path)
        kind = FORMATS[path.suffix.lower()]
        units = millimetres_in_space(path) if kind == FORMATS[".nrrd"] else [1.0] * 3
        if kinds is not None:
            self._folder = TemporaryDirectory(prefix="revgan-")
            path = Path(self._folder.name) / "header.nhdr"
            path.write_text(kinds, encoding="latin-1")
        self._reader = reader = itk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.SetImageIO(kind)
        try:
            _as_one_line(reader.ReadImageInformation)
        except BaseException:
            self.close()
            raise
        size, components = reader.GetSize(), reader.GetNumberOfComponents()
        dimensions = reader.GetDimension()
        pixel = reader.GetPixelID()
        self._axes = (components, *size)
        dtype = _dtype(pixel)
        self._channels = volume_channels(path, dtype, size[:3], (*size[3:], components))
        affine = np.eye(4)
        direction = np.reshape(reader.GetDirection(), (dimensions, dimensions))[:3, :3]
        affine[:3, :3] = direction * reader.GetSpacing()[:3]
        affine[:3, 3] = reader.GetOrigin()[:3]
        affine[:3] *= np.reshape(units, (3, 1))
        self.header = Header(self._channels, size[:3], dtype, LPS @ affine)

    def values(self, window: Window) -> Values:
        if self._header_file.suffix.lower() == ".mhd":
            size = prod(self._axes) * self.header.dtype.itemsize
            require_whole(self._header_file, size)
        with blaming(self._values_in):
            image = _as_one_line(self._reader.Execute)
        data = _itk().GetArrayFromImage(image).T  # ([components,] X, Y, Z[, frames])
        shape = self.header.shape
        components = self._axes[0]
        split = data.reshape(components, *shape, self._channels // components)
        return np.moveaxis(split, -1, 0).reshape(self._channels, *shape)[:, *window]

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()


class Itk(Family):
    """MetaImage and NRRD."""

    suffixes = (".mha", ".nrrd")
    spatial_dims = (3,)
    instead = ".nii.gz"

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _ItkReader(path)

    def write(self, path: Path, values: Values, header: Header) -> None:
        itk = _itk()
        several = len(values) > 1
        image = itk.GetImageFromArray(values.T if several else values[0].T, isVector=several)
        affine = LPS @ (np.eye(4) if header.affine is None else header.affine)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        image.SetOrigin(affine[:3, 3].tolist())
        image.SetSpacing(spacing.tolist())
        image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
        kind = FORMATS[path.suffix.lower()]
        _as_one_line(lambda: itk.WriteImage(image, str(path), imageIO=kind))

    def require(self, path: Path, header: Header) -> None:
        require_package("SimpleITK", "itk", str(path))

    def beyond(self, header: Header) -> list[str]:
        beyond = []
        if header.affine is not None and not np.linalg.det(header.affine[:3, :3]):
            beyond.append("an affine that can't be inverted (a spacing is 0)")
        if header.dtype.kind == "b" or header.dtype == np.float16:
            beyond.append(f"values of {header.dtype}")
        return beyond


class MetaHeader(Family):
    """MetaImage whose values are in files beside it."""

    suffixes = (".mhd",)
    parts = (".raw", ".zraw")
    spatial_dims = (3,)
    reads_only = True
    instead = ".mha"

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _ItkReader(path)


class NrrdHeader(Family):
    """NRRD whose values are in files beside it."""

    suffixes = (".nhdr",)
    parts = (".raw", ".raw.gz", ".gz")
    spatial_dims = (3,)
    reads_only = True
    instead = ".nrrd"

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _ItkReader(path)


def _dtype(pixel: int) -> np.dtype[Any]:
    """The data type of a pixel's components, without reading any."""
    itk = _itk()
    if "complex" in itk.GetPixelIDValueAsString(pixel):
        return np.dtype(np.complex64)
    return itk.GetArrayViewFromImage(itk.Image([1, 1, 1], pixel)).dtype


def _as_one_line(action: Any) -> Any:
    """Calls ITK, whose errors fill a page with the layers that they came through.

    Raises:
        OSError: with the innermost layer's message.
    """
    try:
        return action()
    except RuntimeError as error:
        lines = [line for line in str(error).splitlines() if not line.startswith("Reason: ")]
        said = re.sub(r"^.*ERROR: |\w+\(0x[0-9a-f]+\): ", "", lines[-1] if lines else "")
        raise OSError(said.strip(" .") or "ITK can't") from error
