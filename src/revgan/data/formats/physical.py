"""Pixel sizes and origins of micrographs, which aren't rotated in space."""

from collections.abc import Sequence

import numpy as np

from revgan.data.formats.contract import Affine, Header

MILLIMETRES = {
    "angstrom": 1e-7,
    "Å": 1e-7,
    "nanometer": 1e-6,
    "nm": 1e-6,
    "micrometer": 1e-3,
    "micron": 1e-3,
    "um": 1e-3,
    "µm": 1e-3,
    "μm": 1e-3,  # the Greek letter; the line above has the micro sign, which looks the same
    "millimeter": 1.0,
    "mm": 1.0,
    "centimeter": 10.0,
    "cm": 10.0,
    "inch": 25.4,
    "meter": 1e3,
    "m": 1e3,
}
"""Millimetres per unit of length, as OME-XML, OME-Zarr and ImageJ write units."""

TO_AXES = {2: (1, 0), 3: (0, 1, 2)}
"""The index in (x, y, z) of each of a scan's spatial axes; images are (H, W)."""


def place(sizes: Sequence[float], origin: Sequence[float]) -> Affine:
    """The affine of pixels or voxels along x, y and z.

    Args:
        sizes: from one to the next in millimetres, along the scan's axes.
        origin: the first one's position, in the same way.
    """
    dims = len(sizes)
    affine = np.eye(dims + 1)
    affine[:dims, :dims] = 0
    for axis, (size, start) in enumerate(zip(sizes, origin, strict=True)):
        affine[TO_AXES[dims][axis], axis] = size
        affine[TO_AXES[dims][axis], dims] = start
    return affine


def sizes_and_origin(affine: Affine) -> tuple[list[float], list[float]]:
    """The arguments that `place` made an affine from."""
    axes = TO_AXES[len(affine) - 1]
    sizes = [float(affine[row, axis]) for axis, row in enumerate(axes)]
    return sizes, [float(affine[row, -1]) for row in axes]


def beyond_micrographs(header: Header) -> list[str]:
    """What formats with only sizes and origins can't hold of a scan, in words."""
    beyond = []
    if header.ground is not None:
        beyond.append("a place on the ground")
    if header.affine is not None:
        sizes, origin = sizes_and_origin(header.affine)
        if min(sizes) <= 0 or not np.allclose(place(sizes, origin), header.affine, 0, 1e-9):
            beyond.append("axes that are reversed or turned in space")
    if header.nodata is not None:
        beyond.append("a value that marks missing data")
    return beyond
