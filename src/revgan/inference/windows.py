"""Translates in overlapping windows, for images and volumes that are too large for one pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import torch
from torch import Tensor

from revgan.networks import GeneratorConfig

SIGMA = 0.125
"""Standard deviation of a window's weights, as a share of its side; the same as in MONAI and
nnU-Net."""

Progress = Callable[[int, int], None]
"""Called after each window with the number of windows done and their total."""


@dataclass(frozen=True)
class Windows:
    """How an image or volume is cut for translation.

    Attributes:
        size: side of a window in pixels or voxels, a multiple of the network's `size_multiple`
            from its `min_size` up.
        overlap: the least share of their side that neighbouring windows have in common.
        one_pass: images and volumes of up to this many positions are translated in one pass.
    """

    size: int
    overlap: float = 0.25
    one_pass: int = 0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be 1 or more, not {self.size}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must be from 0 to below 1, not {self.overlap}")

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
    seeing everything too.
    """
    if config.norm == "instance" or config.core == "ode":
        return None
    coarse = config.size_multiple
    ends = config.first_kernel // 2 + config.last_kernel // 2
    # Per level, in its own pixels; levels have pixels of 1, 2, 4... up to coarse / 2.
    down = {"strided": 1, "subpixel": 3}[config.downsampling]
    up = {"transposed": 1, "nearest": 2, "bilinear": 3, "subpixel": 3}[config.upsampling]
    convolutions = config.depth * (2 if config.model == "resnet" else 4)
    return ends + (down + up) * (coarse - 1) + convolutions * coarse


def translate_windows(
    translate: Callable[[Tensor], Tensor],
    batch: Tensor,
    windows: Windows,
    config: GeneratorConfig,
    progress: Progress | None = None,
) -> Tensor:
    """Translates window by window and blends the results with Gaussian weights.

    Near a window's border, results differ from those of one pass over everything, as the network
    sees a border there. They get little weight, or none if the overlap covers twice the network's
    `reach`; then the outcome equals that of one pass. The image's or volume's own border keeps its
    weight.

    MONAI's `sliding_window_inference` uses the same weights for every window, so it can't tell the
    two kinds of border apart.

    Args:
        translate: the network, from (B, C, *window) to (B, C', *window).
        batch: (B, C, *spatial), sizes multiples of the network's `size_multiple`. It stays on its
            device, as does the result.
        windows: the windows' size and overlap.
        config: the network's.
        progress: called after each window.

    Returns:
        (B, C', *spatial), in float32, or in float64 if the network computes in it.
    """
    sizes = batch.shape[2:]
    step, radius = windows.step(config.size_multiple), reach(config)
    overlap = windows.size - step
    margin = radius if radius is not None and 2 * radius <= overlap else 0
    axes = [_axis_windows(side, min(windows.size, side), step, margin) for side in sizes]
    count = prod(map(len, axes))
    result: Tensor | None = None
    for number, window in enumerate(product(*axes), start=1):
        place = (slice(None), slice(None), *(part for part, _ in window))
        translated = translate(batch[place])
        for axis, (_, weights) in enumerate(window, start=2):
            shape = [1] * axis + [-1] + [1] * (batch.ndim - axis - 1)
            translated = translated * weights.to(translated.device).view(shape)
        if result is None:
            result = batch.new_zeros(*translated.shape[:2], *sizes, dtype=translated.dtype)
        result[place] += translated.to(result.device)
        if progress is not None:
            progress(number, count)
    assert result is not None  # there is at least one window
    return result


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
