"""Slices of volumes as images: axial, coronal or sagittal ones, turned alike in all volumes.

Pictures are turned as radiologists turn them, as if the patient were seen from the feet, from the
front or from the left: right is at the left of axial and coronal slices, anterior is up in axial
ones and at the left of sagittal ones, superior is up in coronal and sagittal ones.
"""

from dataclasses import dataclass
from typing import NamedTuple

from nibabel.orientations import io_orientation

from revgan.data.formats import Affine, Values
from revgan.data.views import AXES, View


class Plane(NamedTuple):
    """One slice of a volume.

    Attributes:
        view: which way the volume is cut.
        number: of the slice, from 0, towards superior, anterior or right.
    """

    view: View
    number: int


@dataclass(frozen=True)
class Turn:
    """How a volume's array becomes slices, and slices the volume; no value changes.

    Attributes:
        axes: of the array, from slice to slice, from row to row, from column to column.
        backwards: which of these run against the array's.
    """

    axes: tuple[int, int, int]
    backwards: tuple[bool, bool, bool]

    @classmethod
    def of(cls, affine: Affine, view: View) -> "Turn":
        """For a volume with this affine (4, 4), to millimetres in RAS+."""
        orientation = io_orientation(affine)
        along = {int(world): axis for axis, (world, _) in enumerate(orientation)}
        axes = [along[world] for world in AXES[view]]
        signs = [orientation[axis, 1] for axis in axes]
        slices, rows, columns = axes
        # Rows go down, to posterior or inferior; columns to the left or to posterior.
        return cls((slices, rows, columns), (signs[0] < 0, signs[1] > 0, signs[2] > 0))

    def count(self, shape: tuple[int, ...]) -> int:
        """The slices of a volume (X, Y, Z)."""
        return shape[self.axes[0]]

    def slices(self, values: Values) -> Values:
        """(C, X, Y, Z) as (C, slices, rows, columns), a view."""
        return self._flipped(values.transpose(0, *(axis + 1 for axis in self.axes)))

    def volume(self, slices: Values) -> Values:
        """(C, slices, rows, columns) as (C, X, Y, Z), a view."""
        return self._flipped(slices).transpose(0, *(1 + self.axes.index(n) for n in range(3)))

    def _flipped(self, slices: Values) -> Values:
        flips = (slice(None, None, -1 if back else 1) for back in self.backwards)
        return slices[:, *flips]
