"""What the types of numbers in files can hold, and conversion to them."""

from typing import Any

import numpy as np

from revgan.data.formats import Values


def in_type(values: Values, dtype: np.dtype[Any] | None) -> Values:
    """Converts values to a file's type; for integer types, to the nearest integers.

    Args:
        values: of any shape; in an integer type, NaN becomes an arbitrary value.
        dtype: None leaves them as they are.
    """
    if dtype is None or values.dtype == dtype:
        return values
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    low, high = limits_of(dtype)
    if dtype.itemsize > 2:
        values = values.astype(np.float64)  # which can represent every such integer
        high = min(high, int(np.nextafter(2.0**63, 0)))
    rounded: Values = np.rint(np.nan_to_num(values, nan=low))
    rounded.clip(low, high, out=rounded)
    return rounded.astype(dtype)


def holds(dtype: np.dtype[Any], value: float) -> bool:
    """Whether a type has this very value, or of floats the one nearest to it."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return bool(np.isnan(value) or np.isfinite(dtype.type(value)) or np.isinf(value))
    low, high = limits_of(dtype)
    return float(value).is_integer() and low <= value <= high


def limits_of(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The lowest and the highest value of an integer type, or of bool."""
    if dtype.kind == "b":
        return 0, 1
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def range_of(dtype: np.dtype[Any]) -> tuple[np.float32, np.float32]:
    """The lowest value of an integer type, and half the distance to the highest."""
    low, high = limits_of(dtype)
    return np.float32(low), np.float32((high - low) / 2)
