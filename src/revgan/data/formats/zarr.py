"""OME-Zarr 0.4 and 0.5: folders of chunks, read and written chunk by chunk, with their pyramid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from revgan.data.formats import ngff, selecting
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
from revgan.data.formats.pyramid import Level, blocks, choose, coarser, halvings, means
from revgan.errors import UserError

if TYPE_CHECKING:
    from zarr import Array, Group

ORDER = {2: "yx", 3: "xyz"}
"""A scan's spatial axes, by their number."""

CHUNK = {2: 512, 3: 64}
"""The side of new chunks, which are of one channel."""

CODECS = frozenset(
    "bytes transpose sharding_indexed crc32c crc32 adler32 fletcher32 gzip zlib bz2 lzma lz4 zstd "
    "blosc delta shuffle bitround quantize fixedscaleoffset astype packbits".split()
)
"""What chunks may be coded by. All else is refused, above all pickle, which would run what a file
brings."""


@dataclass(frozen=True)
class OmeZarr:
    """What is kept of an image for one written like it.

    Attributes:
        image: all that its group says.
        chunks: of its finest level, along its axes.
        channels: of the image's channels, the numbers of those that were read.
    """

    image: ngff.Multiscale
    chunks: tuple[int, ...]
    channels: tuple[int, ...]


class _ZarrReader(Reader):
    def __init__(self, path: Path, dims: int, selection: Selection) -> None:
        zarr = _zarr(path)
        group, attributes = _image(path, zarr.open_group(path, mode="r"), selection.series)
        self._image = image = _described(path, attributes)
        self._order = ORDER[dims]
        arrays = [_array(path, group, level.path, image.axes) for level in image.levels]
        sizes = dict(zip(image.axes, arrays[0].shape, strict=True))
        self._fixed = {}
        for axis in "tz":
            if axis not in self._order:
                wanted = {"t": selection.t, "z": selection.z}[axis]
                count = sizes.get(axis, 1)
                self._fixed[axis] = selecting.plane(path, axis, wanted, count)
        if missing := set(self._order) - set(image.axes):
            raise UserError(f"{path} has no axis {missing.pop()}; a volume needs x, y and z")
        labels = image.labels if len(image.labels) == sizes.get("c", 1) else ()
        self._channels = selecting.channels(
            path, selection.channels, labels, sizes.get("c", 1)
        )
        shapes = [tuple(array.shape[image.axes.index(a)] for a in self._order) for array in arrays]
        spacings = [self._spacing(level) for level in image.levels]
        known = [spacing[0] * 1e3 for spacing in spacings if spacing is not None]
        in_plane = known if len(known) == len(shapes) and dims < 3 else None
        self._level = level = choose(path, selection, shapes, in_plane)
        self._array = arrays[level.number]
        self.header = Header(
            len(self._channels),
            level.scaled,
            self._array.dtype.newbyteorder("="),
            self._affine(level),
            OmeZarr(image, arrays[0].chunks, tuple(self._channels)),
            names=tuple(labels[number] for number in self._channels) if labels else (),
        )

    def _spacing(self, level: ngff.Level) -> list[float] | None:
        """Millimetres along the scan's axes; None where a unit is missing."""
        units = [self._image.millimetres(axis) for axis in self._order]
        steps = [level.scale[self._image.axes.index(axis)] for axis in self._order]
        sizes = [step * unit for step, unit in zip(steps, units, strict=True) if unit]
        return sizes if len(sizes) == len(units) else None

    def _affine(self, level: Level) -> Affine | None:
        described = self._image.levels[level.number]
        sizes = self._spacing(described)
        if sizes is None:
            return None
        origin = [
            described.translation[self._image.axes.index(axis)]
            * (self._image.millimetres(axis) or 1.0)
            for axis in self._order
        ]
        scaled = [s * side / n for s, side, n in zip(sizes, level.shape, level.scaled, strict=True)]
        # The first pixel's centre moves with its size.
        begins = [o + (new - old) / 2 for o, new, old in zip(origin, scaled, sizes, strict=True)]
        return place(scaled, begins)

    def values(self, window: Window) -> Values:
        return self._level.read(self._read, window)

    def _read(self, window: Window) -> Values:
        parts = dict(zip(self._order, window, strict=True))
        first, last = min(self._channels), max(self._channels)
        index = tuple(
            self._fixed[axis]
            if axis in self._fixed
            else parts.get(axis, slice(first, last + 1))
            for axis in self._image.axes
        )
        data = np.asarray(self._array[index])
        left = [axis for axis in self._image.axes if axis not in self._fixed]
        if "c" not in left:
            data, left = data[np.newaxis], ["c", *left]
        data = data.transpose([left.index(axis) for axis in "c" + self._order])
        chosen = [number - first for number in self._channels]
        if chosen != list(range(len(data))):
            data = data[chosen]
        return data.astype(self.header.dtype, copy=False)


class _ZarrWriter(Writer):
    """Writes chunks as windows come, then each level of the pyramid from the one before."""

    def __init__(self, path: Path, header: Header) -> None:
        self._path, self._header = path, header
        self._order = ORDER[len(header.shape)]
        known = header.source if isinstance(header.source, OmeZarr) else None
        self._known = known
        version = known.image.version if known and known.image.version == "0.4" else "0.5"
        self._axes, chunks = self._layout()
        zarr = _zarr(path)
        self._group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
        sizes, origin = sizes_and_origin(
            place([1] * len(header.shape), [0] * len(header.shape))
            if header.affine is None
            else header.affine
        )
        unit = 1.0 if header.affine is None else 1e3  # micrometres
        self._arrays: list[Array[Any]] = []
        levels: list[ngff.Level] = []
        shape = header.shape
        self._factors = list(halvings(shape, sizes, CHUNK[len(shape)]))
        total = np.ones(len(shape))
        for number, factors in enumerate([(1,) * len(shape), *self._factors]):
            shape, total = coarser(shape, factors), total * factors
            scale = dict(zip(self._order, np.array(sizes) * total * unit, strict=True))
            # A mean lies in the middle of what it is of.
            shift = np.array(origin) + np.array(sizes) * (total - 1) / 2
            start = dict(zip(self._order, shift * unit, strict=True))
            level = ngff.Level(
                str(number),
                tuple(float(scale.get(axis, 1)) for axis in self._axes),
                tuple(float(start.get(axis, 0)) for axis in self._axes),
            )
            levels.append(level)
            self._arrays.append(self._new_array(level.path, shape, chunks))
        units = {axis: "micrometer" if header.affine is not None else "" for axis in self._order}
        self._image = ngff.Multiscale(
            version,
            self._axes,
            tuple(units.get(axis, "") for axis in self._axes),
            tuple(levels),
            known.image.name if known else "",
        )
        self._low, self._high = np.inf, -np.inf

    def _layout(self) -> tuple[str, tuple[int, ...]]:
        """Axes and chunks: those of the file that it is written like, where they fit."""
        header, dims = self._header, len(self._header.shape)
        axes = "c" + self._order[::-1] if dims > 2 else "c" + self._order
        chunks = {axis: CHUNK[dims] for axis in self._order}
        if self._known is not None:
            image = self._known.image
            if header.channels == 1 or "c" in image.axes:
                axes = image.axes
            by_axis = dict(zip(image.axes, self._known.chunks, strict=True))
            chunks = {axis: by_axis[axis] for axis in self._order}
        sides = dict(zip(self._order, header.shape, strict=True))
        return axes, tuple(min(chunks.get(axis, 1), sides.get(axis, 1)) for axis in axes)

    def _new_array(
        self, name: str, shape: tuple[int, ...], chunks: tuple[int, ...]
    ) -> Array[Any]:
        sides = dict(zip(self._order, shape, strict=True)) | {"c": self._header.channels}
        full = tuple(sides.get(axis, 1) for axis in self._axes)
        how: dict[str, Any] = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
        if self._group.metadata.zarr_format > 2:
            how = {"dimension_names": list(self._axes)}
        return self._group.create_array(
            name,
            shape=full,
            chunks=tuple(map(min, chunks, full)),
            dtype=self._header.dtype,
            fill_value=0,
            **how,
        )

    def _index(self, window: Window) -> tuple[Any, ...]:
        parts = dict(zip(self._order, window, strict=True)) | {"c": slice(None)}
        return tuple(parts.get(axis, 0) for axis in self._axes)

    def _put(self, level: int, window: Window, values: Values) -> None:
        order = [axis for axis in self._axes if axis in "c" + self._order]
        if "c" not in order:
            values = values[0]
            source: str = self._order
        else:
            source = "c" + self._order
        self._arrays[level][self._index(window)] = values.transpose(
            [source.index(axis) for axis in order]
        )

    def _get(self, level: int, window: Window) -> Values:
        data = np.asarray(self._arrays[level][self._index(window)])
        order = [axis for axis in self._axes if axis in "c" + self._order]
        if "c" not in order:
            data, order = data[np.newaxis], ["c", *order]
        return data.transpose([order.index(axis) for axis in "c" + self._order])

    def write(self, window: Window, values: Values) -> None:
        self._put(0, window, values)
        self._low = min(self._low, float(values.min()))
        self._high = max(self._high, float(values.max()))

    def finish(self) -> None:
        for level, factors in enumerate(self._factors, start=1):
            array = self._arrays[level]
            shape, sides = (
                tuple(which[self._axes.index(axis)] for axis in self._order)
                for which in (array.shape, array.chunks)
            )
            for window in blocks(shape, sides):
                finer = tuple(
                    slice(part.start * factor, part.stop * factor)
                    for part, factor in zip(window, factors, strict=True)
                )
                self._put(level, window, means(self._get(level - 1, finer), factors))
        image = replace(self._image, channels=self._described_channels())
        self._group.attrs.update(image.attributes())

    def _described_channels(self) -> tuple[Mapping[str, Any], ...]:
        """As in the file that it is written like, where its channels are the same ones."""
        names, known = self._header.names, self._known
        if known is not None and names and names == tuple(
            known.image.labels[number] for number in known.channels
        ):
            return tuple(known.image.channels[number] for number in known.channels)
        return tuple(ngff.channel(name, self._low, self._high) for name in names)


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

    def beyond(self, header: Header) -> list[str]:
        return beyond_micrographs(header)


def _zarr(path: Path) -> Any:
    try:
        return import_module("zarr")
    except ImportError as error:
        raise UserError(f"{path} needs the package zarr: pip install 'revgan[zarr]'") from error


def _image(path: Path, root: Group, wanted: str | None) -> tuple[Group, Mapping[str, Any]]:
    """The group of an image, and what it says of it."""
    found = dict(_images(root, ""))
    if not found:
        raise UserError(
            f"{path} holds no image that OME-NGFF describes; give a folder whose attributes have "
            "multiscales"
        )
    names = list(found)
    group = found[names[selecting.series(path, wanted, names)]]
    return group, group.attrs.asdict()


def _images(group: Group, name: str) -> Iterator[tuple[str, Group]]:
    """All images in a group: itself, those of a plate or well, or those of a collection."""
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
        lacks = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise UserError(
            f"{path} has metadata of OME-NGFF that can't be understood ({lacks}); write it again in "
            "version 0.4 or 0.5"
        ) from error


def _array(path: Path, group: Group, name: str, axes: str) -> Array[Any]:
    """The array of a level, if it holds real numbers and is decoded without running any code.

    Raises:
        UserError: it doesn't.
    """
    array: Any = group[name]
    if unknown := set(_codecs(array.metadata.to_dict())) - CODECS:
        raise UserError(
            f"{path} is coded by {', '.join(sorted(unknown))}, which revgan doesn't decode; write "
            "it again with zstd or blosc"
        )
    if array.dtype.kind not in "buif" or array.ndim != len(axes) or 0 in array.shape:
        size = " x ".join(map(str, array.shape))
        raise UserError(
            f"{path} holds an array of {array.dtype} and size {size} as {axes}; give an image of "
            "real numbers with these axes"
        )
    return array


def _codecs(metadata: Mapping[str, Any]) -> Iterator[str]:
    """The names of an array's codecs, those within shards as well."""
    steps = [metadata.get("compressor"), *(metadata.get("filters") or ())]
    steps += [*(metadata.get("codecs") or ()), *(metadata.get("index_codecs") or ())]
    for step in steps:
        if step is None:
            continue
        content = step if isinstance(step, Mapping) else step.get_config()
        yield str(content.get("name") or content["id"]).removeprefix("numcodecs.")
        inner = content.get("configuration")
        if isinstance(inner, Mapping):
            yield from _codecs(inner)
