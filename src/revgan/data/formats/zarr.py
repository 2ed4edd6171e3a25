"""OME-Zarr 0.4 and 0.5: folders of chunks, read and written chunk by chunk, with their pyramid."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np

from revgan.data.formats import ngff, selecting
from revgan.data.formats.chunks import Packing, chunk_store
from revgan.data.formats.contract import (
    Affine,
    Family,
    Header,
    Reader,
    Selection,
    Values,
    Window,
    Writer,
)
from revgan.data.formats.physical import (
    beyond_micrographs,
    place,
    sizes_and_origin,
)
from revgan.data.formats.pyramid import (
    Level,
    blocks,
    choose,
    coarser,
    halvings,
    lengths,
    means,
)
from revgan.data.formats.zarr_arrays import codecs_of, readable_array
from revgan.errors import UserError, one_line, optional, require_package

ORDER = {2: "yx", 3: "xyz"}
"""A scan's spatial axes, by how many there are."""

FORMATS = {"0.4": 2, "0.5": 3}
"""The version of Zarr, by that of OME-Zarr."""

CHUNK = {2: 512, 3: 64}
"""The side of new chunks, which hold one channel each."""

SMALLEST_CHUNK, LARGEST_CHUNK = 2**12, 2**24
"""Values of a chunk that is kept on output, and read window by window."""


@dataclass(frozen=True)
class OmeZarr:
    """What is kept from an image for files written like it.

    Attributes:
        image: its group's metadata.
        chunks: its finest level's, along its axes; () if others suit windows better.
        channels: the numbers of the channels that were read.
        bare: along the scan's axes, the units, from pixel to pixel and the first one's place, where
            the units are no lengths; () where they are.
    """

    image: ngff.Multiscale
    chunks: tuple[int, ...]
    channels: tuple[int, ...]
    bare: tuple[tuple[str, float, float], ...] = ()

    def resized(self, factors: Sequence[float]) -> Self:
        """Of the same image with pixels so many times as far apart along each axis."""
        bare = tuple(
            (unit, size * factor, start + size * (factor - 1) / 2)
            for (unit, size, start), factor in zip(self.bare, factors, strict=bool(self.bare))
        )
        return replace(self, bare=bare)


@dataclass(frozen=True)
class _Axes:
    """How the axes of an array become those of a scan, (C, *spatial), and back.

    Attributes:
        names: one letter per axis of the array.
        order: the scan's spatial axes.
        fixed: the index along every other axis except channels.
    """

    names: str
    order: str
    fixed: Mapping[str, int]

    def of_scan(self, channels: Any, spatial: Sequence[Any], other: Any) -> tuple[Any, ...]:
        """Arranges values in the order of the array's axes."""
        by_axis = dict(zip(self.order, spatial, strict=True)) | {"c": channels}
        return tuple(by_axis.get(axis, other) for axis in self.names)

    def index(self, channels: slice, window: Window) -> tuple[Any, ...]:
        """The index of a part of a scan in the array."""
        index = self.of_scan(channels, window, None)
        pairs = zip(self.names, index, strict=True)
        return tuple(self.fixed.get(axis, 0) if part is None else part for axis, part in pairs)

    def to_scan(self, data: Values) -> Values:
        """Turns what `index` cut from the array into (C, *spatial)."""
        left = [axis for axis in self.names if axis in "c" + self.order]
        if "c" not in left:
            data, left = data[np.newaxis], ["c", *left]
        return data.transpose([left.index(axis) for axis in "c" + self.order])

    def to_array(self, values: Values) -> Values:
        """The opposite of `to_scan`."""
        left = [axis for axis in self.names if axis in "c" + self.order]
        if "c" not in left:
            return values[0].transpose([self.order.index(axis) for axis in left])
        return values.transpose([("c" + self.order).index(axis) for axis in left])

    def spatial(self, numbers: Sequence[Any]) -> tuple[Any, ...]:
        """Picks the scan's spatial axes from values for the array's axes."""
        return tuple(numbers[self.names.index(axis)] for axis in self.order)


class _ZarrReader(Reader):
    def __init__(self, path: Path, dims: int, selection: Selection) -> None:
        store = chunk_store(path)
        group = _image(path, _zarr(path).open_group(store, mode="r"), selection.series)
        self._image = image = _described(path, group.attrs.asdict())
        order = ORDER[dims]
        if missing := set(order) - set(image.axes):
            raise UserError(f"{path} has no axis {missing.pop()}; a volume needs x, y and z")
        arrays = [readable_array(path, group, level.path, image.axes) for level in image.levels]
        counts = dict.fromkeys("tcz", 1) | dict(zip(image.axes, arrays[0].shape, strict=True))
        wanted = {axis: getattr(selection, axis) for axis in "tz" if axis not in order}
        fixed = {
            axis: selecting.plane(path, axis, number, counts[axis])
            for axis, number in wanted.items()
        }
        self._axes = _Axes(image.axes, order, fixed)
        labels = image.labels if len(image.labels) == counts["c"] else ()
        self._channels = selecting.channels(path, selection.channels, labels, counts["c"])
        shapes = [self._axes.spatial(array.shape) for array in arrays]
        sizes = [self._millimetres(level.scale) for level in image.levels]
        in_plane = [each[0] * 1e3 for each in sizes if each is not None]
        known = in_plane if len(in_plane) == len(shapes) else None
        self._level = level = choose(path, selection, shapes, known)
        self._array = arrays[level.number]
        store.packing = Packing.of(path, self._array, codecs_of(self._array.metadata.to_dict()))
        self.windowed = prod(self._array.chunks) <= LARGEST_CHUNK
        self.header = Header(
            len(self._channels),
            level.scaled,
            self._array.dtype.newbyteorder("="),
            self._affine(level),
            OmeZarr(image, _kept_chunks(arrays[0]), tuple(self._channels), self._bare(level)),
            names=tuple(labels[number] for number in self._channels) if labels else (),
        )

    def _millimetres(self, numbers: tuple[float, ...]) -> list[float] | None:
        """Lengths along the scan's axes; None if a unit is missing."""
        units = [self._image.millimetres(axis) for axis in self._axes.order]
        lengths = [
            length * unit
            for length, unit in zip(self._axes.spatial(numbers), units, strict=True)
            if unit is not None
        ]
        return lengths if len(lengths) == len(units) else None

    def _affine(self, level: Level) -> Affine | None:
        described = self._image.levels[level.number]
        sizes = self._millimetres(described.scale)
        starts = self._millimetres(described.translation)
        if sizes is None or starts is None:
            return None
        return place(*lengths(sizes, starts, level.shape, level.scaled))

    def _bare(self, level: Level) -> tuple[tuple[str, float, float], ...]:
        """See `OmeZarr`."""
        described, spatial = self._image.levels[level.number], self._axes.spatial
        if self._affine(level) is not None:
            return ()
        of_level = spatial(described.scale), spatial(described.translation)
        sizes = lengths(*of_level, level.shape, level.scaled)
        return tuple(zip(spatial(self._image.units), *sizes, strict=True))

    def values(self, window: Window) -> Values:
        return self._level.read(self._read, window)

    def _read(self, window: Window) -> Values:
        first = min(self._channels)
        index = self._axes.index(slice(first, max(self._channels) + 1), window)
        values = self._axes.to_scan(np.asarray(self._array[index]))
        chosen = [number - first for number in self._channels]
        if chosen != list(range(len(values))):
            values = values[chosen]
        return values.astype(self.header.dtype, copy=False)


class _ZarrWriter(Writer):
    """Writes chunks as windows come, then each pyramid level from the one before."""

    def __init__(self, path: Path, header: Header) -> None:
        self._header = header
        self._known = known = header.source if isinstance(header.source, OmeZarr) else None
        version = known.image.version if known and known.image.version == "0.4" else "0.5"
        dims = len(header.shape)
        names, chunks = _layout(header, known)
        self._axes = _Axes(names, ORDER[dims], {})
        self._group = _zarr(path).create_group(path, zarr_format=FORMATS[version])
        units, sizes, starts = [""] * dims, [1.0] * dims, [0.0] * dims
        if header.affine is None and known is not None and known.bare:
            units, sizes, starts = map(list, zip(*known.bare, strict=True))
        elif header.affine is not None:
            units = ["micrometer"] * dims
            sizes, starts = (
                [mm * 1e3 for mm in numbers] for numbers in sizes_and_origin(header.affine)
            )
        self._factors = list(halvings(header.shape, sizes, CHUNK[dims]))
        self._arrays, levels = [], []
        shape = header.shape
        for number, factors in enumerate([(1,) * dims, *self._factors]):
            shape = coarser(shape, factors)
            # A mean is at the centre of its pixels.
            starts = [at + s * (f - 1) / 2 for at, s, f in zip(starts, sizes, factors, strict=True)]
            sizes = [size * factor for size, factor in zip(sizes, factors, strict=True)]
            scale, translation = (
                self._axes.of_scan(1.0, sizes, 1.0),
                self._axes.of_scan(0.0, starts, 0.0),
            )
            levels.append(ngff.Level(str(number), scale, translation))
            self._arrays.append(self._new_array(str(number), shape, chunks))
        name = known.image.name if known else ""
        of_axes = self._axes.of_scan("", units, "")
        self._image = ngff.Multiscale(version, names, of_axes, tuple(levels), name)
        self._low, self._high = np.inf, -np.inf

    def _new_array(self, name: str, shape: tuple[int, ...], chunks: tuple[int, ...]) -> Any:
        how: dict[str, Any] = {"dimension_names": list(self._axes.names)}
        if self._group.metadata.zarr_format == FORMATS["0.4"]:
            how = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
        full = self._axes.of_scan(self._header.channels, shape, 1)
        chunks = tuple(map(min, chunks, full))
        dtype = self._header.dtype
        return self._group.create_array(
            name, shape=full, chunks=chunks, dtype=dtype, fill_value=0, **how
        )

    def write(self, window: Window, values: Values) -> None:
        self._put(self._arrays[0], window, values)
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        if finite.size:
            self._low = min(self._low, float(finite.min()))
            self._high = max(self._high, float(finite.max()))

    def _put(self, array: Any, window: Window, values: Values) -> None:
        array[self._axes.index(slice(None), window)] = self._axes.to_array(values)

    def finish(self) -> None:
        finer = self._arrays[0]
        for array, factors in zip(self._arrays[1:], self._factors, strict=True):
            shape, sides = self._axes.spatial(array.shape), self._axes.spatial(array.chunks)
            for window in blocks(shape, sides):
                source = tuple(
                    slice(part.start * factor, part.stop * factor)
                    for part, factor in zip(window, factors, strict=True)
                )
                values = self._axes.to_scan(finer[self._axes.index(slice(None), source)])
                self._put(array, window, means(values, factors))
            finer = array
        if not self._low <= self._high:  # no value is finite
            self._low, self._high = 0.0, 1.0
        image = replace(self._image, channels=self._channels())
        self._group.attrs.update(image.attributes())

    def _channels(self) -> tuple[Mapping[str, Any], ...]:
        """As in the file that it is written like, if the channels are the same."""
        names, known = self._header.names, self._known
        if known is not None and names:
            same = [known.image.channels[number] for number in known.channels]
            if names == tuple(str(channel.get("label")) for channel in same):
                return tuple(same)
        return tuple(ngff.channel(name, self._low, self._high) for name in names)


def _kept_chunks(array: Any) -> tuple[int, ...]:
    """An array's chunks, unless windows would write too many of them, or too often the same."""
    fitting = SMALLEST_CHUNK <= prod(array.chunks) <= LARGEST_CHUNK
    return array.chunks if fitting and array.shards is None else ()


def _layout(header: Header, known: OmeZarr | None) -> tuple[str, tuple[int, ...]]:
    """The axes and chunks of a new image: those of the image it is written like, if they fit."""
    order = ORDER[len(header.shape)]
    axes = "c" + "".join(sorted(order, key="zyx".index))
    chunks = dict.fromkeys(order, CHUNK[len(header.shape)])
    if known is not None:
        if header.channels == 1 or "c" in known.image.axes:
            axes = known.image.axes
        by_axis = dict(zip(known.image.axes, known.chunks, strict=False))
        chunks |= {axis: by_axis[axis] for axis in order if axis in by_axis}
    return axes, tuple(chunks.get(axis, 1) for axis in axes)


class Zarr(Family):
    """OME-Zarr."""

    suffixes = (".ome.zarr", ".zarr")
    spatial_dims = (2, 3)
    selects = ("series", "level", "pixel_size", "channels", "z", "t")
    instead = ".npy"
    folder = True

    def claims(self, path: Path) -> bool:
        return any((path / name).is_file() for name in ("zarr.json", ".zgroup"))

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _ZarrReader(path, spatial_dims, selection)

    def write(self, path: Path, values: Values, header: Header) -> None:
        writer = self.create(path, header)
        writer.write((slice(None),) * len(header.shape), values)
        writer.finish()

    def create(self, path: Path, header: Header) -> Writer:
        return _ZarrWriter(path, header)

    def require(self, path: Path, header: Header) -> None:
        require_package("zarr", "zarr", str(path))

    def beyond(self, header: Header) -> list[str]:
        return beyond_micrographs(header)


def _zarr(path: Path) -> Any:
    return optional("zarr", "zarr", str(path))


def _image(path: Path, root: Any, wanted: str | None) -> Any:
    """The group of an image."""
    found = dict(_images(root, ""))
    if not found:
        raise UserError(
            f"{path} holds no OME-NGFF image; give a folder whose attributes have multiscales"
        )
    names = list(found)
    return found[names[selecting.series(path, wanted, names)]]


def _images(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    """All images in a group: the group itself, or those of a plate, well or collection."""
    attributes = group.attrs.asdict()
    ome = attributes.get("ome", attributes)
    if "multiscales" in ome:
        yield name or ome["multiscales"][0].get("name") or "0", group
        return
    paths = ngff.image_paths(attributes)
    if paths is None:
        paths = sorted((key for key in group.group_keys() if key.isdecimal()), key=int)
    for inside in paths:
        child = group[inside]
        if hasattr(child, "group_keys"):
            yield from _images(child, f"{name}/{inside}".strip("/"))


def _described(path: Path, attributes: Mapping[str, Any]) -> ngff.Multiscale:
    try:
        return ngff.Multiscale.read(attributes)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        lacks = f"it lacks {error}" if isinstance(error, KeyError) else one_line(error)
        raise UserError(
            f"{path} has OME-NGFF metadata that can't be understood ({lacks}); write it again in "
            "version 0.4 or 0.5"
        ) from error
