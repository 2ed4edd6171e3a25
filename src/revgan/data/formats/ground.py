"""Places on the ground as rasterio has them: transforms from the corners of pixels, and CRSs."""

from typing import Any

import numpy as np

from revgan.data.formats.contract import Ground

CENTRE = np.array([[0.0, 1.0, 0.5], [1.0, 0.0, 0.5], [0.0, 0.0, 1.0]])
"""From a pixel's row and column to its centre as GDAL counts: column, row, from the corner."""


def ground_of(transform: Any, crs: Any) -> Ground:
    """A place, from rasterio's transform and CRS (None where it isn't known)."""
    return Ground(np.reshape(transform, (3, 3)) @ CENTRE, crs.to_wkt() if crs else "")


def transform_of(ground: Ground) -> Any:
    """A place's transform."""
    from rasterio.transform import Affine

    return Affine(*(ground.affine @ np.linalg.inv(CENTRE))[:2].ravel())


def crs_of(wkt: str) -> Any:
    """A CRS; None for "", where it isn't known."""
    from rasterio.crs import CRS

    return CRS.from_wkt(wkt) if wkt else None


def same_crs(one: str, other: str) -> bool:
    """Whether two CRSs in WKT are the same, however they are written; one not known fits any."""
    return not one or not other or one == other or bool(crs_of(one) == crs_of(other))
