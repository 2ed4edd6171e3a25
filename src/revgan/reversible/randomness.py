"""Replaying random numbers: dropout inside a block must drop the same units when recomputed."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class RandomState:
    """The states of all generators that a function on one device may draw from.

    Attributes:
        device: the function's.
        of_global: of PyTorch's own generators: the CPU's, and the device's where it has one.
        own: generators that the function has besides.
        of_own: their states.
    """

    device: torch.device
    of_global: tuple[Tensor, ...]
    own: Sequence[torch.Generator]
    of_own: tuple[Tensor, ...]

    @classmethod
    def now(cls, device: torch.device, own: Sequence[torch.Generator] = ()) -> RandomState:
        """The present one."""
        of_own = tuple(generator.get_state() for generator in own)
        return cls(device, _global_states(device), own, of_own)

    @property
    def drawn_since(self) -> bool:
        """Whether random numbers have been drawn after this state."""
        now = RandomState.now(self.device, self.own)
        pairs = zip((*self.of_global, *self.of_own), (*now.of_global, *now.of_own), strict=True)
        return any(_raw(before) != _raw(after) for before, after in pairs)

    def restore(self) -> None:
        """Puts all generators into this state."""
        torch.set_rng_state(self.of_global[0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(self.of_global[1], self.device)
        elif self.device.type == "mps":
            torch.mps.set_rng_state(self.of_global[1])
        for generator, state in zip(self.own, self.of_own, strict=True):
            generator.set_state(state)


def capturing(device: torch.device) -> bool:
    """Whether what is done on a device goes into a CUDA graph.

    Meanwhile the state of its generator can't be asked for.
    """
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


class NothingDrawn(TorchDispatchMode):
    """While active, random numbers are refused.

    Raises:
        RuntimeError: an operator draws some.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise RuntimeError(
                "f or g of a reversible core that saves memory draws random numbers, which can't "
                "be replayed while a CUDA graph is captured; leave out dropout, or set "
                'memory_saving=False (memory="naive" in RevGenerator)'
            )
        return func(*args, **(kwargs or {}))


def own_generators(modules: Iterable[nn.Module]) -> list[torch.Generator]:
    """The generators that are attributes of modules; PyTorch's own modules have none."""
    others = [module for module in modules if not type(module).__module__.startswith("torch.nn.")]
    values = [value for module in others for value in vars(module).values()]
    found = [value for value in values if type(value) is torch.Generator]
    return list({id(generator): generator for generator in found}.values()) if found else found


def _global_states(device: torch.device) -> tuple[Tensor, ...]:
    match device.type:
        case "cuda":
            return torch.get_rng_state(), torch.cuda.get_rng_state(device)
        case "mps":
            return torch.get_rng_state(), torch.mps.get_rng_state()
        case _:
            return (torch.get_rng_state(),)


def _raw(state: Tensor) -> bytes:
    """A generator's state, read from memory: the planner's fake tensors allow no operation."""
    return ctypes.string_at(state.data_ptr(), state.nbytes)


@contextmanager
def replaying(state: RandomState) -> Iterator[None]:
    """Within, the generators start from `state`; afterwards they are as they were before."""
    before = RandomState.now(state.device, state.own)
    state.restore()
    try:
        yield
    finally:
        before.restore()
