"""How much memory there is, and the largest number of something that fits into it."""

from collections.abc import Callable
from pathlib import Path

import psutil
import torch

from revgan.memory.predict import StepPrediction

MARGIN, CUDA_MARGIN = 0.1, 0.15
"""Shares of the free memory that are left alone where no budget is given.

The allocators lose some to rounding and gaps, and other programs may want theirs; on a GPU, cuDNN's
workspace, which can't be predicted, comes on top.
"""

LARGEST_SIZE = {2: 16384, 3: 1024}
"""Sides of images and volumes where the search for the largest ends, as each try takes seconds."""

_TOLERANCE = 2e-3
"""By how much of the budget the search trusts its own interpolation."""

_EASY = 0.5
"""Where the limit is expected to take no more than this share of the budget, it isn't asked for, as
large needs take long to find. A need can't outgrow the curve twofold: each known one has a block's
weights, Adam's moments and stored activations in it already, and only a gradient comes on top;
activations grow with size and batch as the curve does."""

_INTERPOLATIONS = 5
"""After so many known needs, the search halves the range instead."""


def free_budget(device: torch.device) -> int:
    """Bytes that training may take of a device's free memory, less a margin (`MARGIN`)."""
    margin = CUDA_MARGIN if device.type == "cuda" else MARGIN
    return int(free_memory(device) * (1 - margin))


def free_memory(device: torch.device) -> int:
    """Bytes that a device has free now.

    Away from CUDA, what programs get without swapping, within the limit of a container.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    available = int(psutil.virtual_memory().available)
    left = container_memory_left()
    return available if left is None else min(available, left)


def container_memory_left(cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes up to the limit of the container that this process runs in; None without a limit.

    Args:
        cgroup: where the container sees its control group, version 2.
    """
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
        statistics = (cgroup / "memory.stat").read_text()
    except OSError:
        return None
    if limit == "max":
        return None
    # Cached files count as used, though the kernel drops them as soon as memory is wanted.
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
    """The largest side of square images, or cubic volumes, within a budget; None if none is.

    Args:
        predict: what a side needs.
        budget: bytes on the device.
        start: the side that the search starts from.
        spatial_dims: 2 for images, 3 for volumes.
        multiple: the side is a multiple of it.
        least: the smallest side that makes sense.
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
    """The largest n whose need is within a budget; None if not even the least is.

    Needs grow about as ``fixed + c * n**power``. Each guess interpolates so between needs found
    before, so that few are asked for: they take seconds each.

    Args:
        need: bytes for an n; never falls as n grows.
        budget: bytes that there are.
        known: some needs, one at least.
        fixed: what does not grow, as far as `known` alone doesn't tell.
        power: how needs grow.
        step: n is a multiple of it, as are `least` and `limit`.
        least: smallest n that makes sense.
        limit: largest n that is tried.
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
    """The curve of growth through the two needs nearest to the budget, or through the only one."""
    (a, need_a), *others = sorted(known.items(), key=lambda item: abs(item[1] - budget))
    slope = (need_a - fixed) / max(a, 1) ** power
    if others and others[0][1] != need_a:
        b, need_b = others[0]
        slope = (need_b - need_a) / (b**power - a**power)
    return lambda n: need_a + slope * (n**power - a**power)
