"""Volumes in and out of NIfTI, MetaImage, NRRD and NumPy files, with their place in space."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from revgan.data.images import SUFFIXES as IMAGE_SUFFIXES
from revgan.data.volume_formats import READERS, WRITERS, Volume
from revgan.errors import UserError
from revgan.files import replacing

__all__ = [
    "MIN_STEPS",
    "VOLUME_SUFFIXES",
    "Volume",
    "read_volume",
    "require_contrast",
    "volume_stem",
    "volume_suffix",
    "write_volume",
]

VOLUME_SUFFIXES = tuple(READERS)
"""The suffixes of volume files, in lower case; upper case is understood too."""

MIN_STEPS = 100
"""Whole numbers that fractions must spread over to be rounded to them: it changes none by more than
0.5% of the contrast then."""


def volume_suffix(path: Path | str) -> str | None:
    """The one of `VOLUME_SUFFIXES` that a path ends in, or None."""
    name = Path(path).name.lower()
    return next((suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix)), None)


def volume_stem(path: Path | str) -> str:
    """A volume file's name without its suffix, such as ``t1`` of ``t1.nii.gz``."""
    suffix = volume_suffix(path)
    return Path(path).name[: -len(suffix)] if suffix else Path(path).stem


def read_volume(path: Path | str) -> Volume:
    """Reads a volume with its values in the file's units, whole in memory.

    Channels are NIfTI's fourth or fifth axis, the components or the fourth axis of MetaImage and
    NRRD, and the first of four axes in .npy, which has the identity as its affine. Frames of a time
    series are channels too.

    Raises:
        UserError: the file is missing, damaged, truncated, empty, of another kind or 2D, holds
            complex numbers or colour structs, more than `MAX_CHANNELS` channels or more axes than
            one for them, values that are no finite float32, or an affine that can't be inverted.
    """
    path = Path(path)
    suffix = _require_suffix(path)
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(
            f"{path} cannot be opened ({_reason(error)}); give an existing, readable volume file"
        ) from error
    try:
        volume = READERS[suffix](path)
    except UserError:
        raise
    except Exception as error:  # damaged files make decoders raise nearly anything
        raise UserError(
            f"{path} cannot be read as {suffix} ({_reason(error)}); replace it by an undamaged copy"
        ) from error
    wrong = volume.values.size - np.count_nonzero(np.isfinite(volume.values))
    if wrong:
        raise UserError(
            f"{path} has {wrong} NaN or infinite values (of float32); replace them, for example by "
            "that of the background"
        )
    _require_place(volume.affine, path)
    return volume


def require_contrast(volume: Volume, path: Path | str) -> None:
    """Refuses a volume in which all values are equal: there is nothing to learn from it.

    Raises:
        UserError: they are.
    """
    value = volume.values.flat[0]
    if (volume.values == value).all():
        raise UserError(f"{path} is {value:g} everywhere; take it out or replace it by a real one")


def write_volume(path: Path | str, values: NDArray[np.float32], like: Volume) -> None:
    """Writes a volume in the format of the path's suffix, at the place of another in space.

    The data type is float32, unless `like.dtype` is of integers. Then values are rounded to it if
    they fit its range, and either are whole numbers or spread over `MIN_STEPS`: probabilities in
    the place of an int16 scan are not rounded to 0 and 1. `dataclasses.replace(like, dtype=...)`
    asks for another type.

    From NIfTI to NIfTI, the header is kept: sform and qform with their codes, voxel sizes and
    units. Reset are the data's scaling, the display range and, but for vectors and tensors of as
    many components, the intent. Of other formats only the place in space is kept.

    The file appears complete or not at all; the folder must exist.

    Args:
        path: ends in one of `VOLUME_SUFFIXES`.
        values: (C, X, Y, Z); C may differ from that of `like`.
        like: a volume on the same grid X, Y, Z.

    Raises:
        UserError: the suffix is of no volume, or writing fails, as in MetaImage and NRRD of an
            affine that can't be inverted.
        ValueError: the values are not on the grid of `like`.
    """
    path = Path(path)
    suffix = _require_suffix(path)
    if values.ndim != 4 or values.shape[1:] != like.values.shape[1:]:
        raise ValueError(f"values are {values.shape}, not on the grid of {like.values.shape}")
    try:
        with replacing(path) as unfinished:
            unfinished.touch()
            WRITERS[suffix](unfinished, _storable(values, like.dtype), like)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({_reason(error)}); choose a writable folder with space left"
        ) from error
    except RuntimeError as error:  # ITK's
        raise UserError(
            f"{path} cannot be written ({_reason(error)}); choose a disk with space left, or the "
            "suffix .nii.gz"
        ) from error


def _require_suffix(path: Path) -> str:
    suffix = volume_suffix(path)
    if suffix is None:
        kind = "a 2D image" if path.suffix.lower() in IMAGE_SUFFIXES else "no volume"
        raise UserError(
            f"{path} is {kind} by its suffix; volumes end in {', '.join(VOLUME_SUFFIXES)}"
        )
    return suffix


def _require_place(affine: NDArray[np.float64], path: Path) -> None:
    """Refuses an affine that says of no voxel, or of several the same, where it is."""
    # Headers hold float32: rounding makes ranks look full.
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3], rtol=1e-6) < 3:
        raise UserError(
            f"{path} does not say where its voxels are, as its affine can't be inverted; mend its "
            "header, for example by that of another volume on the same grid"
        )


def _reason(error: Exception) -> str:
    """What an error says, on one line."""
    text = error.strerror if isinstance(error, OSError) else None
    said = text or str(error) or type(error).__name__
    if "ERROR: " not in said:
        return " ".join(said.split())
    # ITK tells the place in its source, then its layers from the outside in, then errno.
    *_, last = (line for line in said.splitlines() if not line.startswith("Reason: "))
    return re.sub(r"^.*ERROR: |\w+\(0x[0-9a-f]+\): ", "", last).strip(" .")


def _storable(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The values in the type to store, see `write_volume`."""
    if dtype.kind in "iu":
        rounded = np.rint(values)
        limits = np.iinfo(dtype)
        lowest, highest = np.float32(limits.min), np.float32(limits.max)
        fits = lowest <= rounded.min() and rounded.max() <= highest  # false for NaN
        if fits and (np.ptp(values) >= MIN_STEPS or np.array_equal(rounded, values)):
            if int(highest) > limits.max:  # float32 rounds 2**31 - 1 to 2**31
                highest = np.nextafter(highest, np.float32(0))
            return np.minimum(rounded, highest, out=rounded).astype(dtype)
    return values.astype(np.float32, copy=False)
