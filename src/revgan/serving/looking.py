"""What the page shows of a translation: two pictures to slide between."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from revgan.figures import (
    Stack,
    common_limit,
    difference_map,
    most_different,
    shown_channels,
    tensor_to_uint8,
)

TRANSLATION = "Translation"
ROUND_TRIP = "Round trip"
DIFFERENCE = "Difference"
WAY_BACK = "Difference of round trip"

VIEWS = {
    TRANSLATION: "translation",
    ROUND_TRIP: "round trip",
    DIFFERENCE: "translation",
    WAY_BACK: "round trip",
}
"""What can be compared with the input, and which of a result's views that is."""

PLANES = ("Axial", "Coronal", "Sagittal")
"""As `Stack.planes` has them."""

SMALL = 512
"""Pictures whose longer side is shorter are enlarged to about this, pixel by pixel."""

Picture = NDArray[np.uint8]
"""(H, W, 3)."""


@dataclass(frozen=True)
class Comparison:
    """The input beside something else.

    Attributes:
        left, right: the pictures, of one size.
        words: what to know of them; "" for nothing.
    """

    left: Picture
    right: Picture
    words: str = ""


def views_of(views: dict[str, Stack]) -> list[str]:
    """The keys of `VIEWS` for which a result has what they show."""
    return [name for name, needed in VIEWS.items() if needed in views]


def compared(views: dict[str, Stack], view: str, plane: str, number: int) -> Comparison:
    """Two pictures of a result.

    Args:
        views: the result's.
        view: one of `VIEWS`.
        plane: one of `PLANES`; for images it doesn't matter.
        number: which slice, from 0; for images it doesn't matter.
    """
    before, after = (_picture(views[name], plane, number) for name in ("input", VIEWS[view]))
    if view in (TRANSLATION, ROUND_TRIP):
        return Comparison(_enlarged(tensor_to_uint8(before)), _enlarged(tensor_to_uint8(after)))
    # Domains may differ in channels; what is shown of them has one or three.
    difference = (shown_channels(after).mean(0) - shown_channels(before).mean(0)) / 2 * 100
    limit = common_limit([most_different(difference)])
    words = (
        f"Red is brighter than the input, blue is darker; the darkest colours are {limit:g}% of "
        f"the range from black to white. Mean size: {float(difference.abs().mean()):.2g}%."
    )
    coloured = tensor_to_uint8(difference_map(difference, limit))
    return Comparison(_enlarged(tensor_to_uint8(before)), _enlarged(coloured), words)


def slices(stack: Stack, plane: str) -> int:
    """How many slices there are."""
    depth, rows, columns = stack.values.shape[1:]
    return (depth, rows, columns)[PLANES.index(plane)]


def _picture(stack: Stack, plane: str, number: int) -> Tensor:
    """(C, H, W) in [-1, 1]."""
    if not stack.volume:
        return stack.values[:, 0]
    axis = PLANES.index(plane)
    centre = [size // 2 for size in stack.values.shape[1:]]
    centre[axis] = min(max(0, number), slices(stack, plane) - 1)
    return stack.planes((centre[0], centre[1], centre[2]))[axis]


def _enlarged(picture: Picture) -> Picture:
    """Small pictures as larger ones: browsers would blur them."""
    times = SMALL // max(picture.shape[:2])
    if times < 2:
        return picture
    grown: NDArray[Any] = picture.repeat(times, axis=0).repeat(times, axis=1)
    return grown
