"""What a volume is, and how NIfTI, MetaImage, NRRD and NumPy files hold one.

`revgan.data.volumes` is the way to read and write them.
"""

import gzip
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from nibabel.nifti2 import Nifti2Header, Nifti2Image
from numpy.typing import NDArray

from revgan.errors import UserError

ITK_FORMATS = {".mha": "MetaImageIO", ".nrrd": "NrrdImageIO"}

MAX_CHANNELS = 512
"""Enough for diffusion-weighted volumes (288 in the Human Connectome Project), not for a long time
series of which each frame would become a channel."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume as read from a file.

    Attributes:
        values: (C, X, Y, Z), float32, in the file's units; whole numbers are exact up to 2**24.
        affine: (4, 4), float64, from voxel indices to millimetres towards right, anterior and
            superior (RAS+).
        source: what `write_volume` needs to keep the file's header, or None.
        dtype: of the values in the file; float32 if the file scales integers to fractions.
    """

    values: NDArray[np.float32]
    affine: NDArray[np.float64]
    source: Any
    dtype: np.dtype[Any]


def _read_nifti(path: Path) -> Volume:
    image = nibabel.load(path)
    if not isinstance(image, Nifti1Image):  # as CIFTI, which is also called .nii
        raise UserError(f"{path} holds no volume but a {type(image).__name__}; give a volume")
    spatial, others = image.shape[:3], image.shape[3:]
    stored = image.header.get_data_dtype().newbyteorder("=")
    channels = _checked_channels(path, stored, spatial, others)
    data = _nifti_data(path, image).reshape(*spatial, channels)
    proxy: Any = image.dataobj
    whole = float(proxy.slope).is_integer() and float(proxy.inter).is_integer()
    return Volume(
        values=_float32(np.moveaxis(data, -1, 0)),
        affine=_to_millimetres(image.header) @ image.affine,
        source=image.header,
        dtype=stored if whole else np.dtype(np.float32),
    )


def _nifti_data(path: Path, image: Nifti1Image) -> NDArray[Any]:
    """The values of a NIfTI file, (X, Y, Z, ...)."""
    if path.suffix.lower() != ".gz":
        return np.asanyarray(image.dataobj)
    with gzip.open(path) as file:
        kind: type[Nifti1Image] = type(image)
        data = np.asanyarray(kind.from_stream(file).dataobj)
        while file.read(2**20):  # only at its end does gzip find out that a file is damaged
            pass
    return data


def _write_nifti(path: Path, array: NDArray[Any], like: Volume) -> None:
    image = _nifti_image(array, like)
    with path.open("wb") as file:
        if path.suffix.lower() != ".gz":
            image.to_stream(file)
            return
        # The fastest level, which nibabel uses too; no time, so that the same volume gives the
        # same file.
        with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as compressed:
            image.to_stream(compressed)


def _nifti_image(array: NDArray[Any], like: Volume) -> Nifti1Image:
    """A NIfTI image of an array (C, X, Y, Z), with the header of `like` if that was NIfTI."""
    known = like.source if isinstance(like.source, Nifti1Header) else None
    channels = len(array)
    others: tuple[int, ...] = known.get_data_shape()[3:] if known is not None else ()
    if math.prod(others) != channels:
        others = () if channels == 1 else (channels,)
    data = np.moveaxis(array, 0, -1).reshape(*array.shape[1:], *others)
    if known is None:
        image = Nifti1Image(data, like.affine, dtype=array.dtype)
        image.header.set_xyzt_units("mm")
        return image
    header = known.copy()
    header["cal_min"] = header["cal_max"] = 0
    if len(others) < 2:
        header.set_intent("none")
    kind: type[Nifti1Image] = Nifti2Image if isinstance(header, Nifti2Header) else Nifti1Image
    # nibabel changes sform and qform only if they say another affine than this.
    affine = np.linalg.inv(_to_millimetres(header)) @ like.affine
    return kind(data, affine, header, dtype=array.dtype)


def _to_millimetres(header: Nifti1Header) -> NDArray[np.float64]:
    """From the header's unit of space, as an affine."""
    metres, micrometres = 1, 3
    unit = {metres: 1e3, micrometres: 1e-3}.get(int(header["xyzt_units"]) & 7, 1.0)
    return np.diag([unit, unit, unit, 1.0])


def _read_itk(path: Path) -> Volume:
    import SimpleITK  # on demand: it is large, and few use its formats

    image = SimpleITK.ReadImage(str(path), imageIO=ITK_FORMATS[path.suffix.lower()])
    dimensions, components = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    size = image.GetSize()
    data = SimpleITK.GetArrayViewFromImage(image).T  # ([components,] X, Y, Z[, frames])
    channels = _checked_channels(path, data.dtype, size[:3], (*size[3:], components))
    axes = (components, *size[:3], channels // components)
    affine = np.eye(4)
    direction = np.reshape(image.GetDirection(), (dimensions, dimensions))[:3, :3]
    affine[:3, :3] = direction * image.GetSpacing()[:3]
    affine[:3, 3] = image.GetOrigin()[:3]
    return Volume(
        values=_float32(np.moveaxis(data.reshape(axes), -1, 0)).reshape(channels, *size[:3]),
        affine=_LPS @ affine,
        source=None,
        dtype=data.dtype,
    )


def _write_itk(path: Path, array: NDArray[Any], like: Volume) -> None:
    import SimpleITK

    several = len(array) > 1
    image = SimpleITK.GetImageFromArray(array.T if several else array[0].T, isVector=several)
    affine = _LPS @ like.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    SimpleITK.WriteImage(image, str(path), imageIO=ITK_FORMATS[path.suffix.lower()])


_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""ITK's coordinates grow towards left, posterior and superior; this goes there and back."""


def _read_npy(path: Path) -> Volume:
    with path.open("rb") as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    spatial, others = array.shape[-3:], array.shape[:-3]
    channels = _checked_channels(path, array.dtype, spatial, others)
    values = _float32(array).reshape(channels, *spatial)
    return Volume(values, np.eye(4), source=array.ndim, dtype=array.dtype.newbyteorder("="))


def _write_npy(path: Path, array: NDArray[Any], like: Volume) -> None:
    has_channel_axis = len(array) > 1 or like.source == 4  # as in the file that was read
    with path.open("wb") as file:
        np.lib.format.write_array(file, array if has_channel_axis else array[0], allow_pickle=False)


def _checked_channels(
    path: Path, dtype: np.dtype[Any], spatial: tuple[int, ...], others: tuple[int, ...]
) -> int:
    """The channels of a file with these axes in space and others beside them.

    Raises:
        UserError: it holds no volume of real numbers with at most one axis of channels.
    """
    size = " x ".join(map(str, spatial + tuple(count for count in others if count != 1)))
    if dtype.kind not in "buif":
        kinds = {"c": "complex numbers", "V": "structs such as RGB colours"}
        raise UserError(
            f"{path} holds {kinds.get(dtype.kind, str(dtype))}; save real numbers, in as many "
            "channels as needed"
        )
    if 0 in spatial + others:
        raise UserError(f"{path} is empty ({size}); replace it by a volume with voxels")
    if len(spatial) < 3 or 1 in spatial:
        raise UserError(
            f"{path} is 2D ({size}); volumes have at least two voxels along each of three axes"
        )
    channels = math.prod(others)
    if channels != max(others, default=1):
        raise UserError(
            f"{path} has too many axes ({size}); save it with three in space and one of channels"
        )
    if channels > MAX_CHANNELS:
        raise UserError(
            f"{path} has {channels} channels or frames; save those that matter, {MAX_CHANNELS} at "
            "most, in a file of their own"
        )
    return channels


def _float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """A copy in C order; values beyond float32 become infinite, which `read_volume` reports."""
    with np.errstate(over="ignore"):
        return np.array(array, dtype=np.float32, order="C")


READERS: dict[str, Callable[[Path], Volume]] = {
    ".nii": _read_nifti,
    ".nii.gz": _read_nifti,
    ".mha": _read_itk,
    ".nrrd": _read_itk,
    ".npy": _read_npy,
}
WRITERS: dict[str, Callable[[Path, NDArray[Any], Volume], None]] = {
    ".nii": _write_nifti,
    ".nii.gz": _write_nifti,
    ".mha": _write_itk,
    ".nrrd": _write_itk,
    ".npy": _write_npy,
}
