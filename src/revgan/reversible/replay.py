"""Evaluating a net a second time with the same result, whatever has happened in between.

A net's features depend on more than its input and weights: on the random numbers that it draws, on
its buffers (batch and spectral normalisation change theirs as they run), on autocast, on train() or
eval(), and, through the kernels that PyTorch picks, on whether gradients are recorded. Were any of
them different the second time, a reversible network would not get its activations back, and its
gradients would be silently wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from threading import RLock

import torch
from torch import Tensor, nn

from revgan.reversible.modules import (
    are_plain,
    have_buffers,
    is_hooked,
    modules_of,
    weights_of,
)
from revgan.reversible.origins import refuse_other_origins
from revgan.reversible.randomness import (
    NothingDrawn,
    RandomState,
    capturing,
    own_generators,
    replaying,
)
from revgan.reversible.steps import Conditions, Step

own_weights = RLock()
"""A replay gives a net other tensors in place of its own; meanwhile no other thread may use it."""

_CHANGED = (
    "a {}, which is f or g of a reversible core, can't be recomputed: its modules or weights have "
    "been added to, removed or sharded since the forward pass; do that after the backward pass"
)


@dataclass
class Recording:
    """One evaluation of a step's net: what its features depended on besides input and weights.

    Attributes:
        step: the step.
        weights: the net's parameters, each once.
        modes: of each of the net's modules, whether it was in training.
        buffers: copies of the net's buffers from before.
        random_state: of the generators before; None if the net drew nothing.
        autocast: whether it was on, and its type.
    """

    step: Step
    weights: list[nn.Parameter]
    modes: list[bool]
    buffers: dict[str, Tensor]
    random_state: RandomState | None
    autocast: tuple[bool, torch.dtype]

    def replay(
        self, source: Tensor, conditions: Conditions, weights: Sequence[Tensor]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Computes the features again, differentiably.

        The net's buffers and the generators are left as they are.

        Args:
            source: what the net saw.
            conditions: what else it got.
            weights: the net's parameters, in their order, as they were.

        Returns:
            The features, and the weights, or leaves in their place, that these depend on.

        Raises:
            RuntimeError: the net has been switched between train() and eval(), has other weights
                than before, or uses what is neither a weight of its own nor a condition.
        """
        net = self.step.net
        modules = modules_of(net)
        if len(self.modes) != len(modules):
            raise RuntimeError(_CHANGED.format(type(net).__name__))
        if self.modes != [module.training for module in modules]:
            raise RuntimeError(
                "a reversible core was switched between train() and eval() after a forward pass "
                "that its backward pass has yet to recompute; switch after the backward pass"
            )
        state = None
        if self.buffers or _replaced_or_hooked(weights, weights_of(modules)):
            # Hooks on the net's own weights are for the sum over all uses.
            weights = [leaf(w, w.requires_grad) for w in weights]
            names = [name for name, _ in net.named_parameters()]
            if len(names) != len(weights) or _sharded_since(weights, weights_of(modules)):
                raise RuntimeError(_CHANGED.format(type(net).__name__))
            state = dict(zip(names, weights, strict=True))
            state |= {name: buffer.clone() for name, buffer in self.buffers.items()}
        with (
            own_weights,
            torch.enable_grad(),
            self.in_autocast(source.device.type),
            nullcontext() if self.random_state is None else replaying(self.random_state),
        ):
            features = self.step.features(source, conditions, state)
        if state is not None:
            refuse_other_origins(features, [source, *conditions, *weights])
        return features, weights

    def in_autocast(self, device: str) -> AbstractContextManager[object]:
        """Autocast as it was, without its cache."""
        enabled, dtype = self.autocast
        if not enabled and not torch.is_autocast_enabled(device):
            return nullcontext()
        # Casts of leaves would be kept to the end of an autocast around the backward pass; and
        # those of a forward pass without gradients would have none later on.
        return torch.autocast(device, dtype, enabled, cache_enabled=False)


def record(
    step: Step,
    modules: Sequence[nn.Module],
    weights: list[nn.Parameter],
    source: Tensor,
    conditions: Conditions,
) -> tuple[Tensor, Recording]:
    """The step's features of the source, and what it takes to compute them again.

    The features have no graph. An activation inside the net that somebody may keep has its own,
    back to the source and the weights, so that a loss on it finds its way.

    Args:
        step: the step.
        modules: its net, and all that this contains.
        weights: their parameters, each once.
        source: what the net sees.
        conditions: what else it gets.

    Raises:
        RuntimeError: the net uses something that requires a gradient, and is neither a weight of
            its own nor a condition; or it draws random numbers while a CUDA graph is captured.
    """
    device = source.device
    buffers = {}
    if have_buffers(modules):
        buffers = {name: buffer.clone() for name, buffer in step.net.named_buffers()}
    autocast = torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)
    recording = Recording(
        step, weights, [module.training for module in modules], buffers, None, autocast
    )
    if not conditions and are_plain(modules):
        # Nothing that a graph keeps, no draws to look for: it takes four fifths of the time.
        with torch.no_grad(), recording.in_autocast(device.type):
            return step.features(source, conditions), recording
    captured = capturing(device)
    before = None if captured else RandomState.now(device, own_generators(modules))
    # With gradients, as in the replay: compiled nets and attention compute other bits without.
    with torch.enable_grad(), NothingDrawn() if captured else nullcontext():
        seen = source if source.requires_grad else leaf(source, True)
        features = step.features(seen, conditions)
    refuse_other_origins(features, [seen, *conditions, *weights])
    # Most nets draw nothing, and then nothing needs to be kept.
    if before is not None and before.drawn_since:
        recording.random_state = before
    return features.detach(), recording


def _replaced_or_hooked(weights: Sequence[Tensor], own: Sequence[nn.Parameter]) -> bool:
    """Whether gradients of `weights` can't be taken from the net as it stands."""
    return any(weight is not mine or is_hooked(mine) for weight, mine in zip_longest(weights, own))


def _sharded_since(weights: Sequence[Tensor], own: Sequence[nn.Parameter]) -> bool:
    """Whether there are other kinds of tensors now, which the net deals with in its own way."""
    plain = Tensor, nn.Parameter
    return any(
        type(mine) not in plain and type(mine) is not type(weight)
        for weight, mine in zip(weights, own, strict=True)
    )


def leaf(x: Tensor, requires_grad: bool) -> Tensor:
    """The same values as the start of a graph of their own."""
    return x.detach().requires_grad_(requires_grad)
