"""NumPy's .npy: three spatial axes, after a channel axis if there are four; no place in space."""

from pathlib import Path

import numpy as np

from revgan.data.formats.axes import volume_channels
from revgan.data.formats.contract import Family, Header, Reader, Selection, Values, Window


class _NpyReader(Reader):
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
                raise ValueError("it holds Python objects, which aren't loaded for security")
        spatial, others = shape[-3:], shape[:-3]
        channels = volume_channels(path, dtype, spatial, others)
        self._path = path
        # The number of axes, so that a file written like it has the same number.
        self.header = Header(channels, spatial, dtype.newbyteorder("="), np.eye(4), len(shape))

    def values(self, window: Window) -> Values:
        stored = np.lib.format.open_memmap(self._path, mode="r")
        header = self.header
        part = stored.reshape(header.channels, *header.shape)[:, *window]
        return np.array(part, header.dtype, order="C")


class Npy(Family):
    """NumPy arrays."""

    suffixes = (".npy",)
    spatial_dims = (3,)

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _NpyReader(path)

    def write(self, path: Path, values: Values, header: Header) -> None:
        has_channel_axis = len(values) > 1 or header.source == 4
        with path.open("wb") as file:
            np.lib.format.write_array(
                file, values if has_channel_axis else values[0], allow_pickle=False
            )
