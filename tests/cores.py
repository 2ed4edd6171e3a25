"""Reversible cores and their gradients, for the tests of the reversible engine."""

import copy
import itertools

import pytest
import torch
from torch import nn

from revgan.reversible import AdditiveCoupling, AffineCoupling, ReversibleSequential

DIRECTIONS = ["forward", "inverse"]
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.cuda,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ],
    ),
]
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def residual(channels: int, spatial_dims: int = 2, out: int | None = None) -> nn.Module:
    conv = CONV[spatial_dims]
    return nn.Sequential(
        conv(channels, channels, 3, padding=1), nn.ReLU(), conv(channels, out or channels, 1)
    )


def core_of(function, depth: int, **options) -> ReversibleSequential:
    """Additive blocks whose f and g are fresh results of `function`."""
    blocks = (AdditiveCoupling(function(), function()) for _ in range(depth))
    return ReversibleSequential(*blocks, **options)


def additive_core(depth: int, channels: int = 6, spatial_dims: int = 2, **options):
    return core_of(lambda: residual(channels // 2, spatial_dims), depth, **options)


def affine_core(depth: int, channels: int = 6, **options) -> ReversibleSequential:
    half = channels // 2
    functions = (residual(half, out=channels) for _ in range(2 * depth))
    return ReversibleSequential(*map(AffineCoupling, functions, functions), **options)


def run(core: ReversibleSequential, x: torch.Tensor, direction: str) -> torch.Tensor:
    return core(x) if direction == "forward" else core.inverse(x)


def gradients(core: ReversibleSequential, x: torch.Tensor, direction: str = "forward"):
    """The output, and the gradients of a loss with respect to input and parameters."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = run(core, x, direction)
    return y, torch.autograd.grad(y.square().sum(), [x, *core.parameters()])


def naive_twin(core: ReversibleSequential) -> ReversibleSequential:
    twin = copy.deepcopy(core)
    twin.memory_saving = False
    return twin


def same_bits(ours, theirs) -> bool:
    return all(itertools.starmap(torch.equal, zip(ours, theirs, strict=True)))


def largest_error(ours, theirs) -> float:
    """The largest relative error, in norm, of any tensor."""
    pairs = zip(ours, theirs, strict=True)
    return max(float((a - b).norm() / b.norm()) for a, b in pairs)
