"""DICOM: images, series of slices in folders, and files of many frames; by pydicom.

What is written is derived from what was read: it has its patient, study and place, a series and
instances of its own, and says what it was made of.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from revgan.data.formats.blaming import blaming
from revgan.data.formats.contract import (
    WHOLE,
    Family,
    Header,
    Listing,
    Place,
    Reader,
    Selection,
    Values,
    Window,
)
from revgan.data.formats.dicom_series import Series, Stack, find_series, listed, stack
from revgan.data.formats.dicom_slices import (
    NoImageError,
    Slice,
    dataset_of,
    decoded,
    require_pydicom,
    slices_of,
    type_of,
    values_of,
)
from revgan.data.formats.dicom_writing import Source, write_image, write_series
from revgan.errors import UserError


class _VolumeReader(Reader):
    windowed = True  # slice by slice

    def __init__(self, found: Stack) -> None:
        self._slices = found.slices
        first = found.slices[0][0]
        if first.samples > 1:
            raise UserError(f"{first.path} holds colours, which volumes can't have; give grey ones")
        every = [each for level in found.slices for each in level]
        self.header = Header(
            len(found.slices[0]),
            (*first.shape, len(found.slices)),
            type_of(every),
            found.affine,
            Source(found.slices, found.affine),
            nodata=_nodata(every),
        )

    def values(self, window: Window) -> Values:
        columns, rows, levels = window
        chosen = self._slices[levels]
        sample = np.empty(self.header.shape[:2], bool)[columns, rows]
        values = np.empty((self.header.channels, *sample.shape, len(chosen)), self.header.dtype)
        opened: Path | None = None
        for z, level in enumerate(chosen):
            for channel, each in enumerate(level):
                with blaming(each.path):
                    if each.path != opened:
                        dataset, opened = dataset_of(each.path), each.path
                    pixels = decoded(dataset, each.frame).T[columns, rows]
                values[channel, :, :, z] = values_of(each, pixels, self.header.dtype)
        return values


class _ImageReader(Reader):
    def __init__(self, path: Path, z: int | None) -> None:
        slices = slices_of(path)
        if len(slices) > 1 and z is None:
            raise UserError(
                f"{path} holds {len(slices)} frames; choose one by data.z, or take it as a volume"
            )
        if not 0 <= (z or 0) < len(slices):
            raise UserError(f"{path} has frames 0 to {len(slices) - 1}, and no {z}")
        self._slice = each = slices[z or 0]
        self.header = Header(
            each.samples,
            each.shape[::-1],
            type_of([each]),
            source=Source(((each,),)),
            nodata=_nodata([each]),
        )

    def values(self, window: Window) -> Values:
        pixels = decoded(dataset_of(self._slice.path), self._slice.frame)
        channels = np.moveaxis(pixels.reshape(*pixels.shape[:2], -1), -1, 0)
        return values_of(self._slice, channels[:, *window], self.header.dtype)


def _open_image(path: Path, selection: Selection) -> Reader:
    try:
        return _ImageReader(path, selection.z)
    except NoImageError as error:
        raise UserError(f"{path} is {error}; give an image") from error


class Dicom(Family):
    """DICOM."""

    suffixes = (".dcm", ".dicom", ".ima")
    spatial_dims = (2, 3)
    selects = ("series", "z")
    nameless = True
    gathers = (3,)
    instead = ".nii.gz"

    def starts(self, head: bytes) -> bool:
        return head[128:132] == b"DICM"

    def gather(self, files: Sequence[Path], selection: Selection) -> Listing:
        require_pydicom()
        volumes, passed = find_series(files, selection)
        names = _names(volumes)
        alone = len(volumes) == 1 and selection.series is None
        places = [_place(each, name, alone) for each, name in zip(volumes, names, strict=True)]
        return Listing(tuple(places), tuple(passed))

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        require_pydicom()
        openers = {2: _open_image, 3: self._open_volume}
        return openers[spatial_dims](path, selection)

    def _open_volume(self, path: Path, selection: Selection) -> Reader:
        files = sorted(filter(self._own, path.iterdir())) if path.is_dir() else [path]
        volumes, passed = find_series(files, selection)
        if not volumes:
            reasons = dict.fromkeys(each.reason for each in passed)
            raise UserError(f"{path} holds no DICOM volume ({'; '.join(reasons)}); give a series")
        if len(volumes) > 1:
            raise UserError(
                f"{path} holds {listed(volumes)}; choose one by data.series, its number, its UID "
                "or its stack's number"
            )
        return _VolumeReader(stack(volumes[0], path))

    def _own(self, path: Path) -> bool:
        if path.name.startswith(".") or not path.is_file():
            return False
        if path.suffix.lower() in self.suffixes:
            return True
        with path.open("rb") as file:
            return self.starts(file.read(132))

    def claims(self, path: Path) -> bool:
        return not path.is_dir() or all(map(self._own, path.iterdir()))

    def suits(self, path: Path, header: Header) -> bool:
        return isinstance(header.source, Source) or path.suffix.lower() in self.suffixes

    def write(self, path: Path, values: Values, header: Header) -> None:
        if len(header.shape) == 2:
            write_image(path, values, header.source, header.nodata)
        else:
            write_series(path, values[0], header.source, header.nodata)

    def require(self, path: Path, header: Header) -> None:
        require_pydicom()
        several = isinstance(header.source, Source) and header.source.slices[0][0].frame is None
        if len(header.shape) == 3 and several and path.suffix.lower() in self.suffixes:
            raise UserError(
                f"{path} would be one file, but a series has one for each slice; name a folder, "
                f"such as {path.with_suffix('')}"
            )

    def beyond(self, header: Header) -> list[str]:
        source = header.source
        if source is None:  # a path is asked about before there is a scan for it
            return []
        if not isinstance(source, Source):
            return ["no DICOM file that it was made of, whose patient it would name"]
        return source.beyond(header)


def _nodata(slices: list[Slice]) -> float | None:
    """The value of pixels outside the image, where all slices have the same."""
    found = {
        None if each.padding is None else each.padding * each.scale[0] + each.scale[1]
        for each in slices
    }
    return found.pop() if len(found) == 1 else None


def _names(volumes: Sequence[Series]) -> list[str]:
    """Short names of series that tell them apart: the patient's, the series' number, its UID."""
    heads = [each.slices[0] for each in volumes]
    for names in (
        [head.patient for head in heads],
        ["-".join(filter(None, (head.patient, head.number))) for head in heads],
    ):
        if len(set(names)) == len(names) and all(names):
            return [
                "".join(c if c.isalnum() or c in "-_." else "_" for c in name) for name in names
            ]
    return [head.series for head in heads]


def _place(volume: Series, name: str, alone: bool) -> Place:
    files = volume.files
    if len(files) == 1:
        if volume.stack:
            return Place(
                files[0], Selection(series=volume.stack), f"{files[0].stem}-{volume.stack}"
            )
        return Place(files[0], WHOLE, files[0].stem)
    selection = WHOLE if alone else Selection(series=volume.slices[0].series)
    return Place(files[0].parent, selection, name)
