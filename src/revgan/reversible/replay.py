"""Evaluating a net a second time with the same result, whatever has happened in between.

A net's features depend on more than its input and weights: on the random numbers that it draws, on
its buffers (batch and spectral normalisation change theirs as they run), on autocast, on train() or
eval(), and, through the kernels that PyTorch picks, on whether gradients are recorded. Were any of
them different the second time, a reversible network would not get its activations back, and its
gradients would be silently wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from threading import RLock
from typing import Any

import torch
from torch import Tensor, nn

from revgan.reversible.randomness import RandomState, drawn_since, random_state, replaying
from revgan.reversible.steps import Step

own_weights = RLock()
"""A replay gives a net other tensors in place of its own; meanwhile no other thread may use it."""


@dataclass
class Recording:
    """One evaluation of a step's net: what its features depended on besides input and weights.

    Attributes:
        step: the step.
        modes: of each of the net's modules, whether it was in training.
        buffers: copies of the net's buffers from before.
        random_state: of the global generators before; None if the net drew nothing.
        autocast: arguments of `torch.autocast`.
    """

    step: Step
    modes: list[bool]
    buffers: dict[str, Tensor]
    random_state: RandomState | None
    autocast: dict[str, Any]

    def replay(self, source: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Computes the features again, differentiably.

        The net's buffers and the global generators are left as they are.

        Args:
            source: what the net saw.
            weights: the net's parameters, in their order, as they were.

        Returns:
            The features, and the weights, or leaves in their place, that these depend on.

        Raises:
            RuntimeError: the net has been switched between train() and eval().
        """
        net = self.step.net
        if self.modes != _modes(net):
            raise RuntimeError(
                "a reversible core was switched between train() and eval() after a forward pass "
                "that its backward pass has yet to recompute; switch after the backward pass"
            )
        state = None
        if self.buffers or _replaced_or_hooked(weights, net):
            # Hooks on the net's own weights are for the sum over all uses.
            weights = [leaf(w, w.requires_grad) for w in weights]
            state = dict(zip((name for name, _ in net.named_parameters()), weights, strict=True))
            state |= {name: buffer.clone() for name, buffer in self.buffers.items()}
        with (
            own_weights,
            torch.enable_grad(),
            torch.autocast(**self.autocast),
            replaying(self.random_state, source.device),
        ):
            return self.step.features(source, state), weights


def record(step: Step, source: Tensor) -> tuple[Tensor, Recording]:
    """The step's features of the source, and what it takes to compute them again."""
    buffers = {name: buffer.clone() for name, buffer in step.net.named_buffers()}
    before = random_state(source.device)
    # With gradients, as in the replay: compiled nets and attention compute other bits without.
    with torch.enable_grad():
        features = step.features(leaf(source, True)).detach()
    # Most nets draw nothing, and then nothing needs to be kept.
    state = before if drawn_since(before, source.device) else None
    autocast = _autocast_state(source.device.type)
    return features, Recording(step, _modes(step.net), buffers, state, autocast)


def _replaced_or_hooked(weights: Sequence[Tensor], net: nn.Module) -> bool:
    """Whether gradients of `weights` can't be taken from the net as it stands."""
    return any(
        weight is not own or own._backward_hooks
        for weight, own in zip_longest(weights, net.parameters())
    )


def leaf(x: Tensor, requires_grad: bool) -> Tensor:
    """The same values as the start of a graph of their own."""
    return x.detach().requires_grad_(requires_grad)


def _modes(net: nn.Module) -> list[bool]:
    return [module.training for module in net.modules()]


def _autocast_state(device_type: str) -> dict[str, Any]:
    return {
        "device_type": device_type,
        "dtype": torch.get_autocast_dtype(device_type),
        "enabled": torch.is_autocast_enabled(device_type),
        # Casts of leaves would be kept to the end of an autocast around the backward pass.
        "cache_enabled": False,
    }
