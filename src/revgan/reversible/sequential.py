"""The reversible core: a chain of couplings that trains without storing activations."""

from __future__ import annotations

from collections.abc import Iterator
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

    Shapes: (B, C, *spatial) to the same, C even, in both directions.

    Raises:
        TypeError: a coupling has weights besides those of f and g.
        ValueError: the number of channels is odd.
        RuntimeError: a second derivative (``create_graph=True``) is taken through a memory-saving
            run.
    """

    def __init__(self, *blocks: Coupling, memory_saving: bool = True) -> None:
        super().__init__()
        if any(block._parameters for block in blocks):
            raise TypeError(
                "a coupling keeps its weights in f and g; of its own it can't have any, since "
                "they would get no gradient"
            )
        self.blocks = nn.ModuleList(blocks)
        self.memory_saving = memory_saving

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
        # Weights are inputs of the Function, so that autograd itself delivers their gradients, and
        # hooks, data parallelism and torch.autograd.grad see them as usual.
        weights = list(self.parameters())
        numbers: dict[Tensor, int] = {weight: number for number, weight in enumerate(weights)}
        used = [{n: numbers[w] for n, w in step.net.named_parameters()} for step in steps]
        # PyTorch leaves Function.apply without types.
        out: tuple[Tensor, Tensor] = _Recompute.apply(  # type: ignore[no-untyped-call]
            steps, used, target, source, *weights
        )
        return out

    def extra_repr(self) -> str:
        return f"memory_saving={self.memory_saving}"


class _Recompute(torch.autograd.Function):
    """Runs all steps as one node of the graph that keeps nothing but its two output halves."""

    @staticmethod
    def forward(
        ctx: Any,
        steps: list[Step],
        used: list[dict[str, int]],
        target: Tensor,
        source: Tensor,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Walks the steps.

        Args:
            ctx: autograd's.
            steps: the chain.
            used: for each step, its net's weights: their names and their numbers in `weights`.
            target: the first half.
            source: the second half.
            weights: every weight of the chain once; blocks may share some.
        """
        ctx.steps, ctx.used = steps, used
        ctx.autocast = _autocast_state(target.device.type)
        ctx.randomness = []
        # A view is another tensor, so that an output is never an input, even without steps.
        target, source = target.view_as(target), source.view_as(source)
        for step in steps:
            before = random_state(source.device)
            target, source = run([step], target, source)
            # Most nets draw nothing, and then nothing needs to be kept.
            ctx.randomness.append(before if drawn_since(before, source.device) else None)
        # Saving the weights costs nothing, and lets autograd notice if they are changed meanwhile.
        ctx.save_for_backward(target, source, *weights)
        return target, source

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "second derivatives (create_graph=True) do not pass through a memory-saving "
                'reversible core; set memory_saving=False (memory="naive" in RevGenerator)'
            )
        (target, source, *weights), (grad_target, grad_source) = ctx.saved_tensors, grads
        grad_weights: list[Tensor | None] = [None] * len(weights)

        walk = list(zip(ctx.steps, ctx.used, ctx.randomness, strict=True))
        for step, used, randomness in reversed(walk):
            # What came out of the step is (source, new target): name it so, then find the target.
            source, new_target = target, source
            grad_source, grad_new_target = grad_target, grad_source

            # Leaves of their own: the real weights' hooks wait for the sum over all uses.
            leaves = {n: _leaf(weights[i], weights[i].requires_grad) for n, i in used.items()}
            source_leaf = _leaf(source, True)
            # Copies of the buffers: normalisation statistics were updated in the forward pass.
            buffers = {name: buffer.clone() for name, buffer in step.net.named_buffers()}
            with (
                torch.enable_grad(),
                torch.autocast(**ctx.autocast),
                replaying(randomness, source.device),
            ):
                features = functional_call(step.net, leaves | buffers, source_leaf)
            target = step.recover(new_target, features.detach())
            grad_target, grad_features = step.vjp(target, features.detach(), grad_new_target)
            if not features.requires_grad:  # a constant: nothing flows back through it
                continue

            wanted = [n for n, leaf in leaves.items() if leaf.requires_grad]
            inputs = [source_leaf, *(leaves[n] for n in wanted)]
            grad_leaf, *grad_wanted = torch.autograd.grad(
                features, inputs, grad_features, allow_unused=True
            )
            grad_source = _sum(grad_source, grad_leaf)
            for name, grad in zip(wanted, grad_wanted, strict=True):
                grad_weights[used[name]] = _sum(grad_weights[used[name]], grad)

        return None, None, grad_target, grad_source, *grad_weights


def _leaf(x: Tensor, requires_grad: bool) -> Tensor:
    return x.detach().requires_grad_(requires_grad)


def _sum(a: Any, b: Any) -> Any:
    """The sum of two gradients, where None stands for zero."""
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _autocast_state(device_type: str) -> dict[str, Any]:
    return {
        "device_type": device_type,
        "dtype": torch.get_autocast_dtype(device_type),
        "enabled": torch.is_autocast_enabled(device_type),
    }
