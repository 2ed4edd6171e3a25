"""Numbers that may differ from axis to axis, such as those of networks for thin volumes."""

from collections.abc import Sequence
from typing import Protocol

PerAxis = int | tuple[int, ...]
"""One number for all spatial axes, or one for each."""

FACTOR = 2
"""A layer halves or doubles an axis."""


class Scaled(Protocol):
    """A layer that multiplies or divides axes.

    Attributes:
        scales: by what, axis by axis; None for `FACTOR`.
    """

    scales: Sequence[int] | None


def scales_of(layer: Scaled, spatial_dims: int) -> tuple[int, ...]:
    """By what a layer multiplies or divides each axis."""
    return (FACTOR,) * spatial_dims if layer.scales is None else tuple(layer.scales)


def per_axis(value: PerAxis, spatial_dims: int) -> tuple[int, ...]:
    """One number for each axis.

    Raises:
        ValueError: there are more or fewer numbers than axes.
    """
    if isinstance(value, int):
        return (value,) * spatial_dims
    if len(value) != spatial_dims:
        raise ValueError(f"must be one number, or {spatial_dims}, not {list(value)}")
    return value


def require_axes(name: str, value: PerAxis, spatial_dims: int) -> None:
    """Refuses more or fewer numbers than axes.

    Raises:
        ValueError: names the option.
    """
    try:
        per_axis(value, spatial_dims)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error


def numbers(value: PerAxis) -> tuple[int, ...]:
    """The number, or those of all axes."""
    return (value,) if isinstance(value, int) else value


def largest(value: PerAxis) -> int:
    """The largest of the numbers."""
    return max(numbers(value))


def strides(halvings: PerAxis, layer: int, layers: int, spatial_dims: int) -> tuple[int, ...]:
    """By what one of several layers in a row divides each axis: by 2 or, not at all, by 1.

    Axes that are halved by fewer than all are halved by the last ones. So slices far apart come
    together once the pixels in them are about as far apart, as in nnU-Net (Isensee et al., 2021).

    Args:
        halvings: how often each axis is halved in all.
        layer: which one it is, from 0.
        layers: how many there are.
        spatial_dims: how many axes.
    """
    return tuple(
        FACTOR if layers - layer <= count else 1 for count in per_axis(halvings, spatial_dims)
    )


def fitted(value: PerAxis, sizes: tuple[int, ...], fit: tuple[int, ...]) -> PerAxis:
    """A number that only fits long axes, per axis: along others, no more than fits.

    Args:
        value: for all axes, or for each, which is left alone.
        sizes: of the axes.
        fit: the largest number that fits each axis.
    """
    if not isinstance(value, int):
        return value
    longest = max(sizes)
    each = tuple(
        value if size == longest else min(value, most)
        for size, most in zip(sizes, fit, strict=True)
    )
    return value if set(each) == {value} else each


def halvable(size: int, left: int) -> int:
    """How often a size can be halved, with so many positions left."""
    return 0 if size % FACTOR or size < left * FACTOR else 1 + halvable(size // FACTOR, left)


def shown(value: PerAxis) -> int | list[int]:
    """As options are written."""
    return value if isinstance(value, int) else list(value)


def in_words(numbers: tuple[int, ...]) -> str:
    """One number if they are all the same, else all of them, such as "4 x 4 x 2"."""
    return str(numbers[0]) if len(set(numbers)) == 1 else " x ".join(map(str, numbers))
