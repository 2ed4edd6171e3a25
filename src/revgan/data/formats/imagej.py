"""ImageJ's hyperstacks: their metadata, and how they are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from revgan.data.formats.contract import Header
from revgan.data.formats.ome_xml import ImageInfo
from revgan.data.formats.physical import millimetres
from revgan.data.formats.tiff_stacks import micrometres
from revgan.data.scratch import ScratchArray
from revgan.errors import notice

LIMIT = 2**32 - 2**20
"""The most bytes of values that ImageJ's files can hold."""

TYPES = ("uint8", "uint16", "float32")

LEFT_OUT = ("Ranges", "min", "max", "Overlays", "ROI", "Plot")
"""What is said of the original's values, or drawn on it."""

GREY = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
"""The lookup table that an image without one has."""


@dataclass(frozen=True, eq=False)
class Display:
    """How ImageJ shows an image.

    Attributes:
        tables: each channel's colours (3, 256), by grey level; () if all are grey.
        labels: each plane's, channel by channel; () if these are the channels' names.
        mode: "composite", "color" or "grayscale".
        left_out: which of `LEFT_OUT` its file has.
    """

    tables: tuple[NDArray[np.uint8], ...] = ()
    labels: tuple[str, ...] = ()
    mode: str = ""
    left_out: tuple[str, ...] = ()

    def part(self, channels: Sequence[int], planes: slice, of: Mapping[str, int], t: int) -> Self:
        """That of some channels and planes.

        Args:
            channels: their numbers.
            planes: along z.
            of: how many there are along C, Z and T.
            t: the point in time.
        """
        count, depth, times = (of.get(axis, 1) for axis in "CZT")
        tables, labels = self.tables, self.labels
        if len(labels) == count * depth * times:
            all_of = np.reshape(np.array(labels, object), (times, depth, count))
            labels = tuple(all_of[t, planes][:, list(channels)].ravel())
        return replace(
            self,
            tables=tuple(tables[number] for number in channels) if tables else (),
            labels=labels if len(self.labels) == count * depth * times else (),
        )

    @property
    def colours(self) -> tuple[dict[str, str], ...]:
        """Each channel's colour as OME-XML says it; () unless all go from black to one colour."""
        ramps = [np.outer(table[:, -1] / 255, np.arange(256)) for table in self.tables]
        pairs = zip(ramps, self.tables, strict=True)
        if not all(np.abs(ramp - table).max() <= 1 for ramp, table in pairs):
            return ()
        bytes_of = (bytes([*table[:, -1].tolist(), 255]) for table in self.tables)
        return tuple({"Color": str(int.from_bytes(each, "big", signed=True))} for each in bytes_of)


def read(file: tifffile.TiffFile) -> tuple[ImageInfo, Display]:
    """What a file says of its only image."""
    said = file.imagej_metadata or {}
    unit = str(said.get("unit", "")).encode("latin-1", "replace").decode("unicode_escape")
    known = millimetres(unit)
    sizes: list[float | None] = [None, None, None]
    if known is not None:
        tags = file.pages.first.tags
        for axis, name in enumerate(("XResolution", "YResolution")):
            count, per = tags[name].value if name in tags else (0, 1)
            sizes[axis] = known * per / count if count and per else None
        spacing = float(said.get("spacing", 1)) * known
        sizes[2] = abs(spacing) or None  # negative for a stack that was taken downwards
    # ImageJ's origin is the pixel whose place is 0.
    at = [float(said.get(f"{axis}origin", 0)) for axis in "xyz"]
    origin = tuple(-number * (size or 0) + 0 for number, size in zip(at, sizes, strict=True))
    labels = said.get("Labels") or []
    labels = [labels] if isinstance(labels, str) else list(map(str, labels))
    # Labels are for planes; if all planes have the same ones, for channels.
    names = labels[: int(said.get("channels", 1))]
    planes = len(labels) // len(names) if names else 0
    of_channels = labels == names * planes
    info = ImageInfo(sizes=tuple(sizes), origin=origin, names=tuple(names) if of_channels else ())
    shown = Display(
        _tables(file, said),
        () if of_channels else tuple(labels),
        str(said.get("mode", "")),
        tuple(name for name in LEFT_OUT if name in said),
    )
    return info, shown


def _tables(file: tifffile.TiffFile, said: Mapping[str, Any]) -> tuple[NDArray[np.uint8], ...]:
    """Each channel's lookup table; () if all are grey, or some are missing."""
    page = file.pages.first
    found = said.get("LUTs", [])
    tables = found if isinstance(found, list) else [found]
    count = int(said.get("channels", 1))
    if not tables and page.colormap is not None and page.colormap.shape == (3, 256):
        tables = [(page.colormap >> 8).astype(np.uint8)]
    if len(tables) != count or any(table.shape != (3, 256) for table in tables):
        return ()
    return () if all(np.array_equal(table, GREY) for table in tables) else tuple(tables)


def holds(header: Header) -> bool:
    """Whether a hyperstack can hold a scan."""
    size = header.channels * int(np.prod(header.shape, dtype=np.int64)) * header.dtype.itemsize
    return header.dtype.name in TYPES and size < LIMIT


def write(path: Path, header: Header, values: ScratchArray, *, rgb: bool, shown: Display) -> None:
    """Writes a hyperstack, which has no pyramid.

    Args:
        path: of the file.
        header: of its scan.
        values: (C, Z, Y, X).
        rgb: whether all channels are samples of one pixel.
        shown: of the image that it is written like; what it says of channels is kept if there are
            as many.
    """
    channels, depth, height, width = values.shape
    sizes, origin = micrometres(header)
    metadata: dict[str, Any] = {"axes": "ZCYX"}
    resolution = None
    if sizes:
        metadata["unit"] = "micron"
        resolution = (1 / sizes["X"], 1 / sizes["Y"])
        if "Z" in sizes:
            metadata["spacing"] = sizes["Z"]
        if any(origin.values()):
            metadata |= {f"{axis.lower()}origin": -origin[axis] / sizes[axis] for axis in sizes}
    options: dict[str, Any] = {"photometric": "rgb" if rgb else "minisblack"}
    labels, tables = len(shown.labels) == channels * depth, len(shown.tables) == channels
    if header.names or labels:
        metadata["Labels"] = list(header.names) * depth or list(shown.labels)
    if tables:
        metadata["LUTs"] = list(shown.tables)
        if channels > 1 and shown.mode:
            metadata["mode"] = shown.mode
        if channels == 1 and header.dtype == np.uint8:  # where ImageJ looks for the only one
            options = {"photometric": "palette", "colormap": shown.tables[0].astype("u2") * 257}
    tell_left_out(shown, tables=tables, labels=labels)
    shape: tuple[int, ...] = (depth, channels, height, width)
    samples = 1
    if rgb:
        shape, samples, metadata["axes"] = (depth, 1, height, width, channels), channels, "ZCYXS"
    with tifffile.TiffWriter(path, imagej=True) as file:
        file.write(
            (
                _page(values, slice(c, c + samples), z)
                for z in range(depth)
                for c in range(0, channels, samples)
            ),
            shape=shape,
            dtype=header.dtype,
            resolution=resolution,
            metadata=metadata,
            **options,
        )


def tell_left_out(shown: Display, *, tables: bool, labels: bool) -> None:
    """Says what of ImageJ's metadata isn't kept.

    Args:
        shown: that of the original.
        tables: whether its lookup tables are kept, if it has any.
        labels: whether the labels of its planes are.
    """
    lost = {
        "lookup tables": shown.tables and not tables,
        "labels of planes": shown.labels and not labels,
        "display ranges": {"Ranges", "min", "max"} & set(shown.left_out),
        "overlays, selections and plots": {"Overlays", "ROI", "Plot"} & set(shown.left_out),
    }
    if said := [what for what, is_there in lost.items() if is_there]:
        notice(f"left out of what is written: ImageJ's {' and '.join(said)} of the original")


def _page(values: ScratchArray, channels: slice, z: int) -> NDArray[Any]:
    """(H, W) of one channel, or (H, W, C) of several."""
    page = values.read((slice(z, z + 1), slice(None), slice(None)), channels)[:, 0]
    return page[0] if len(page) == 1 else np.moveaxis(page, 0, -1)
