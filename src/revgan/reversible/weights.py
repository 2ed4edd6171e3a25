"""Lending a net other tensors than its own for the time of one call.

`torch.func.functional_call` does the same by names; looking names up takes it longer than a small
convolution takes, and a backward pass through the core needs it once for every function.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Slot:
    """One place in a module where a weight is kept.

    Attributes:
        kept_in: the module's dictionary of parameters.
        name: the weight's name in it.
        weight: number of the weight in the chain's list of weights.
    """

    kept_in: dict[str, Tensor]
    name: str
    weight: int


def slots(net: nn.Module, numbers: Mapping[Tensor, int]) -> list[Slot]:
    """Every slot of a net; a weight that is shared within it has several."""
    # PyTorch declares the dictionary for Parameters; during a loan it holds plain tensors.
    return [
        Slot(module._parameters, name, numbers[weight])  # type: ignore[arg-type]
        for module in net.modules()
        for name, weight in module._parameters.items()
        if weight is not None
    ]


@contextmanager
def lending(slots: Sequence[Slot], lent: Mapping[int, Tensor], net: nn.Module) -> Iterator[None]:
    """Within, the slots hold lent tensors instead of weights, and the net has copies of buffers.

    Statistics that the net updates meanwhile are lost with the copies.
    """
    own = [slot.kept_in[slot.name] for slot in slots]
    own_buffers = [
        (module._buffers, name, buffer)
        for module in net.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    for slot in slots:
        slot.kept_in[slot.name] = lent[slot.weight]
    for kept_in, name, buffer in own_buffers:
        kept_in[name] = buffer.clone()
    try:
        yield
    finally:
        for slot, weight in zip(slots, own, strict=True):
            slot.kept_in[slot.name] = weight
        for kept_in, name, buffer in own_buffers:
            kept_in[name] = buffer
