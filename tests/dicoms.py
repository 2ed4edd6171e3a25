"""DICOM files as tests write them, by pydicom alone."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

HEAD_FIRST = (1, 0, 0, 0, 1, 0)
"""Rows run to the patient's left, columns to posterior."""


def write_series(
    folder,
    stored,
    *,
    directions=HEAD_FIRST,
    origin=(-10.0, -20.0, 5.0),
    step=(0.0, 0.0, 2.5),
    spacing=(0.7, 0.9),
    scale=(1, 0),
    order=None,
    suffix=".dcm",
    **attributes,
):
    """Writes stored numbers (slices, rows, columns) of uint16, one file a slice.

    Args:
        folder: made if need be.
        stored: the numbers.
        directions: of rows and columns.
        origin: of the first slice, in DICOM's coordinates.
        step: from slice to slice.
        spacing: from row to row, and from column to column.
        scale: slope and intercept.
        order: in which slices are numbered and named.
        suffix: of the files.
        attributes: set in each file; a list has one for each slice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series = attributes.pop("SeriesInstanceUID", generate_uid())
    for name, index in enumerate(range(len(stored)) if order is None else order):
        dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        del dataset.PixelPaddingValue
        dataset.PatientName, dataset.PatientID = "Test^Patient", "P1"
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = series, generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.InstanceNumber = name + 1
        dataset.ImageOrientationPatient = [float(number) for number in directions]
        position = np.array(origin) + index * np.array(step)
        dataset.ImagePositionPatient = [round(float(number), 6) for number in position]
        dataset.PixelSpacing = list(spacing)
        dataset.RescaleSlope, dataset.RescaleIntercept = scale
        dataset.Rows, dataset.Columns = stored.shape[1:]
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 16, 15
        dataset.PixelData = np.ascontiguousarray(stored[index], "<u2").tobytes()
        for key, value in attributes.items():
            setattr(dataset, key, value[index] if isinstance(value, list) else value)
        dataset.save_as(folder / f"IM{name:04d}{suffix}", enforce_file_format=True)
    return folder


def write_frames(path, stored, *, order=None, scale=(1, 0), step=2.5):
    """Writes an enhanced file of stored numbers (frames, rows, columns) of uint16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    for name in [
        "PixelPaddingValue",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
        "SliceLocation",
    ]:
        if name in dataset:
            del dataset[name]
    dataset.SOPClassUID = pydicom.uid.EnhancedCTImageStorage
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.SeriesInstanceUID, dataset.SOPInstanceUID = generate_uid(), generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=list(HEAD_FIRST))],
        PixelMeasuresSequence=[item(PixelSpacing=[0.7, 0.9], SliceThickness=step)],
    )
    frames = range(len(stored)) if order is None else order
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[-10.0, -20.0, 5 + step * index])],
            PixelValueTransformationSequence=[
                item(RescaleSlope=scale[0], RescaleIntercept=scale[1], RescaleType="HU")
            ],
            CTImageFrameTypeSequence=[item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])],
            FrameContentSequence=[item(StackID="1", InStackPositionNumber=index + 1)],
        )
        for index in frames
    ]
    dataset.NumberOfFrames = len(stored)
    dataset.Rows, dataset.Columns = stored.shape[1:]
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 16, 15
    dataset.PixelData = np.ascontiguousarray(stored[list(frames)], "<u2").tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def item(**attributes):
    made = pydicom.Dataset()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def read_all(folder):
    """The datasets in a folder, by the number of the instance."""
    files = [pydicom.dcmread(path) for path in Path(folder).iterdir()]
    return sorted(files, key=lambda dataset: int(dataset.InstanceNumber))
