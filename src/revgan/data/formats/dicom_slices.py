"""The slices in DICOM files: where each lies, and what its stored numbers mean.

Slices of files that hold one (CT Image Storage), and frames of files that hold many (Enhanced CT,
RT Dose), are the same thing here. See PS3.3 of the standard, sections C.7.6.2 and C.7.6.16.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from revgan.errors import require_package

if TYPE_CHECKING:
    from pydicom import Dataset

LEADS = (b"\2\0", b"\0\2", b"\x08\0", b"\0\x08")
"""The groups, in either byte order, that files without the preamble of part 10 start with."""

TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "Modality",
    "PatientID",
    "ImageType",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "BitsStored",
    "BitsAllocated",
    "PixelRepresentation",
    "PixelPaddingValue",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "DoseGridScaling",
    "GridFrameOffsetVector",
    "TemporalPositionIdentifier",
    "EchoNumbers",
    "AcquisitionNumber",
    "InstanceNumber",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]
"""What is read before any pixel."""


class NoImageError(Exception):
    """A DICOM file that holds nothing to read; says what it is instead."""


@dataclass(frozen=True)
class Slice:
    """One slice.

    Attributes:
        path: its file.
        frame: its number in the file, from 0; None where the file is this slice.
        uid: of the instance that the file is.
        series: the UID of its series.
        number: of the series, as people count them.
        description: of the series.
        patient: the patient's ID.
        localizer: it only shows where other slices lie.
        shape: columns and rows.
        samples: 1, or 3 of colours.
        position: of the middle of the first pixel, in millimetres towards left, posterior and
            superior; None where the file doesn't say.
        directions: (2, 3) cosines of rows and columns; None if unknown.
        spacing: millimetres from column to column, and from row to row; None if unknown.
        scale: slope and intercept from stored numbers to values.
        limits: the lowest and highest number that it can store.
        inverted: the lowest is white (MONOCHROME1).
        padding: the stored number where there is no image; None where there is none.
        order: among slices at one position.
        dose: it is of RT Dose, which has no intercept.
        stack: which of the file's stacks it is in; "" where the file doesn't say.
    """

    path: Path
    frame: int | None
    uid: str
    series: str
    number: str
    description: str
    patient: str
    localizer: bool
    shape: tuple[int, int]
    samples: int
    position: tuple[float, ...] | None
    directions: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    scale: tuple[float, float]
    limits: tuple[int, int]
    inverted: bool
    padding: int | None
    order: tuple[int, ...]
    dose: bool
    stack: str = ""

    @property
    def placed(self) -> bool:
        """It says where in the patient it lies."""
        return None not in (self.position, self.directions, self.spacing)

    @property
    def extremes(self) -> tuple[float, float]:
        """The lowest and the highest value that it can have."""
        slope, intercept = self.scale
        low, high = sorted(slope * limit + intercept for limit in self.limits)
        return low, high


def require_pydicom() -> None:
    """Refuses to go on without the package.

    Raises:
        UserError: it isn't installed.
    """
    require_package("pydicom", "dicom", "DICOM")


def dataset_of(path: Path, **options: Any) -> "Dataset":
    """What a DICOM file holds, with the encoding that files without part 10's header leave out.

    Raises:
        NoImageError: it isn't DICOM in spite of its name.
        Exception: what pydicom raises for a damaged file.
    """
    import pydicom

    with path.open("rb") as file:
        head = file.read(132)
    if head[128:] != b"DICM" and not head.startswith(LEADS):
        raise NoImageError("no DICOM in spite of its name")
    dataset = pydicom.dcmread(path, force=True, **options)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        uids = pydicom.uid
        dataset.file_meta.TransferSyntaxUID = (
            uids.ImplicitVRLittleEndian
            if implicit
            else uids.ExplicitVRLittleEndian
            if little
            else uids.ExplicitVRBigEndian
        )
    return dataset


def slices_of(path: Path) -> tuple[Slice, ...]:
    """The slices of a file; what was read once is remembered until the file changes.

    Raises:
        NoImageError: it holds none.
        Exception: what pydicom raises for a damaged file.
    """
    status = path.stat()
    return _slices_of(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2**15)
def _slices_of(path: Path, changed: int, size: int) -> tuple[Slice, ...]:
    dataset = dataset_of(path, stop_before_pixels=True, specific_tags=[*TAGS])
    if not dataset.get("Rows") or "BitsAllocated" not in dataset:
        kind = dataset.get("Modality") or dataset.file_meta.get("MediaStorageSOPClassUID", None)
        name = getattr(kind, "name", kind)
        raise NoImageError(f"DICOM without an image{f' ({name})' if name else ''}")
    if "ModalityLUTSequence" in dataset:
        raise NoImageError("DICOM whose values are those of a table (Modality LUT)")
    if "MOSAIC" in (dataset.get("ImageType") or ()):
        raise NoImageError(
            "DICOM with slices side by side (a Siemens mosaic), which dcm2niix takes apart"
        )
    return tuple(_frames(dataset, path))


def _frames(dataset: "Dataset", path: Path) -> Iterator[Slice]:
    count = int(dataset.get("NumberOfFrames") or 1)
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    several = count > 1 or len(groups) > 0
    (shared,) = dataset.get("SharedFunctionalGroupsSequence") or (None,)
    offsets = dataset.get("GridFrameOffsetVector")
    for frame in range(count):
        levels = [groups[frame] if groups else None, shared]
        attributes = _Attributes(dataset, [level for level in levels if level is not None])
        position = attributes.numbers("PlanePositionSequence", "ImagePositionPatient")
        directions = attributes.numbers("PlaneOrientationSequence", "ImageOrientationPatient")
        if several and not groups:
            # Without functional groups, only doses say where their frames lie (C.8.8.3.2).
            if offsets is None or position is None or directions is None:
                position = None
            else:
                normal = np.cross(directions[:3], directions[3:])
                position = tuple((position + float(offsets[frame]) * normal).tolist())
        yield _slice(dataset, path, frame if several else None, attributes, position, directions)


def _slice(
    dataset: "Dataset",
    path: Path,
    frame: int | None,
    attributes: "_Attributes",
    position: tuple[float, ...] | None,
    directions: tuple[float, ...] | None,
) -> Slice:
    spacing = attributes.numbers("PixelMeasuresSequence", "PixelSpacing")
    dose = "DoseGridScaling" in dataset
    slope = attributes.number("PixelValueTransformationSequence", "RescaleSlope", 1.0)
    bits, signed = (
        int(dataset.get("BitsStored") or dataset.BitsAllocated),
        dataset.get("PixelRepresentation"),
    )
    padding = dataset.get("PixelPaddingValue")
    temporal = attributes.number("FrameContentSequence", "TemporalPositionIndex", 0.0)
    return Slice(
        path,
        frame,
        str(dataset.get("SOPInstanceUID", "")),
        str(dataset.get("SeriesInstanceUID", "")),
        str(dataset.get("SeriesNumber") or ""),
        str(dataset.get("SeriesDescription") or ""),
        str(dataset.get("PatientID") or ""),
        "LOCALIZER" in (dataset.get("ImageType") or ()),
        (int(dataset.Columns), int(dataset.Rows)),
        3
        if dataset.get("PhotometricInterpretation") == "PALETTE COLOR"
        else int(dataset.get("SamplesPerPixel") or 1),
        position,
        directions,
        None if spacing is None else spacing[::-1],
        (
            float(dataset.DoseGridScaling) if dose else slope,
            attributes.number("PixelValueTransformationSequence", "RescaleIntercept", 0.0),
        ),
        (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1),
        dataset.get("PhotometricInterpretation") == "MONOCHROME1",
        None if padding is None else _signed(int(padding), bits, bool(signed)),
        (
            int(temporal),
            *(
                int(str(dataset.get(name) or 0).strip("[]").split(",")[0])
                for name in (
                    "TemporalPositionIdentifier",
                    "EchoNumbers",
                    "AcquisitionNumber",
                    "InstanceNumber",
                )
            ),
        ),
        dose,
        attributes.text("FrameContentSequence", "StackID"),
    )


def _signed(number: int, bits: int, signed: bool) -> int:
    """A number that a file may store as unsigned although its pixels are signed."""
    return number - 2**bits if signed and number >= 2 ** (bits - 1) else number


@dataclass(frozen=True)
class _Attributes:
    """What a file says of one frame: in the frame's groups, in the shared ones, or for all."""

    dataset: "Dataset"
    groups: list[Any]

    def numbers(self, sequence: str, name: str) -> tuple[float, ...] | None:
        for group in self.groups:
            items = group.get(sequence)
            if items and items[0].get(name) is not None:
                return tuple(map(float, items[0].get(name)))
        value = self.dataset.get(name)
        return tuple(map(float, value)) if value else None

    def text(self, sequence: str, name: str) -> str:
        items = [group.get(sequence) for group in self.groups]
        return next((str(each[0].get(name) or "") for each in items if each), "")

    def number(self, sequence: str, name: str, otherwise: float) -> float:
        for group in self.groups:
            items = group.get(sequence)
            if items and items[0].get(name) is not None:
                return float(items[0].get(name))
        value = self.dataset.get(name)
        return otherwise if value in (None, "") else float(value)


def decoded(dataset: "Dataset", frame: int | None) -> NDArray[Any]:
    """The stored numbers of a slice, (rows, columns) or (rows, columns, 3); palettes become RGB.

    Raises:
        Exception: what pydicom raises for damaged or unknown encodings.
    """
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    from revgan.data.formats.dicom_codecs import add_codecs

    add_codecs()
    pixels = pixel_array(dataset, index=frame or 0)
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)[..., :3]
        return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    return pixels


def values_of(each: Slice, pixels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """From stored numbers to values in a type that holds them."""
    slope, intercept = each.scale
    if each.inverted:
        pixels = sum(each.limits) - pixels.astype(np.int64)
    if (slope, intercept) == (1, 0):
        return pixels.astype(dtype, copy=False)
    if dtype.kind in "iu":
        return (pixels.astype(np.int64) * int(slope) + int(intercept)).astype(dtype)
    return (pixels * slope + intercept).astype(dtype)


def type_of(slices: list[Slice]) -> np.dtype[Any]:
    """The smallest type for the values of slices: of integers, or float32 for fractions."""
    lows, highs = zip(*(each.extremes for each in slices), strict=True)
    low, high = min(lows), max(highs)
    whole = all(number.is_integer() for each in slices for number in each.scale)
    for kind in ("u1", "i1", "u2", "i2", "u4", "i4") if whole else ():
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            return np.dtype(kind)
    return np.dtype(np.float32)
