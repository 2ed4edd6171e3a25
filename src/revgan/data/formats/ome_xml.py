"""The metadata of images in OME-TIFF."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from revgan.data.formats.physical import millimetres

KEPT = {
    *("AcquisitionMode", "Color", "ContrastMethod", "Fluor", "IlluminationType", "NDFilter"),
    *("EmissionWavelength", "EmissionWavelengthUnit", "PinholeSize", "PinholeSizeUnit"),
    *("ExcitationWavelength", "ExcitationWavelengthUnit", "PockelCellSetting"),
}
"""A channel's attributes, besides its name, as tifffile writes them."""


@dataclass(frozen=True)
class ImageInfo:
    """An image of a file.

    Attributes:
        name: the image's.
        sizes: millimetres from pixel to pixel along x, y and z; None if not given.
        origin: of the first pixel in millimetres, along x, y and z.
        names: the channels'; () if not all have one.
        channels: each channel's other attributes, as in OME-XML.
    """

    name: str = ""
    sizes: tuple[float | None, ...] = (None, None, None)
    origin: tuple[float, ...] = (0.0, 0.0, 0.0)
    names: tuple[str, ...] = ()
    channels: tuple[Mapping[str, str], ...] = ()


def ome_images(xml: str) -> list[ImageInfo]:
    """The images that OME-XML describes, in its order.

    Raises:
        ValueError: it isn't XML, or a number can't be parsed.
    """
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise ValueError(f"its OME-XML is damaged: {error}") from error
    return [_ome_image(image) for image in root.iterfind("{*}Image")]


def _ome_image(image: ElementTree.Element) -> ImageInfo:
    pixels = image.find("{*}Pixels")
    if pixels is None:
        return ImageInfo(image.get("Name", ""))
    plane = pixels.find("{*}Plane")
    origin = [
        0.0 if plane is None else _length(plane, f"Position{axis}", "reference frame") or 0.0
        for axis in "XYZ"
    ]
    channels = list(pixels.iterfind("{*}Channel"))
    names = tuple(channel.get("Name", "") for channel in channels)
    return ImageInfo(
        image.get("Name", ""),
        tuple(_length(pixels, f"PhysicalSize{axis}", "µm") for axis in "XYZ"),
        tuple(origin),
        names if all(names) else (),
        tuple(
            {name: value for name, value in channel.attrib.items() if name in KEPT}
            for channel in channels
        ),
    )


def _length(element: ElementTree.Element, name: str, default: str) -> float | None:
    """An attribute in millimetres; None if it is missing or not in a unit of length."""
    value, unit = element.get(name), element.get(f"{name}Unit", default)
    known = millimetres(unit)
    if value is None or known is None:
        return None
    size = float(value) * known
    return size if size or name.startswith("Position") else None


def ome_metadata(
    axes: str,
    sizes_um: Mapping[str, float],
    origin_um: Mapping[str, float],
    planes: int,
    channels: int,
    names: tuple[str, ...],
    info: ImageInfo,
) -> dict[str, Any]:
    """The metadata that tifffile writes as OME-XML.

    Args:
        axes: the array's.
        sizes_um: micrometres along X, Y and Z, if known.
        origin_um: of the first pixel, in the same way.
        planes: how many pages there are.
        channels: how many there are; samples of one pixel are one.
        names: the channels'; () if they have none.
        info: of the image that it is written like; channels' attributes are kept if it has as many.
    """
    metadata: dict[str, Any] = {"axes": axes}
    if info.name:
        metadata["Name"] = info.name
    for axis, size in sizes_um.items():
        metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"}
    if any(origin_um.values()):
        metadata["Plane"] = {
            key: [value] * planes
            for axis, start in origin_um.items()
            for key, value in ((f"Position{axis}", start), (f"Position{axis}Unit", "µm"))
        }
    kept = info.channels if len(info.channels) == channels else ({},) * channels
    called = [{"Name": name} for name in names] or [{}] * channels
    if names or any(kept):
        metadata["Channel"] = [{**name, **more} for name, more in zip(called, kept, strict=True)]
    return metadata
