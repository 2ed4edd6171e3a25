"""Where nothing was measured: NaN, and the value that a file names for it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from revgan.data.formats import Values
from revgan.data.number_types import holds, in_type, limits_of

Missing = NDArray[np.bool_]
"""(C, *spatial), true where a value stands for nothing measured."""


def missing_in(values: Values, nodata: float | None) -> Missing | None:
    """Where values (C, *spatial) stand for nothing measured; None where all were measured.

    Args:
        values: as a file has them, or a part of them.
        nodata: see `Header.nodata`. NaN always stands for nothing measured.
    """
    found: Missing | None = None
    if values.dtype.kind == "f":
        found = np.isnan(values)
    if nodata is not None and holds(values.dtype, nodata):
        named = values == values.dtype.type(nodata)
        found = named if found is None else found | named
    return found if found is not None and found.any() else None


def with_nan(values: Values, missing: Missing | None) -> Values:
    """Values with NaN where nothing was measured, as float32; the values themselves where all was.

    What float32 can't hold may be there as long as it is missing.
    """
    if missing is None:
        return values
    kept = np.where(missing, values.dtype.type(0), values)
    return np.where(missing, np.float32(np.nan), kept.astype(np.float32))


def mark(
    values: Values, nowhere: Missing | None, nodata: float | None, *, named: bool = True
) -> Values:
    """Values (C, *spatial) with `nodata`, or NaN without it, where nothing was measured.

    Args:
        values: of a type that `holds` the mark.
        nowhere: (*spatial), true where no channel of what was translated had a value; None where
            all had.
        nodata: see `nodata_for`.
        named: whether the file says that `nodata` stands for nothing measured: elsewhere, values
            that happen to be it become the next one.
    """
    dtype = values.dtype
    if named and nodata is not None and not np.isnan(nodata):
        taken = values == dtype.type(nodata)
        if taken.any():
            values = np.where(taken, _beside(dtype, nodata), values)
    if nowhere is None or not nowhere.any():
        return values
    return np.where(nowhere, dtype.type(np.nan if nodata is None else nodata), values)


def _beside(dtype: np.dtype[Any], value: float) -> Any:
    """The next value of a type: above, or below its highest."""
    if dtype.kind == "f":
        return np.nextafter(dtype.type(value), dtype.type(np.inf if value < 0 else -np.inf))
    return dtype.type(value + 1 if value < limits_of(dtype)[1] else value - 1)


def settled(
    values: Values, dtype: np.dtype[Any] | None, wanted: float | None, *, named: bool = True
) -> tuple[Values, float | None]:
    """Intensities as a file has them, and what stands for nothing measured in it.

    Args:
        values: (C, *spatial), NaN where nothing was measured.
        dtype: of the file; None for that of the values.
        wanted: see `nodata_for`.
        named: see `mark`.
    """
    nowhere: Missing = np.logical_and.reduce(np.isnan(values), axis=0)
    made = in_type(values, dtype)
    if not nowhere.any():
        nodata = wanted if wanted is not None and holds(made.dtype, wanted) else None
        return mark(made, None, nodata), nodata
    nodata = nodata_for(made.dtype, wanted)
    return mark(made, nowhere, nodata, named=named), nodata


def nodata_for(dtype: np.dtype[Any], wanted: float | None) -> float | None:
    """The value that stands for nothing measured in a file of a type; None if no file names one.

    Args:
        dtype: of the file.
        wanted: the value that another file has for it, which is kept if the type can hold it.
    """
    if wanted is not None and holds(dtype, wanted):
        return wanted
    if dtype.kind == "f":
        return None if wanted is None else float("nan")
    return float(limits_of(dtype)[0])
