"""Derived DICOM: values in the place of an original, as instances of their own.

See PS3.3, sections C.7.6.1 (image type, derivation, source images) and C.12.1 (references).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from revgan import __version__
from revgan.data.formats.contract import Affine, Header, Values
from revgan.data.formats.dicom_slices import Slice, dataset_of

if TYPE_CHECKING:
    from pydicom import Dataset

STALE = [
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "VOILUTSequence",
    "WindowCenterWidthExplanation",
    "ModalityLUTSequence",
    "PresentationLUTShape",
    "IconImageSequence",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "ICCProfile",
    "RealWorldValueMappingSequence",
    "OriginalAttributesSequence",
    "ReferencedImageSequence",
    "SourceImageSequence",
    "DerivationCodeSequence",
    "PixelDataProviderURL",
    "RequestAttributesSequence",
]
"""What is true of the original's pixels, or of its place in a workflow, and not of others."""


@dataclass(frozen=True, eq=False)
class Source:
    """What derived DICOM is made of.

    Attributes:
        slices: by position, and at each of them those of the channels.
        affine: of a volume.
    """

    slices: tuple[tuple[Slice, ...], ...]
    affine: Affine | None = None

    def beyond(self, header: Header) -> list[str]:
        """What of a scan can't be said in the original's place."""
        beyond = []
        first = self.slices[0][0]
        if header.channels not in ((1, 3) if len(header.shape) == 2 else (1,)):
            beyond.append(f"{header.channels} channels")
        if header.channels == 3 and header.dtype != np.uint8:
            beyond.append(f"colours of {header.dtype}")
        if header.dtype.kind not in "iuf":
            beyond.append(f"values of {header.dtype}")
        own = (*first.shape, len(self.slices)) if len(header.shape) == 3 else first.shape[::-1]
        place, original = header.affine, self.affine
        moved = place is not None and original is not None and not np.allclose(place, original)
        if header.shape != own or moved:
            beyond.append("another grid than that of the DICOM files that it was made of")
        if first.dose:
            beyond.append("a dose grid behind it, whose values are no others'")
        return beyond


class Stored(NamedTuple):
    """Values as DICOM stores them: integers of at most 16 bits, with slope and intercept."""

    numbers: NDArray[Any]
    slope: str
    intercept: str
    bits: int


def stored(values: Values) -> Stored:
    """Integers that fit as they are; whole numbers exactly if they spread over 65,536 at most.

    All others are rounded to 65,536 steps between the lowest and the highest.
    """
    from pydicom.valuerep import format_number_as_ds

    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        wide = values.astype(np.int16 if values.dtype.kind == "i" else np.uint16)
        return Stored(wide, "1", "0", 8 * values.dtype.itemsize)
    low, high = float(values.min()), float(values.max())
    if high - low <= 65535 and bool((values == np.rint(values)).all()):
        return Stored((values - values.min()).astype(np.uint16), "1", str(int(low)), 16)
    # As text of 16 characters, the step may be rounded down, and 65,535 of it end below the top.
    slope = format_number_as_ds((high - low) / 65535 * (1 + 1e-9) or 1.0)
    intercept = format_number_as_ds(low)
    steps = (values.astype(np.float64) - float(intercept)) / float(slope)
    return Stored(np.clip(np.rint(steps), 0, 65535).astype(np.uint16), slope, intercept, 16)


def write_image(path: Path, values: Values, source: Source, nodata: float | None) -> None:
    """Writes (C, H, W) in the place of an image; `nodata` as in `Header`."""
    ((original,),) = source.slices
    dataset = _derived(original, _New.now(), [original])
    if len(values) == 3:
        _set_pixels(dataset, np.moveaxis(values, 0, -1), "RGB", 8)
    else:
        _set_grey(dataset, stored(values[0]), _window(values), nodata)
    dataset.save_as(path, enforce_file_format=True)


def write_series(path: Path, values: NDArray[Any], source: Source, nodata: float | None) -> None:
    """Writes (X, Y, Z) in the place of a volume.

    Args:
        path: a file where the original is one, else a folder to make.
        values: on the grid of the original.
        source: the original.
        nodata: as in `Header`.
    """
    new, window, scaled = _New.now(), _window(values), stored(values)
    levels = [level[0] for level in source.slices]
    frames = np.ascontiguousarray(scaled.numbers.transpose(2, 1, 0))
    if levels[0].frame is not None:
        _write_frames(path, scaled._replace(numbers=frames), levels, new, window, nodata)
        return
    path.mkdir()
    for level, numbers in zip(source.slices, frames, strict=True):
        dataset = _derived(level[0], new, level)
        _set_grey(dataset, scaled._replace(numbers=numbers), window, nodata)
        dataset.save_as(path / _file_name(level[0]), enforce_file_format=True)


def _file_name(original: Slice) -> str:
    name = original.path.name
    return name if name.lower().endswith(".dcm") else f"{name}.dcm"


def _write_frames(
    path: Path,
    scaled: Stored,
    levels: Sequence[Slice],
    new: "_New",
    window: tuple[float, float],
    nodata: float | None,
) -> None:
    """Writes a file of many frames (Z, Y, X), in the order of the volume."""
    from pydicom import Dataset
    from pydicom import Sequence as Items

    dataset = _derived(levels[0], new, levels[:1])
    _set_grey(dataset, scaled, window, nodata)
    for name in ("RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth"):
        del dataset[name]  # these are said in the groups of frames
    groups = dataset.PerFrameFunctionalGroupsSequence
    chosen = [groups[level.frame] for level in levels if level.frame is not None]
    dataset.PerFrameFunctionalGroupsSequence = Items(chosen)
    dataset.NumberOfFrames = len(chosen)
    if not dataset.get("SharedFunctionalGroupsSequence"):
        dataset.SharedFunctionalGroupsSequence = Items([Dataset()])
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for group in (*chosen, shared):
        for name in (
            "PixelValueTransformationSequence",
            "FrameVOILUTSequence",
            "RealWorldValueMappingSequence",
            "DerivationImageSequence",
        ):
            if name in group:
                del group[name]
        for frame_type in (item for item in chain(*_frame_types(group))):
            if "FrameType" in frame_type:
                frame_type.FrameType = _image_type(frame_type.FrameType)
    shared.PixelValueTransformationSequence = Items(
        [_item(RescaleSlope=scaled.slope, RescaleIntercept=scaled.intercept, RescaleType="US")]
    )
    centre, width = window
    shared.FrameVOILUTSequence = Items([_item(WindowCenter=centre, WindowWidth=width)])
    dataset.save_as(path, enforce_file_format=True)


def _frame_types(group: "Dataset") -> list[Any]:
    return [
        element.value for element in group if element.VR == "SQ" and "FrameType" in element.keyword
    ]


class _New(NamedTuple):
    """What the instances of a new series share."""

    series: str
    date: str
    time: str

    @classmethod
    def now(cls) -> "_New":
        from pydicom.uid import generate_uid

        moment = datetime.now()
        return cls(
            generate_uid(prefix=None),  # of a random UUID
            moment.strftime("%Y%m%d"),
            moment.strftime("%H%M%S"),
        )


def _derived(original: Slice, new: _New, originals: Sequence[Slice]) -> "Dataset":
    """An original's dataset, without pixels, as that of a new instance.

    Args:
        original: whose dataset.
        new: the series that the instance is of.
        originals: what it is made of.
    """
    from pydicom import Dataset
    from pydicom import Sequence as Items
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    dataset = Dataset()  # not the one that was read, which remembers its encoding
    for element in dataset_of(original.path, stop_before_pixels=True):
        dataset.add(element)
    dataset.file_meta = FileMetaDataset()
    dataset.remove_private_tags()
    for overlay in [tag for tag in dataset.keys() if tag.group in range(0x6000, 0x6100)]:  # noqa: SIM118 - not a dict
        del dataset[overlay]
    for name in STALE:
        if name in dataset:
            del dataset[name]
    of_class, series = dataset.SOPClassUID, dataset.SeriesInstanceUID
    references = [
        _item(ReferencedSOPClassUID=of_class, ReferencedSOPInstanceUID=each.uid)
        for each in originals
    ]
    dataset.SourceImageSequence = Items(references)
    dataset.ReferencedSeriesSequence = Items(
        [
            _item(
                SeriesInstanceUID=series,
                ReferencedInstanceSequence=Items(
                    [_item(**{element.keyword: element.value for element in each})
                     for each in references]
                ),
            )
        ]
    )  # fmt: skip
    dataset.ImageType = _image_type(dataset.get("ImageType"))
    dataset.DerivationDescription = (
        f"Translated by a neural network (revgan {__version__}) from the source images; not "
        "acquired from the patient"
    )
    dataset.ContributingEquipmentSequence = Items(
        [
            *dataset.get("ContributingEquipmentSequence", ()),
            _item(
                PurposeOfReferenceCodeSequence=Items(
                    [
                        _item(
                            CodeValue="109102",
                            CodingSchemeDesignator="DCM",
                            CodeMeaning="Processing Equipment",
                        )
                    ]
                ),
                Manufacturer="revgan",
                SoftwareVersions=__version__,
            ),
        ]
    )
    dataset.SeriesInstanceUID = new.series
    dataset.SOPInstanceUID = generate_uid(prefix=None)
    description = str(dataset.get("SeriesDescription") or "").strip()
    dataset.SeriesDescription = f"{description[:47]} translated".strip()
    if str(dataset.get("SeriesNumber") or "").isdigit():
        dataset.SeriesNumber = int(dataset.SeriesNumber) + 1000
    for kind in ("InstanceCreation", "Series", "Content"):
        setattr(dataset, f"{kind}Date", new.date)
        setattr(dataset, f"{kind}Time", new.time)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = of_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _image_type(original: Any) -> list[str]:
    """DERIVED, and with the rest of what the original is."""
    kept = [str(part) for part in original or ()] if not isinstance(original, str) else [original]
    return ["DERIVED", "SECONDARY", *kept[2:]]


def _window(values: Values) -> tuple[float, float]:
    """Centre and width of a display of all values."""
    low, high = float(values.min()), float(values.max())
    return round((low + high) / 2, 3), max(1.0, round(high - low, 3))


def _set_grey(
    dataset: "Dataset", scaled: Stored, window: tuple[float, float], nodata: float | None
) -> None:
    _set_pixels(dataset, scaled.numbers, "MONOCHROME2", scaled.bits)
    dataset.RescaleSlope, dataset.RescaleIntercept = scaled.slope, scaled.intercept
    dataset.RescaleType = "US"  # unspecified: nobody says what the model's values are
    dataset.WindowCenter, dataset.WindowWidth = window
    limits = np.iinfo(scaled.numbers.dtype)
    if nodata is not None and np.isfinite(nodata):
        padding = round((nodata - float(scaled.intercept)) / float(scaled.slope))
        if limits.min <= padding <= limits.max:
            dataset.add_new("PixelPaddingValue", "SS" if limits.min < 0 else "US", padding)


def _set_pixels(dataset: "Dataset", pixels: NDArray[Any], colours: str, bits: int) -> None:
    """Pixels ([frames,] rows, columns[, 3]), little-endian."""
    little = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    data = little.tobytes()
    dataset.add_new(
        "PixelData", "OW" if pixels.itemsize > 1 else "OB", data + b"\0" * (len(data) % 2)
    )
    dataset.SamplesPerPixel = 3 if colours == "RGB" else 1
    dataset.PhotometricInterpretation = colours
    dataset.Rows, dataset.Columns = pixels.shape[-3:-1] if colours == "RGB" else pixels.shape[-2:]
    dataset.BitsAllocated = 8 * pixels.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if colours == "RGB":
        dataset.PlanarConfiguration = 0
    elif "PlanarConfiguration" in dataset:
        del dataset.PlanarConfiguration


def _item(**attributes: Any) -> "Dataset":
    from pydicom import Dataset

    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item
