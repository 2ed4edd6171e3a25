"""Pixel sizes and origins of micrographs, which aren't rotated in space."""

from collections.abc import Sequence

import numpy as np

from revgan.data.formats.contract import Affine, Header

PREFIXES: dict[tuple[str, ...], int] = {
    **{("yocto", "y"): -24, ("zepto", "z"): -21, ("atto", "a"): -18, ("femto", "f"): -15},
    **{("pico", "p"): -12, ("nano", "n"): -9, ("micro", "u", "µ", "μ"): -6, ("milli", "m"): -3},
    **{("centi", "c"): -2, ("deci", "d"): -1, ("", ""): 0, ("deca", "deka", "da"): 1},
    **{("hecto", "h"): 2, ("kilo", "k"): 3, ("mega", "M"): 6, ("giga", "G"): 9},
    **{("tera", "T"): 12, ("peta", "P"): 15, ("exa", "E"): 18, ("zetta", "Z"): 21},
    ("yotta", "Y"): 24,
}
"""Powers of ten by the name and the signs of a prefix; micro has two that look the same."""

OTHER_UNITS = {
    ("angstrom", "ångström", "Å", "\u212b"): 1e-7,
    ("micron", "microns"): 1e-3,
    ("thou", "mil"): 0.0254,
    ("line", "li"): 25.4 / 12,
    ("inch", "inches", "in"): 25.4,
    ("foot", "feet", "ft"): 304.8,
    ("yard", "yards", "yd"): 914.4,
    ("mile", "miles", "mi"): 1_609_344.0,
    ("point", "pt"): 25.4 / 72,
}
"""Millimetres of units without prefixes that are used on Earth."""

MILLIMETRES = {
    **{name: size for names, size in OTHER_UNITS.items() for name in names},
    **{
        f"{name}{metre}": float(f"1e{power + 3}")
        for (first, *others), power in PREFIXES.items()
        for name, metres in (
            (first, ("meter", "metre", "meters", "metres")),
            *((other, ("meter", "metre") if other == "deka" else ("m",)) for other in others),
        )
        for metre in metres
    },
}
"""Millimetres per unit of length, as OME-XML, OME-Zarr (UDUNITS), ImageJ and NRRD write units."""


def millimetres(unit: str) -> float | None:
    """A unit of length in millimetres; None if it isn't known, such as pixels."""
    return MILLIMETRES.get(unit, MILLIMETRES.get(unit.lower()))


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
    if header.nodata is not None and not np.isnan(header.nodata):
        beyond.append("a value that marks missing data")
    return beyond
