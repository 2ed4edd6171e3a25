"""A chain of couplings as one list of equal steps, which serves both directions.

Write the halves of the channels as (target, source). A step replaces the target by
``couple(target, net(source))`` and swaps the roles. A coupling is two steps, with f and with g; a
chain of couplings is a longer list. Its inverse is the list reversed, with `uncouple` for `couple`
and the halves given in the other order. Forward, inverse and both backward passes walk such a list.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from revgan.reversible.grid import grid_spacing, round_to_grid
from revgan.reversible.modules import first_weight
from revgan.reversible.tracing import plain_only

Conditions = Sequence[Tensor]
"""What f and g get besides their half of the channels."""


class Combination(Protocol):
    """What a step asks of its coupling; `revgan.reversible.Coupling` describes all of it."""

    exact: bool

    def couple(self, target: Tensor, features: Tensor) -> Tensor: ...

    def uncouple(self, target: Tensor, features: Tensor) -> Tensor: ...

    def couple_vjp(
        self, target: Tensor, features: Tensor, grad: Tensor, inverse: bool
    ) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Step:
    """Half a coupling: the target half meets the features that `net` computes from the source."""

    coupling: Combination
    net: nn.Module
    inverse: bool = False

    def features(
        self, source: Tensor, conditions: Conditions, state: dict[str, Tensor] | None = None
    ) -> Tensor:
        """What the net computes from the source, in 16 bits if its weights have 16.

        Args:
            source: the half that the net sees.
            conditions: what else it gets.
            state: parameters and buffers, by name, to use in place of the net's own.

        Raises:
            RuntimeError: the net has changed the source, which is a half of the stream as well.
        """
        if plain_only():  # nothing is replayed, and vmap has neither layouts nor versions
            return self._evaluate([source[...], *conditions], state)
        seen = _in_layout(source)
        # PyTorch has no public name for the count of changes in place.
        before = None if seen.is_inference() else seen._version
        # Views, so that a condition's gradients from one net are summed first, as those of `seen`.
        features = self._evaluate([seen, *(c[...] for c in conditions)], state)
        if before is not None and seen._version != before:
            raise RuntimeError(
                f"a {type(self.net).__name__} as f or g changed its input by an in-place "
                "operation; the input is the other half of the channels too, so give it a layer "
                "that leaves its input as it is"
            )
        return features

    def _evaluate(self, inputs: list[Tensor], state: dict[str, Tensor] | None) -> Tensor:
        weight = first_weight(self.net)
        if weight is not None and weight.dtype in (torch.float16, torch.bfloat16):
            inputs[0] = inputs[0].to(weight.dtype)
        return (
            self.net(*inputs) if state is None else functional_call(self.net, state, tuple(inputs))
        )

    def combine(self, target: Tensor, features: Tensor) -> Tensor:
        """The target after this step."""
        couple = self.coupling.uncouple if self.inverse else self.coupling.couple
        return couple(target, features)

    def recover(self, target: Tensor, features: Tensor) -> Tensor:
        """The target before this step, from the target after it."""
        uncouple = self.coupling.couple if self.inverse else self.coupling.uncouple
        return uncouple(target, features)

    def vjp(self, target: Tensor, features: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of the target before this step and of the features.

        The latter is negative once it is read (`torch.Tensor.is_neg`) where that saves memory: for
        a net whose backward pass reads it by parts, which says so as `reads_parts`.
        """
        grad, of_features = self.coupling.couple_vjp(target, features, grad, self.inverse)
        reads_parts = getattr(self.net, "reads_parts", False)
        return grad, of_features if reads_parts else of_features.resolve_neg()


def inverted(steps: Sequence[Step]) -> list[Step]:
    """The steps that undo `steps`; they take and return (target, source) in swapped order."""
    return [replace(step, inverse=not step.inverse) for step in reversed(steps)]


class Walk(Protocol):
    """Walks steps: from the halves [target, source] and conditions to the halves at the end.

    It empties the list, so that halves are freed as soon as the walk is past them.
    """

    def __call__(
        self, steps: Sequence[Step], halves: list[Tensor], conditions: Conditions, /
    ) -> tuple[Tensor, Tensor]: ...


def run(
    steps: Sequence[Step], halves: list[Tensor], conditions: Conditions
) -> tuple[Tensor, Tensor]:
    """Walks the steps under whatever gradient mode is on."""
    source, target = halves.pop(), halves.pop()
    for step in steps:
        target, source = source, step.combine(target, step.features(source, conditions))
    return target, source


def _in_layout(x: Tensor) -> Tensor:
    """X with strides that follow from its shape and from whether its channels lie last in memory.

    PyTorch chooses kernels by strides, and a recovered half must meet the same kernels as the first
    time. But its strides may differ from then: along axes of size 1 they mean nothing.

    Returns:
        A new tensor, usually a view. So the gradients of a net that uses its input more than once
        are summed first, as in a recomputation, and autocast doesn't keep its cast, as it would
        for a leaf.
    """
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim, torch.contiguous_format)
    channels_last = x.is_contiguous(memory_format=last) and not x.is_contiguous()
    if x.stride() == _strides(x.shape, channels_last):
        return x[...]  # not view_as, which changes the stride of an axis of size 1
    return x.clone(memory_format=last if channels_last else torch.contiguous_format)


@lru_cache
def _strides(shape: tuple[int, ...], channels_last: bool) -> tuple[int, ...]:
    """Those that follow from a shape and a layout."""
    axes = (0, *range(2, len(shape)), 1) if channels_last else range(len(shape))
    strides, stride = [0] * len(shape), 1
    for axis in reversed(axes):
        strides[axis] = stride
        stride *= max(shape[axis], 1)
    return tuple(strides)


def split(x: Tensor, conditions: Iterable[object] = (), *, exact: bool) -> tuple[Tensor, Tensor]:
    """The halves of the channels of (B, C, *spatial), put on the grid where `exact`.

    16-bit floating point, as it comes under autocast, becomes float32: its sums are too coarse to
    be undone. The residual stream stays so, while f and g run in 16 bits.

    Raises:
        ValueError: C is odd.
        TypeError: x doesn't hold real floating-point numbers, or a condition that goes with it is
            no tensor.
    """
    for condition in conditions:
        if not isinstance(condition, Tensor):
            raise TypeError(f"a condition must be a tensor, not a {type(condition).__name__}")
    if x.ndim < 2 or x.shape[1] % 2:
        raise ValueError(
            f"a reversible block splits its channels into halves, so it needs (batch, channels, "
            f"...) with an even number of channels, not shape {tuple(x.shape)}"
        )
    if not x.is_floating_point():
        raise TypeError(f"a reversible block takes floating-point numbers, not {x.dtype}")
    if grid_spacing(x.dtype) is None:
        x = x.float()
    x1, x2 = x.chunk(2, dim=1)
    return (round_to_grid(x1), round_to_grid(x2)) if exact else (x1, x2)
