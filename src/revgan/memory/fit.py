"""How much memory is free, and the largest number of something that fits."""

from collections.abc import Callable
from pathlib import Path

import psutil
import torch

from revgan.memory.predict import StepPrediction

MARGIN, CUDA_MARGIN = 0.1, 0.15
"""Shares of the free memory that are left unused if no budget is given.

Allocators lose some to rounding and gaps, and other programs may need some; on a GPU, cuDNN's
workspace, which can't be predicted, comes on top.
"""

LARGEST_SIZE = {2: 16384, 3: 1024}
"""The largest sides of images and volumes that the search tries, as each try takes seconds."""

_TOLERANCE = 2e-3
"""The share of the budget to which the search trusts its interpolation."""

_EASY = 0.5
"""If the limit is expected to take at most this share of the budget, it isn't computed, as large
needs take long to predict. A need can't exceed the curve twofold: each known one already includes a
block's weights, Adam's moments and stored activations, and only a gradient comes on top;
activations grow with size and batch like the curve."""

_INTERPOLATIONS = 5
"""After this many known needs, the search bisects instead."""


def free_budget(device: torch.device) -> int:
    """A device's free memory in bytes, less a margin (`MARGIN`)."""
    margin = CUDA_MARGIN if device.type == "cuda" else MARGIN
    return int(free_memory(device) * (1 - margin))


def free_memory(device: torch.device) -> int:
    """Bytes that a device has free now.

    Without CUDA, what programs can get without swapping, within the container's limit.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    available = int(psutil.virtual_memory().available)
    left = container_memory_left()
    return available if left is None else min(available, left)


def container_memory_left(cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes left below the limit of this process's container; None without a limit.

    Args:
        cgroup: the container's control group, version 2.
    """
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
        statistics = (cgroup / "memory.stat").read_text()
    except OSError:
        return None
    if limit == "max":
        return None
    # Cached files count as used, though the kernel drops them as soon as memory is needed.
    cached = dict(line.split() for line in statistics.splitlines())["inactive_file"]
    return max(0, int(limit) - used + int(cached))


def largest_side(
    predict: Callable[[int], StepPrediction],
    budget: int,
    *,
    start: int,
    spatial_dims: int,
    multiple: int,
    least: int,
) -> int | None:
    """The largest side of square images or cubic volumes within a budget; None if none fits.

    Args:
        predict: predicts what a side needs.
        budget: bytes on the device.
        start: the side that the search starts from.
        spatial_dims: 2 for images, 3 for volumes.
        multiple: the side is a multiple of it.
        least: the smallest useful side.
    """
    first = predict(start)
    return largest_fitting(
        lambda size: predict(size).total,
        budget,
        {start: first.total},
        fixed=first.total - first.activations,
        power=spatial_dims,
        step=multiple,
        least=least,
        limit=LARGEST_SIZE[spatial_dims],
    )


def largest_fitting(
    need: Callable[[int], int],
    budget: int,
    known: dict[int, int],
    *,
    fixed: int = 0,
    power: int = 1,
    step: int = 1,
    least: int = 1,
    limit: int,
) -> int | None:
    """The largest n whose need is within a budget; None if not even the least fits.

    Needs grow about as ``fixed + c * n**power``. Each guess interpolates between known needs this
    way, so that few are computed: each takes seconds.

    Args:
        need: the bytes for n; never falls as n grows.
        budget: the bytes available.
        known: at least one need.
        fixed: the part that doesn't grow, if `known` alone doesn't show it.
        power: how needs grow.
        step: n is a multiple of it, as are `least` and `limit`.
        least: the smallest useful n.
        limit: the largest n to try.
    """
    known, trusted = dict(known), False
    if _curve(known, budget, fixed, power)(limit) <= budget * _EASY:
        return limit
    while True:
        low = max((n for n, bytes_ in known.items() if bytes_ <= budget), default=least - step)
        high = min((n for n, bytes_ in known.items() if bytes_ > budget), default=limit + step)
        curve = _curve(known, budget, fixed, power)
        if low + step >= high or (trusted and curve(low + step) > budget * (1 + _TOLERANCE)):
            return low if low >= least else None
        guess = max((n for n in range(low, high, step) if curve(n) <= budget), default=low)
        guess = max(guess, low + step)
        if len(known) > _INTERPOLATIONS:
            guess = low + (high - low) // (2 * step) * step
        known[guess] = need(guess)
        trusted = abs(known[guess] - curve(guess)) < budget * _TOLERANCE / 2


def _curve(known: dict[int, int], budget: int, fixed: int, power: int) -> Callable[[int], float]:
    """The growth curve through the two needs nearest to the budget, or through the only one."""
    (a, need_a), *others = sorted(known.items(), key=lambda item: abs(item[1] - budget))
    slope = (need_a - fixed) / max(a, 1) ** power
    if others and others[0][1] != need_a:
        b, need_b = others[0]
        slope = (need_b - need_a) / (b**power - a**power)
    return lambda n: need_a + slope * (n**power - a**power)
