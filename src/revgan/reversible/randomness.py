"""Replaying random numbers: dropout inside a block must drop the same units when recomputed."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

RandomState = tuple[Tensor, ...]
"""States of the global generators that a function on one device may draw from."""


def random_state(device: torch.device) -> RandomState:
    """The state of the CPU's generator, and of the device's own where it has one."""
    match device.type:
        case "cuda":
            return torch.get_rng_state(), torch.cuda.get_rng_state(device)
        case "mps":
            return torch.get_rng_state(), torch.mps.get_rng_state()
        case _:
            return (torch.get_rng_state(),)


def drawn_since(state: RandomState, device: torch.device) -> bool:
    """Whether random numbers were drawn after `state` was taken."""
    return any(_raw(a) != _raw(b) for a, b in zip(state, random_state(device), strict=True))


def _raw(state: Tensor) -> bytes:
    """A generator's state, read from memory: the planner's fake tensors allow no operation."""
    return ctypes.string_at(state.data_ptr(), state.nbytes)


@contextmanager
def replaying(state: RandomState | None, device: torch.device) -> Iterator[None]:
    """Within, the generators start from `state`; afterwards they are as they were before."""
    if state is None:
        yield
        return
    before = random_state(device)
    _set_random_state(state, device)
    try:
        yield
    finally:
        _set_random_state(before, device)


def _set_random_state(state: RandomState, device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state[1])
