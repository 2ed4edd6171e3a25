"""Volumes brought to their grid once, and then read from the disk piece by piece."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.orientations import io_orientation
from numpy.typing import NDArray

from revgan.data.array_cache import ArrayCache, read_array
from revgan.data.cache_limit import make_room, use
from revgan.data.preparation import Grid
from revgan.data.volumes import read_volume, require_contrast, volume_stem

VOLUMES = ArrayCache("volumes", version=1)
"""Volumes on their grid, as `prepare_volume` leaves them."""

POSITIONS = 2**16
"""Foreground positions that are kept of each volume, drawn at random from all."""


@dataclass(frozen=True)
class VolumeFile:
    """A volume where the user keeps it.

    Attributes:
        path: the file.
    """

    path: Path

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return volume_stem(self.path)

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class CachedVolume(VolumeFile):
    """A volume on its grid, in the cache.

    Attributes:
        path: the file that it comes from.
        folder: its place in the cache.
    """

    folder: Path

    @property
    def values(self) -> NDArray[Any]:
        """(C, X, Y, Z) in the file's units, memory-mapped; of small integers or float32."""
        return read_array(self.folder, "values")

    @property
    def shape(self) -> tuple[int, int, int]:
        """X, Y and Z."""
        x, y, z = self.values.shape[1:]
        return x, y, z

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4), from voxel indices on the grid to millimetres in RAS+."""
        return np.array(read_array(self.folder, "affine"))

    @property
    def left_right(self) -> int:
        """The axis, 0 to 2, that runs between the patient's left and right."""
        return int(np.flatnonzero(io_orientation(self.affine)[:, 0] == 0)[0])

    @property
    def foreground(self) -> NDArray[np.int32]:
        """(N, 3): voxels brighter than Otsu's threshold, at most `POSITIONS` of them."""
        return read_array(self.folder, "foreground")


def prepare_volume(file: VolumeFile, grid: Grid) -> CachedVolume:
    """Reads a volume, checks it and brings it to its grid, unless the cache has it already.

    It stays in the cache until this process ends. Several processes may do this at once.

    Raises:
        UserError: the volume can't be read or is constant, or the disk is full or not writable.
    """
    folder = VOLUMES.place(file.path, grid.orientation, grid.spacing)
    use(folder)
    if not folder.is_dir():
        volume = read_volume(file.path)
        require_contrast(volume, file.path)
        volume = grid.bring(volume)
        arrays = {
            "values": _compact(volume.values, volume.dtype),
            "affine": volume.affine,
            "foreground": foreground_positions(volume.values),
        }
        make_room(VOLUMES.folder, sum(array.nbytes for array in arrays.values()))
        VOLUMES.write(folder, arrays, file.path)
    return CachedVolume(file.path, folder)


def foreground_positions(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """The voxels whose mean over channels is above Otsu's threshold.

    Args:
        values: (C, X, Y, Z).

    Returns:
        (N, 3), at most `POSITIONS` of them, ordered; all voxels where the mean is the same
        everywhere.
    """
    mean = values[0] if len(values) == 1 else values.mean(axis=0)  # large volumes: no copy
    chosen = np.flatnonzero(mean > otsu_threshold(mean)) if np.ptp(mean) else np.arange(mean.size)
    if len(chosen) > POSITIONS:
        draws = np.random.default_rng(0)
        chosen = np.sort(draws.choice(chosen, POSITIONS, replace=False))
    return np.stack(np.unravel_index(chosen, mean.shape), axis=1).astype(np.int32)


def otsu_threshold(values: NDArray[np.float32]) -> float:
    """What parts values, which are not all equal, into two classes that vary least (Otsu, 1979)."""
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    # Of the classes below and above each edge; neither is empty, as both ends hold a value.
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * centres)[:-1]
    above, other_sums = counts.sum() - below, (counts * centres).sum() - sums
    between = below * above * (sums / below - other_sums / above) ** 2
    return float(edges[1 + np.argmax(between)])


def _compact(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The values in the file's own integers, if these are small and hold what there is."""
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        if limits.min <= values.min() and values.max() <= limits.max:
            integers = values.astype(dtype)
            if np.array_equal(integers, values):
                return integers
    return values
