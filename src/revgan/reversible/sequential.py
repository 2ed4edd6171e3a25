"""The reversible core: a chain of couplings that trains without storing activations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from revgan.reversible.couplings import Coupling
from revgan.reversible.randomness import drawn_since, random_state, replaying
from revgan.reversible.steps import Step, coupling_steps, inverted, run, split


class ReversibleSequential(nn.Module):
    """Couplings in a row, one set of weights for both directions (the paper's core C).

    With `memory_saving`, training keeps only the chain's output and recomputes each block's
    activations from it in the backward pass: the memory for activations does not grow with depth,
    at the price of evaluating each f and g once more. Values and gradients are those of the naive
    run; where every coupling is exact, bit for bit.

    Where every coupling is exact, the input is rounded to the grid of `revgan.reversible.grid`
    (to multiples of 2**-14 in float32), so ``core.inverse(core(x))`` returns the rounded x, and x
    itself if it lies on the grid, as every output of a core does.

    Args:
        *blocks: the couplings, in forward order.
        memory_saving: recompute activations (True) or store them (False).
        stored_blocks: how many blocks of a memory-saving run store their activations all the same,
            the last ones of each direction: more memory for less recomputation, same results.

    Shapes: (B, C, *spatial) to the same, C even, in both directions.

    Raises:
        TypeError: a coupling has weights besides those of f and g.
        ValueError: the number of channels is odd, or `stored_blocks` is out of range.
        RuntimeError: a second derivative (``create_graph=True``) is taken through a memory-saving
            run.
    """

    def __init__(
        self, *blocks: Coupling, memory_saving: bool = True, stored_blocks: int = 0
    ) -> None:
        super().__init__()
        if any(block._parameters for block in blocks):
            raise TypeError(
                "a coupling keeps its weights in f and g; of its own it can't have any, since "
                "they would get no gradient"
            )
        if not 0 <= stored_blocks <= len(blocks):
            raise ValueError(
                f"stored_blocks must be from 0 to the number of blocks, {len(blocks)}, not "
                f"{stored_blocks}"
            )
        self.blocks = nn.ModuleList(blocks)
        self.memory_saving = memory_saving
        self.stored_blocks = stored_blocks

    def __len__(self) -> int:
        return len(self.blocks)

    def __iter__(self) -> Iterator[Coupling]:
        return iter(self.blocks)  # type: ignore[arg-type]  # ModuleList forgets its element type

    @property
    def exact(self) -> bool:
        """Whether the inverse is bit-exact: all couplings are."""
        return all(block.exact for block in self)

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (B, C, *spatial) to y of the same shape."""
        y1, y2 = self._run(coupling_steps(self), *split(x, exact=self.exact))
        return torch.cat((y1, y2), dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        """Maps y (B, C, *spatial) back to x."""
        y1, y2 = split(y, exact=self.exact)
        x2, x1 = self._run(inverted(coupling_steps(self)), y2, y1)
        return torch.cat((x1, x2), dim=1)

    def _run(self, steps: list[Step], target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        if not (self.memory_saving and torch.is_grad_enabled()):
            return run(steps, target, source)
        # The last blocks of a run are the first that the backward pass needs and frees.
        recomputed = len(steps) - 2 * self.stored_blocks
        target, source = _run_recomputed(steps[:recomputed], target, source)
        return run(steps[recomputed:], target, source)

    def extra_repr(self) -> str:
        stored = f", stored_blocks={self.stored_blocks}" if self.stored_blocks else ""
        return f"memory_saving={self.memory_saving}{stored}"


@dataclass
class _Walk:
    """What the steps of one run share.

    Attributes:
        autocast: the forward pass's autocast state.
        halves: in the backward pass, (target, source) as they come out of the step that is next.
    """

    autocast: dict[str, Any]
    halves: tuple[Tensor, Tensor] | None = None


def _run_recomputed(steps: list[Step], target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """Walks the steps; for the backward pass, nothing is kept but the halves at the end.

    Each step is a node of its own in autograd's graph, so that its weights' gradients are added to
    `.grad`, and freed, before the step before it is recomputed.
    """
    walk = _Walk(_autocast_state(target.device.type))
    for step in steps:
        # Weights are inputs of the Function, so that autograd itself delivers their gradients, and
        # hooks, data parallelism and torch.autograd.grad see them as usual.
        named = dict(step.net.named_parameters())
        # PyTorch leaves Function.apply without types.
        new: Tensor = _Recompute.apply(  # type: ignore[no-untyped-call]
            walk, step, step is steps[-1], tuple(named), target, source, *named.values()
        )
        target, source = source, new
    return target, source


class _Recompute(torch.autograd.Function):
    """One step, whose backward pass computes the step's input from its output.

    The chain's last step keeps its output. Each backward pass hands the halves that it has found on
    to the step before, through the walk: autograd reaches the steps in reverse order, as each
    one's output is the next one's source.
    """

    @staticmethod
    def forward(
        ctx: Any,
        walk: _Walk,
        step: Step,
        last: bool,
        names: tuple[str, ...],
        target: Tensor,
        source: Tensor,
        *weights: Tensor,
    ) -> Tensor:
        """The target after the step.

        Args:
            ctx: autograd's.
            walk: what the steps share.
            step: this step.
            last: whether the chain ends here.
            names: of the net's weights.
            target: the half that changes.
            source: the half that the net sees.
            weights: the net's, each once.
        """
        before = random_state(source.device)
        new = step.combine(target, step.net(source))
        ctx.walk, ctx.step, ctx.names = walk, step, names
        # Most nets draw nothing, and then nothing needs to be kept.
        ctx.randomness = before if drawn_since(before, source.device) else None
        # Saving the weights costs nothing, and lets autograd notice if they are changed meanwhile.
        ctx.save_for_backward(*((source, new) if last else ()), *weights)
        return new

    @staticmethod
    def backward(ctx: Any, grad_new: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "second derivatives (create_graph=True) do not pass through a memory-saving "
                'reversible core; set memory_saving=False (memory="naive" in RevGenerator)'
            )
        walk, step, names = ctx.walk, ctx.step, ctx.names
        saved, count = ctx.saved_tensors, len(names)
        weights = saved[len(saved) - count :]
        source, new = saved[:2] if len(saved) > count else walk.halves
        walk.halves = None

        # Leaves of their own: the real weights' hooks wait for the sum over all uses.
        leaves = {n: _leaf(w, w.requires_grad) for n, w in zip(names, weights, strict=True)}
        source_leaf = _leaf(source, True)
        # Copies of the buffers: normalisation statistics were updated in the forward pass.
        buffers = {name: buffer.clone() for name, buffer in step.net.named_buffers()}
        with (
            torch.enable_grad(),
            torch.autocast(**walk.autocast),
            replaying(ctx.randomness, source.device),
        ):
            features = functional_call(step.net, leaves | buffers, source_leaf)
        target = step.recover(new, features.detach())
        if any(ctx.needs_input_grad[4:6]):
            walk.halves = target, source

        grad_target, grad_features = step.vjp(target, features.detach(), grad_new)
        wanted = {n: leaf for n, leaf in leaves.items() if leaf.requires_grad}
        grads: dict[str, Tensor | None] = {}
        grad_source = None
        if features.requires_grad:  # otherwise a constant: nothing flows back through it
            grad_source, *grad_wanted = torch.autograd.grad(
                features, [source_leaf, *wanted.values()], grad_features, allow_unused=True
            )
            grads = dict(zip(wanted, grad_wanted, strict=True))
        return None, None, None, None, grad_target, grad_source, *(grads.get(n) for n in names)


def _leaf(x: Tensor, requires_grad: bool) -> Tensor:
    return x.detach().requires_grad_(requires_grad)


def _autocast_state(device_type: str) -> dict[str, Any]:
    return {
        "device_type": device_type,
        "dtype": torch.get_autocast_dtype(device_type),
        "enabled": torch.is_autocast_enabled(device_type),
    }
