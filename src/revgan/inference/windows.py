"""Translates in overlapping windows, for images and volumes that are too large for one pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor

from revgan.data.scratch import Scratch, ScratchArray, Window
from revgan.data.tiling import tiles
from revgan.inference.fields import Field
from revgan.networks import GeneratorConfig
from revgan.networks.axes import largest

SIGMA = 0.125
"""Standard deviation of a window's weights, as a share of its side; the same as in MONAI and
nnU-Net."""

STRIP_TILE = 128
"""Positions a side that are copied at a time."""

Statistics = Literal["exact", "approximate"]

Progress = Callable[[int, int], None]
"""Called after each part with the amount of work done, and with how much there is."""


class Cutting(Protocol):
    """Decides whether something is translated in one pass or in windows."""

    @property
    def windows(self) -> "Windows":
        """The windows of what is too large for one pass."""

    def needed_for(self, sizes: Sequence[int]) -> bool:
        """Whether an image or volume of these sizes is too large for one pass."""


@dataclass(frozen=True)
class Windows:
    """How an image or volume is cut for translation.

    Attributes:
        size: side of a window in pixels or voxels, a multiple of the network's `size_multiple`
            from its `min_size` up.
        overlap: the share of their side that neighbouring windows have in common, at least, where
            statistics are approximate.
        one_pass: images and volumes of up to this many positions are translated in one pass.
        statistics: "exact" gives what one pass gives. "approximate" blends windows that overlap;
            instance norms use statistics that are pooled over windows.
    """

    size: int
    overlap: float = 0.25
    one_pass: int = 0
    statistics: Statistics = "exact"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be 1 or more, not {self.size}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must be from 0 to below 1, not {self.overlap}")
        if self.statistics not in get_args(Statistics):
            raise ValueError(f"statistics must be exact or approximate, not {self.statistics!r}")

    @property
    def windows(self) -> "Windows":
        """Themselves, as `Cutting`."""
        return self

    def needed_for(self, sizes: Sequence[int]) -> bool:
        """Whether an image or volume of these sizes is larger than one pass or one window."""
        return prod(sizes) > self.one_pass and max(sizes) > self.size

    def step(self, multiple: int) -> int:
        """The step between windows, a multiple of `multiple` as networks with strides need it."""
        step = int(self.size * (1 - self.overlap) + 1e-6)
        return max(multiple, step // multiple * multiple)


def reach(config: GeneratorConfig) -> int | None:
    """How far into the input an output position can see; None if it sees all of it.

    This is the receptive field's radius in pixels or voxels. Instance normalisation uses statistics
    of the whole input. A continuous core, whose solver evaluates its field many times, counts as
    seeing everything too. Along thin axes, it may be less.
    """
    if config.norm == "instance" or config.core == "ode":
        return None
    coarse = config.size_multiple
    if config.model == "unet":  # a level sees 3 more positions, and twice what the next one sees
        return 3 * (coarse - 1)
    ends = largest(config.first_kernel) // 2 + largest(config.last_kernel) // 2
    # Per level, in its own pixels; levels have pixels of 1, 2, 4... up to coarse / 2.
    down = {"strided": 1, "subpixel": 3}[config.downsampling]
    up = {"transposed": 1, "nearest": 2, "bilinear": 3, "subpixel": 3}[config.upsampling]
    convolutions = config.depth * (2 if config.model == "resnet" else 4)
    return ends + (down + up) * (coarse - 1) + convolutions * coarse


def translate_windows(
    translate: Callable[[Tensor], Tensor],
    channels: int,
    dtype: torch.dtype,
    source: Field,
    region: Window,
    windows: Windows,
    config: GeneratorConfig,
    scratch: Scratch,
    take: Callable[[Window, Tensor], None],
    progress: Progress | None = None,
) -> None:
    """Translates window by window and blends the results with Gaussian weights.

    Near a window's border, results differ from those of one pass over everything, as the network
    sees a border there. They get little weight, or none if the overlap covers twice the network's
    `reach`; then the outcome equals that of one pass. The image's or volume's own border keeps its
    weight.

    MONAI's `sliding_window_inference` uses the same weights for every window, so it can't tell the
    two kinds of border apart.

    Args:
        translate: the network, from (1, C, *window) to (1, C', *window).
        channels: C'.
        dtype: of the sums of weighted windows.
        source: (1, C, *sizes), sizes multiples of the network's `size_multiple`.
        region: the part of the translation that is wanted.
        windows: the windows' size and overlap.
        config: the network's.
        scratch: for the windows that others yet to come overlap.
        take: is told each part (1, C', *window) of the region, and its window, once.
        progress: called after each window.
    """
    axes = window_axes(source.sizes, windows, config)
    first, *rest = axes
    count, done = prod(map(len, axes)), 0
    stored = torch.empty(0, dtype=dtype).numpy().dtype
    strip: ScratchArray | None = None
    for number, (rows, weights) in enumerate(first):
        before = first[number - 1][0] if number else None
        shape = (channels, rows.stop - rows.start, *source.sizes[1:])
        strip = _next_strip(scratch.array(shape, stored), strip, before, rows)
        for window in product(*rest):
            parts = tuple(part for part, _ in window)
            translated = translate(source.read((rows, *parts)))
            for axis, of_axis in enumerate((weights, *(w for _, w in window)), start=2):
                along = [1] * axis + [-1] + [1] * (translated.ndim - axis - 1)
                translated = translated * of_axis.to(translated.device).view(along)
            place = (slice(0, rows.stop - rows.start), *parts)
            strip.write(place, strip.read(place) + translated[0].to(dtype).cpu().numpy())
            done += 1
            if progress is not None:
                progress(done, count)
        end = first[number + 1][0].start if number + 1 < len(first) else rows.stop
        finished = (slice(rows.start, end), *(slice(0, size) for size in source.sizes[1:]))
        for tile in tiles(_overlap(finished, region), windows.size):
            inside = (slice(tile[0].start - rows.start, tile[0].stop - rows.start), *tile[1:])
            take(tile, torch.from_numpy(strip.read(inside))[None])


def _next_strip(
    strip: ScratchArray, last: ScratchArray | None, before: slice | None, rows: slice
) -> ScratchArray:
    """Fills sums of weighted windows in some rows: with those of the last strip, or with 0.

    Args:
        strip: to fill.
        last: the strip before.
        before: its rows.
        rows: of this strip.
    """
    common = before.stop - rows.start if before is not None else 0
    for tile in tiles(tuple(slice(0, size) for size in strip.shape[1:]), STRIP_TILE):
        shape = (strip.shape[0], *(part.stop - part.start for part in tile))
        values = np.zeros(shape, strip.dtype)
        known = min(max(common - tile[0].start, 0), shape[1])
        if known and last is not None and before is not None:
            shift = rows.start - before.start
            there = slice(tile[0].start + shift, tile[0].start + known + shift)
            values[:, :known] = last.read((there, *tile[1:]))
        strip.write(tile, values)
    return strip


def _overlap(window: Window, region: Window) -> Window:
    """What two windows have in common."""
    return tuple(
        slice(max(a.start, b.start), max(a.start, b.start, min(a.stop, b.stop)))
        for a, b in zip(window, region, strict=True)
    )


def window_axes(
    sizes: Sequence[int], windows: Windows, config: GeneratorConfig
) -> list[list[tuple[slice, Tensor]]]:
    """For each axis, the windows along it, and their weights.

    Raises:
        ValueError: the network doesn't take such windows.
    """
    if windows.size % config.size_multiple:
        raise ValueError(f"windows must be multiples of {config.size_multiple}, not {windows.size}")
    step, radius = windows.step(config.size_multiple), reach(config)
    overlap = windows.size - step
    margin = radius if radius is not None and 2 * radius <= overlap else 0
    return [_axis_windows(side, min(windows.size, side), step, margin) for side in sizes]


def _axis_windows(side: int, size: int, step: int, margin: int) -> list[tuple[slice, Tensor]]:
    """The windows along one axis, with weights that add up to 1 at every position.

    A window's weights in an image or volume are the products of those along its axes.

    Args:
        side: the image's or volume's.
        size: the windows', at most `side`.
        step: from one window to the next; the last one ends where the image or volume does.
        margin: positions at the windows' ends that get no weight, except at the ends of the axis.
    """
    last = side - size
    starts = [*range(0, last, step), last]
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    gaussian = torch.exp(-0.5 * (offsets / (SIGMA * size)).square())
    weights = torch.zeros(len(starts), side, dtype=torch.float64)
    for row, start in zip(weights, starts, strict=True):
        first = start + margin if start > 0 else 0
        end = start + size - margin if start < last else side
        row[first:end] = gaussian[first - start : end - start]
    weights /= weights.sum(0)
    parts = [slice(start, start + size) for start in starts]
    return [(part, row[part].float()) for part, row in zip(parts, weights, strict=True)]
