"""Figures of volumes: input, translation, truth and difference in three planes."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from revgan.figures.pictures import image_grid, tensor_to_uint8
from revgan.figures.slices import VolumeSlices
from revgan.figures.svg import INK

GRID_LIMIT = 64.0
"""Grey levels of 0..255 at the ends of the difference map in `volume_grid`.

It is the same in every grid, so that the differences of two training steps can be compared.
"""

_LIMITS = (4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 255.0)
"""Grey levels at the ends of a figure's difference map: few, so that figures can be compared."""


def _colour_map() -> Colormap:
    """Crameri's "berlin": blue, black, red; even in lightness, and apart for the colour-blind.

    Its middle, a very dark brown, is made black, as the surroundings of a head are.
    """
    position = np.linspace(-1, 1, 257)[:, None]
    berlin = mpl.colormaps["berlin"](position[:, 0] / 2 + 0.5)[:, :3]
    black_in_the_middle = berlin - (1 - abs(position)) * berlin[128]
    return ListedColormap(black_in_the_middle.clip(0, 1)).with_extremes(bad="white")


_COLOURS = _colour_map()


def difference_map(translation: Tensor, truth: Tensor, limit: float) -> Tensor:
    """Translation minus truth in colours: red where it is too bright, blue where too dark.

    Args:
        translation: (C, H, W) in [-1, 1], on the CPU.
        truth: of the same shape. The difference is the mean over channels.
        limit: the difference, in grey levels of 0..255, shown by the brightest red or blue. No
            difference is black; what isn't a number is white.

    Returns:
        (3, H, W) in [-1, 1].
    """
    difference = (translation - truth).mean(0) * 127.5
    colours = _COLOURS((difference / (2 * limit) + 0.5).numpy())
    return torch.from_numpy(colours[..., :3]).permute(2, 0, 1).float() * 2 - 1


def volume_pictures(slices: VolumeSlices, limit: float) -> dict[str, Tensor]:
    """The strips of one test volume by name, from top to bottom.

    Args:
        slices: the volume and what became of it.
        limit: see `difference_map`.

    Returns:
        "input", "translation", "truth" and "difference" (these two where the truth is known) and
        "round trip", each (C, H, W) in [-1, 1].
    """
    pictures = {"input": slices.input, "translation": slices.translation}
    if slices.truth is not None:
        pictures["truth"] = slices.truth
        pictures["difference"] = difference_map(slices.translation, slices.truth, limit)
    return pictures | {"round trip": slices.round_trip}


def volume_grid(rows: Sequence[VolumeSlices]) -> Tensor:
    """Test volumes one below the other on white, for TensorBoard and sample files.

    Args:
        rows: of which each shows the pictures of `volume_pictures` side by side.

    Returns:
        (3, H, W) in [0, 1].

    Raises:
        ValueError: there is no volume.
    """
    return image_grid([list(volume_pictures(slices, GRID_LIMIT).values()) for slices in rows])


def volume_figure(slices: VolumeSlices) -> Figure:
    """The pictures of one test volume under one another, with their names and a colour scale."""
    limit = _difference_limit(slices)
    pictures = volume_pictures(slices, limit)
    height, width = slices.input.shape[1:]
    left, strip, right = 1.0, 5.0, 0.8  # inches, as all that follows
    head, row, gap = 0.3, strip * height / width, 0.08
    total_width, total_height = left + strip + right, head + len(pictures) * (row + gap)
    figure = Figure(figsize=(total_width, total_height), dpi=144)

    def axes_at(x: float, y: float, width: float, height: float) -> Axes:
        box = (x / total_width, y / total_height, width / total_width, height / total_height)
        axes = figure.add_axes(box)
        axes.set_axis_off()
        return axes

    for number, (name, picture) in enumerate(pictures.items()):
        bottom = total_height - head - (number + 1) * row - number * gap
        axes = axes_at(left, bottom, strip, row)
        axes.imshow(tensor_to_uint8(picture), aspect="auto", clip_on=False)
        _write(axes, -left / strip, 0.5, name, ha="left")
        if number == 0:
            _name_planes(axes, slices, strip / width)
        if name == "difference":
            _draw_scale(axes_at(left + strip + 0.1, bottom, 0.1, row), limit)
    return figure


def _difference_limit(slices: VolumeSlices) -> float:
    """The least of `_LIMITS` that covers all but one in a hundred differences."""
    if slices.truth is None:
        return _LIMITS[-1]
    difference = (slices.translation - slices.truth).mean(0).abs() * 127.5
    most = float(difference.quantile(0.99))
    return next((limit for limit in _LIMITS if limit >= most), _LIMITS[-1])


NAME_ROOM, SIDES_ROOM = 0.8, 0.25
"""Inches that the name of a plane takes with the letters of its sides, and these alone."""


def _name_planes(axes: Axes, slices: VolumeSlices, pixel: float) -> None:
    """Headings over the three planes, between the letters of the sides that are left and right.

    Planes too narrow for them, as those of a few thick slices, have the letters alone, or none.

    Args:
        axes: of the strip.
        slices: what it shows.
        pixel: inches across one of its pixels.
    """
    names = ("axial", "coronal", "sagittal")
    sides = (("R", "L"), ("R", "L"), ("A", "P"))
    total = slices.input.shape[2]
    gap = (total - sum(slices.widths)) / (len(names) - 1)
    left = 0.0
    for name, (first, last), width in zip(names, sides, slices.widths, strict=True):
        if width * pixel >= NAME_ROOM:
            _write(axes, (left + width / 2) / total, 1.02, name, va="bottom")
        if slices.sides_known and width * pixel >= SIDES_ROOM:
            _write(axes, left / total, 1.02, first, ha="left", va="bottom")
            _write(axes, (left + width) / total, 1.02, last, ha="right", va="bottom")
        left += width + gap


def _draw_scale(axes: Axes, limit: float) -> None:
    colours = _COLOURS(np.linspace(1, 0, 256))[:, None, :3]
    axes.imshow(colours, aspect="auto", clip_on=False)
    _write(axes, 1.6, 1, f"+{limit:.0f}", ha="left", va="top")
    _write(axes, 1.6, 0.5, "0", ha="left")
    _write(axes, 1.6, 0, f"-{limit:.0f}", ha="left", va="bottom")


def _write(
    axes: Axes, x: float, y: float, text: str, ha: str = "center", va: str = "center"
) -> None:
    """Text at a place given in parts of the axes' width and height."""
    axes.text(x, y, text, ha=ha, va=va, color=INK, fontsize=10, transform=axes.transAxes)
