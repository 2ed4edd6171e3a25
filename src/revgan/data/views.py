"""The ways in which volumes are cut into slices."""

from typing import Literal

View = Literal["axial", "coronal", "sagittal"]

AXES: dict[View, tuple[int, int, int]] = {
    "axial": (2, 1, 0),
    "coronal": (1, 2, 0),
    "sagittal": (0, 2, 1),
}
"""Of the patient's axes, which run to the right, to anterior and to superior: from slice to slice,
from row to row, from column to column."""
