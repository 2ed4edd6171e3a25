"""NumPy's .npy: the axes in space, and one of channels where there is one more; no place."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from revgan.data.formats.axes import channel_axis, volume_channels
from revgan.data.formats.contract import (
    NOWHERE,
    Family,
    Header,
    Reader,
    Selection,
    Values,
    Window,
    Writer,
)
from revgan.data.mapped import mapped, parsing
from revgan.data.scratch import reserve
from revgan.errors import UserError

FIRST, LAST = 0, -1


class _NpyReader(Reader):
    """Its header's `source` is the axis of channels, or None without one."""

    windowed = True

    def __init__(self, path: Path, spatial_dims: int) -> None:
        with path.open("rb") as file:
            magic = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(magic)
            if read is None:
                raise ValueError(f"version {magic} of the format is unknown")
            with parsing:
                shape, _, dtype = read(file)
            if dtype.hasobject:
                raise ValueError("it holds Python objects, which aren't loaded for security")
        self._path, self._axes = path, shape
        self.least = math.prod(shape) * dtype.itemsize
        header_of = {2: _image_header, 3: _volume_header}[spatial_dims]
        self.header = header_of(path, shape, dtype.newbyteorder("="))

    def values(self, window: Window) -> Values:
        stored = mapped(self._path)
        header = self.header
        if header.source == LAST:
            stored = np.moveaxis(stored, -1, 0)
        part = stored.reshape(header.channels, *header.shape)[:, *window]
        return np.array(part, header.dtype, order="C")


def _volume_header(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Header:
    spatial, others = shape[-3:], shape[:-3]
    channels = volume_channels(path, dtype, spatial, others)
    return Header(channels, spatial, dtype, NOWHERE, FIRST if others else None)


def _image_header(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Header:
    size = " x ".join(map(str, shape))
    if dtype.kind not in "buif":
        raise UserError(f"{path} holds {dtype}; save real numbers, in as many channels as needed")
    if len(shape) not in (2, 3) or 0 in shape:
        raise UserError(
            f"{path} isn't an image ({size}): its array has height and width, and channels "
            "before or after them"
        )
    axis = None
    if len(shape) == 3:
        axis = FIRST if channel_axis(shape) == 0 else LAST
    channels = 1 if axis is None else shape[axis]
    spatial = shape if axis is None else shape[1:] if axis == FIRST else shape[:-1]
    return Header(channels, spatial, dtype, source=axis)


class Npy(Family):
    """NumPy arrays."""

    suffixes = (".npy",)
    spatial_dims = (3, 2)

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _NpyReader(path, spatial_dims)

    def write(self, path: Path, values: Values, header: Header) -> None:
        axis = _axis(header)
        array = values[0] if axis is None else np.moveaxis(values, 0, axis)
        with path.open("wb") as file:
            np.lib.format.write_array(file, array, allow_pickle=False)

    def create(self, path: Path, header: Header) -> Writer:
        return _NpyWriter(path, header)


class _NpyWriter(Writer):
    def __init__(self, path: Path, header: Header) -> None:
        self._path, self._axis = path, _axis(header)
        shape = list(header.shape)
        if self._axis is not None:
            shape.insert(0 if self._axis == FIRST else len(shape), header.channels)
        stored = np.lib.format.open_memmap(path, "w+", header.dtype, tuple(shape))
        with path.open("r+b") as file:
            reserve(file, stored.offset + stored.nbytes)

    def write(self, window: Window, values: Values) -> None:
        # Mapped for this window alone: what stays mapped counts as the process's memory.
        stored = mapped(self._path, "r+")
        channels_first = (
            stored[np.newaxis] if self._axis is None else np.moveaxis(stored, self._axis, 0)
        )
        channels_first[:, *window] = values

    def finish(self) -> None:
        """All of it is there."""


def _axis(header: Header) -> int | None:
    """The axis of channels; None where the source has none and one is not needed."""
    if header.source in (FIRST, LAST):
        return int(header.source)
    # Of a file without such an axis, or of another family.
    return None if header.channels == 1 else {2: LAST, 3: FIRST}[len(header.shape)]
