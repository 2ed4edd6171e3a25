"""Scans on other grids, window by window: to the grid that networks take, and back."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from revgan.data.formats import Affine, Header, Scan, Values, Window
from revgan.data.grids import resample
from revgan.data.preparation import SIDES, Grid

SAME_PLACE = 1e-3
"""Voxels aren't resampled if they are within this share of a voxel of where they should be."""

Read = Callable[[Window], Values]
"""Gives the values (C, *window) of a window."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """Where the voxels of a scan lie, or the pixels of an image.

    Attributes:
        shape: sizes of the spatial axes.
        affine: as in `Header`; None where there is no place.
    """

    shape: tuple[int, ...]
    affine: Affine | None

    @classmethod
    def of(cls, header: Header, grid: Grid) -> "Lattice":
        """Where `Grid.bring` puts a scan."""
        if grid == Grid():
            return cls(header.shape, header.affine)
        from monai.data import MetaTensor  # MONAI takes seconds
        from monai.transforms import Orientation, Spacing

        place = np.eye(4) if header.affine is None else header.affine
        # One number stands for all voxels, as lazy transforms look at none.
        moved = MetaTensor(torch.zeros(1).expand(1, *header.shape), torch.from_numpy(place))
        shape: tuple[int, ...] = header.shape
        if grid.orientation is not None:
            moved = Orientation(grid.orientation, labels=SIDES, lazy=True)(moved)
        if grid.spacing is not None:
            moved = Spacing(grid.spacing, lazy=True)(moved)
        if moved.has_pending_operations:
            place, shape = moved.peek_pending_affine().numpy(), moved.peek_pending_shape()
        return cls(tuple(shape), place)


class Move:
    """From one lattice to another: windows of the one, made of windows of the other.

    Axes are swapped and reversed where that is enough, which changes no value. Otherwise values are
    interpolated trilinearly, and continued constantly beyond the outermost ones.

    Attributes:
        interpolates: whether values change.
    """

    def __init__(self, here: Lattice, there: Lattice) -> None:
        self._here, self._there = here, there
        dims = len(here.shape)
        self._to_here = np.eye(dims + 1)
        if here.affine is not None and there.affine is not None:
            self._to_here = np.linalg.inv(here.affine) @ there.affine
        self._axes, self._turned = self._turn()
        corners = self._corners(tuple(slice(0, size) for size in there.shape))
        difference = (self._to_here - self._turned)[:dims] @ corners
        self.interpolates = bool(np.abs(difference).max() > SAME_PLACE)

    def read(self, read: Read, window: Window) -> Values:
        """A window there.

        Args:
            read: gives windows here.
            window: with both ends of each slice given.
        """
        box = self.needed(window)
        values = read(box)
        if not self.interpolates:
            turned = values.transpose(0, *(axis + 1 for axis in self._axes))
            backwards = [self._turned[own, axis] < 0 for axis, own in enumerate(self._axes)]
            return turned[:, *(slice(None, None, -1 if back else 1) for back in backwards)]
        assert self._here.affine is not None
        assert self._there.affine is not None
        part = Scan(values, _moved(self._here.affine, box), None, np.dtype(np.float32))
        shape = tuple(side.stop - side.start for side in window)
        return resample(part, _moved(self._there.affine, window), shape)

    def needed(self, window: Window) -> Window:
        """The window here that a window there is made of."""
        transform = self._to_here if self.interpolates else self._turned
        places = (transform @ self._corners(window))[:-1]
        ends = zip(places.min(1), places.max(1), self._here.shape, strict=True)
        if self.interpolates:
            return tuple(_around(low, high, size) for low, high, size in ends)
        return tuple(slice(round(low), round(high) + 1) for low, high, _ in ends)

    def _turn(self) -> tuple[list[int], NDArray[np.float64]]:
        """For each axis there, the nearest one here; and the affine that only turns."""
        dims = len(self._here.shape)
        linear = self._to_here[:dims, :dims]
        axes = [int(axis) for axis in np.abs(linear).argmax(0)]
        turned = np.eye(dims + 1)
        turned[:dims, :dims] = 0
        turned[axes, range(dims)] = np.sign(linear[axes, range(dims)])
        turned[:dims, dims] = np.rint(self._to_here[:dims, dims])
        return axes, turned

    def _corners(self, window: Window) -> NDArray[np.float64]:
        """Indices of a window's outermost positions, (D + 1, 2**D), with a row of ones."""
        ends = [(part.start, part.stop - 1) for part in window]
        return np.array([(*corner, 1) for corner in product(*ends)], dtype=np.float64).T


def _around(low: float, high: float, size: int) -> slice:
    """What interpolation between two places looks at, along an axis of so many positions."""
    first = int(np.clip(np.floor(low) - 1, 0, max(size - 2, 0)))
    return slice(first, int(np.clip(np.ceil(high) + 2, min(first + 2, size), size)))


def _moved(affine: Affine, window: Window) -> Affine:
    """The affine of a window."""
    moved = affine.copy()
    dims = len(window)
    moved[:dims, dims] += affine[:dims, :dims] @ [part.start for part in window]
    return moved
