"""NumPy's .npy: three axes in space, after one of channels where there are four; no place."""

from pathlib import Path

import numpy as np

from revgan.data.formats.axes import volume_channels
from revgan.data.formats.contract import (
    Family,
    Header,
    Reader,
    Selection,
    Values,
    Window,
    Writer,
)
from revgan.data.scratch import reserve


class _NpyReader(Reader):
    windowed = True

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            magic = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(magic)
            if read is None:
                raise ValueError(f"version {magic} of the format is unknown")
            shape, _, dtype = read(file)
            if dtype.hasobject:
                raise ValueError("it holds Python objects, which allow_pickle=False refuses")
        spatial, others = shape[-3:], shape[:-3]
        channels = volume_channels(path, dtype, spatial, others)
        self._path = path
        # The number of axes, so that a file written like it has as many.
        self.header = Header(channels, spatial, dtype.newbyteorder("="), np.eye(4), len(shape))

    def values(self, window: Window) -> Values:
        stored = np.lib.format.open_memmap(self._path, mode="r")
        header = self.header
        part = stored.reshape(header.channels, *header.shape)[:, *window]
        return np.array(part, header.dtype, order="C")


class Npy(Family):
    """Arrays of NumPy."""

    suffixes = (".npy",)
    spatial_dims = (3,)

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _NpyReader(path)

    def write(self, path: Path, values: Values, header: Header) -> None:
        with path.open("wb") as file:
            np.lib.format.write_array(
                file, values.reshape(_stored_shape(header)), allow_pickle=False
            )

    def create(self, path: Path, header: Header) -> Writer:
        return _NpyWriter(path, header)


class _NpyWriter(Writer):
    def __init__(self, path: Path, header: Header) -> None:
        self._path, self._header = path, header
        stored = np.lib.format.open_memmap(path, "w+", header.dtype, _stored_shape(header))
        reserve(path, stored.offset + stored.nbytes)

    def write(self, window: Window, values: Values) -> None:
        # Mapped for this window alone: what stays mapped counts as the process's memory.
        stored = np.lib.format.open_memmap(self._path, mode="r+")
        stored.reshape(self._header.channels, *self._header.shape)[:, *window] = values

    def finish(self) -> None:
        pass


def _stored_shape(header: Header) -> tuple[int, ...]:
    """With an axis for channels where there are several, or where the source had one."""
    has_channel_axis = header.channels > 1 or header.source == 4
    return (header.channels, *header.shape) if has_channel_axis else header.shape
