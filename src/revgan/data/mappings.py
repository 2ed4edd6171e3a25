"""Linear mappings of intensities from a file's units to a network's values, and back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from revgan.data.formats import Values
from revgan.data.large import Unread
from revgan.data.number_types import limits_of, range_of

Limit = float | tuple[float, ...]
"""One number, or one for each channel."""


@dataclass(frozen=True)
class Intensity:
    """A linear mapping of intensities onto -1 to 1, and back.

    Attributes:
        low: the intensity that becomes -1, in the file's units, or one per channel.
        high: the intensity that becomes 1, in the same way.
        clip: whether intensities beyond them become -1 and 1 too.
        dtype: of the domain's files, by NumPy's name; "" if it isn't known, as in models of earlier
            versions.
    """

    low: Limit
    high: Limit
    clip: bool = True
    dtype: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        low, high = np.broadcast_arrays(*np.atleast_1d(*self._given))
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
            raise ValueError(f"low must be below high, both finite, not {self.low} and {self.high}")

    def to_unit(self, values: Values) -> NDArray[np.float32]:
        """Maps intensities (C, *spatial) of any type to the network's values; NaN stays NaN."""
        wide = values.dtype.kind in "iuf" and values.dtype.itemsize > 2
        wide = wide and values.dtype != np.float32
        middle, half = self._middle_and_half(values.ndim, wide)
        with np.errstate(over="ignore"):  # what means missing may be beyond any float32
            if wide:
                # float32 would round large ones before the middle is subtracted.
                exact: Values = (values.astype(np.float64) - middle) / half
                values, middle, half = exact, 0.0, 1.0
            unit: NDArray[np.float32] = values.astype(np.float32, copy=False) - middle
        unit /= half  # in place: volumes may be large
        return unit.clip(-1, 1, out=unit) if self.clip else unit

    def from_unit(self, values: NDArray[np.float32], dtype: np.dtype[Any] | None = None) -> Values:
        """Maps a network's values, including those beyond -1 and 1, to intensities.

        It undoes `to_unit` for everything that wasn't clipped, up to float32's rounding: a small
        multiple of its precision at the largest of the intensity, `low` and `high`.

        Args:
            values: (C, *spatial).
            dtype: of the file that they are for; ignored here.
        """
        wide = bool(self.dtype) and np.dtype(self.dtype).itemsize > 2 and self.dtype != "float32"
        middle, half = self._middle_and_half(values.ndim, wide)
        if wide:
            exact: Values = values.astype(np.float64) * half + middle
            return exact
        intensities: Values = values * half
        intensities += middle
        return intensities

    def output_type(self, source: np.dtype[Any] | None) -> np.dtype[Any] | None:
        """The type of this domain's files; None if it isn't known."""
        return np.dtype(self.dtype) if self.dtype else None

    def of_scan(self, arrays: Iterable[Values | Unread]) -> "Intensity":
        """The mapping of one scan: this one, whatever the scan."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """The mapping as plain data, for a model folder."""
        content = {"low": _plain(self.low), "high": _plain(self.high), "clip": self.clip}
        return content | ({"dtype": self.dtype} if self.dtype else {})

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The mapping that `to_dict` described.

        Raises:
            ValueError: the content describes none.
        """
        keys = content.keys() - {"dtype"}
        if keys != {"low", "high", "clip"} or not isinstance(content["clip"], bool):
            raise ValueError(_not_a_mapping(content))
        low, high = (_limit(content[name], content) for name in ("low", "high"))
        return cls(low, high, content["clip"], dtype=type_name(content))

    @property
    def _given(self) -> tuple[Limit, Limit]:
        return self.low, self.high

    def _middle_and_half(self, ndim: int, wide: bool) -> tuple[Any, Any]:
        """Numbers, or arrays with one number per channel that broadcast to (C, *spatial).

        Args:
            ndim: axes of the values.
            wide: in float64, as of values that float32 would round.
        """
        if not isinstance(self.low, tuple) and not isinstance(self.high, tuple):
            return self.low / 2 + self.high / 2, self.high / 2 - self.low / 2
        shape = (-1, *[1] * (ndim - 1))
        low, high = (np.reshape(np.asarray(limit, np.float64) / 2, shape) for limit in self._given)
        dtype = np.float64 if wide else np.float32
        return (low + high).astype(dtype), (high - low).astype(dtype)


@dataclass(frozen=True)
class TypeRange:
    """Maps the full range of a file's integer type (0 to 255, 0 to 65535) to [-1, 1], and back.

    Attributes:
        dtype: of the domain's files, by NumPy's name, which determines how floats between their
            values are mapped; "" if it isn't known, as in models of earlier versions.
    """

    dtype: str = ""

    def to_unit(self, values: Values) -> NDArray[np.float32]:
        """Maps values of any shape to the network's: a new float32 array in C order.

        This isn't done by torch, whose threads wait for each other while training keeps the cores
        busy.
        """
        unit = np.array(values, dtype=np.float32, order="C")
        dtype = values.dtype
        if dtype.kind == "f":
            if not self.dtype:
                raise ValueError("floats have no full range; give the type of their files")
            dtype = np.dtype(self.dtype)
        low, half = range_of(dtype)
        unit /= half
        unit -= 1 + low / half
        return unit

    def from_unit(
        self, values: NDArray[np.float32], dtype: np.dtype[Any] | None = None
    ) -> NDArray[np.float32]:
        """The values in an integer type's range, not rounded yet."""
        low, half = range_of(np.dtype(self.dtype or np.uint8) if dtype is None else dtype)
        return (values + np.float32(1 + low / half)) * half

    def output_type(self, source: np.dtype[Any] | None) -> np.dtype[Any]:
        """The input file's type, so that photos keep their bit depth, else the domain's."""
        own = np.dtype(self.dtype or np.uint8)
        photos = [np.dtype(np.uint8), np.dtype(np.uint16)]
        return source if source is not None and source in photos and own in photos else own

    def of_scan(self, arrays: Iterable[Values | Unread]) -> "TypeRange":
        """The mapping of one scan: this one, whatever the scan."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """The mapping as plain data, for a model folder."""
        return {"method": "type"} | ({"dtype": self.dtype} if self.dtype else {})


def linear(mapping: Intensity | TypeRange) -> Intensity:
    """The same mapping by its limits; the full range of a type that isn't known is that of photos,
    0 to 255.
    """
    if isinstance(mapping, Intensity):
        return mapping
    dtype = np.dtype(mapping.dtype or np.uint8)
    low, high = limits_of(dtype)
    return Intensity(low, high, clip=False, dtype=dtype.name)


def _plain(limit: Limit) -> float | list[float]:
    return list(limit) if isinstance(limit, tuple) else limit


def _limit(content: Any, whole: Mapping[str, Any]) -> Limit:
    numbers = content if isinstance(content, list) and content else [content]
    # In Python, bool is an int.
    if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in numbers):
        raise ValueError(_not_a_mapping(whole))
    return tuple(numbers) if isinstance(content, list) else content


def type_name(content: Mapping[str, Any]) -> str:
    """The type of a domain's files in a mapping's plain data; "" if it isn't known.

    Raises:
        ValueError: there is no such type.
    """
    name = content.get("dtype", "")
    if name and (not isinstance(name, str) or np.dtype(name).kind not in "buif"):
        raise ValueError(_not_a_mapping(content))
    return str(name)


def _not_a_mapping(content: Mapping[str, Any]) -> str:
    return (
        "an intensity mapping has two numbers, low and high, and clip (true or false), not "
        f"{dict(content)}"
    )
