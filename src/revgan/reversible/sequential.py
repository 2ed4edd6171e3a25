"""The reversible core: a chain of couplings that trains without storing activations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from revgan.reversible.couplings import Coupling
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
        ValueError: the number of channels is odd.
        RuntimeError: a second derivative (``create_graph=True``) is taken through a memory-saving
            run.
    """

    def __init__(self, *blocks: Coupling, memory_saving: bool = True) -> None:
        super().__init__()
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
        # Parameters are inputs of the Function, so that autograd itself delivers their gradients
        # and hooks, data parallelism and torch.autograd.grad see them as usual.
        parameters = [p for p in self.parameters() if p.requires_grad]
        out: tuple[Tensor, Tensor] = _Recompute.apply(  # type: ignore[no-untyped-call]
            steps, parameters, target, source, *parameters
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
        parameters: list[nn.Parameter],
        target: Tensor,
        source: Tensor,
        *parameters_again: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.steps = steps
        ctx.parameters = parameters
        ctx.autocast = _autocast_state(target.device.type)
        # The view is another tensor, so that an output is never an input, even without steps.
        target, source = run(steps, target.view_as(target), source.view_as(source))
        ctx.save_for_backward(target, source)
        return target, source

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "second derivatives (create_graph=True) do not pass through a memory-saving "
                'reversible core; set memory_saving=False (memory="naive" in RevGenerator)'
            )
        (target, source), (grad_target, grad_source) = ctx.saved_tensors, grads
        parameter_grads = _GradientSum(ctx.parameters)

        for step in reversed(ctx.steps):
            # What came out of the step is (source, new target): name it so, then find the target.
            source, new_target = target, source
            grad_source, grad_new_target = grad_target, grad_source

            source_leaf = source.detach().requires_grad_()
            with torch.enable_grad(), _autocast(ctx.autocast):
                features = step.net(source_leaf)
            values = features.detach()
            target = step.recover(new_target, values)

            grad_target, grad_features = step.vjp(target, values, grad_new_target)
            if not features.requires_grad:  # a constant: nothing flows back through it
                continue
            wanted = parameter_grads.among(step.net.parameters())
            grad_leaf, *grad_wanted = torch.autograd.grad(
                features, [source_leaf, *wanted], grad_features, allow_unused=True
            )
            if grad_leaf is not None:
                grad_source = grad_source + grad_leaf
            parameter_grads.add(wanted, grad_wanted)

        return None, None, grad_target, grad_source, *parameter_grads.in_order()


class _GradientSum:
    """Sums gradients per parameter, as blocks may share parameters."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._sums: dict[nn.Parameter, Tensor | None] = dict.fromkeys(parameters)

    def among(self, parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
        """Those whose gradients are wanted."""
        return [p for p in parameters if p in self._sums]

    def add(self, parameters: Sequence[nn.Parameter], grads: Sequence[Tensor | None]) -> None:
        for parameter, grad in zip(parameters, grads, strict=True):
            before = self._sums[parameter]
            if before is None or grad is None:
                self._sums[parameter] = grad if before is None else before
            else:
                self._sums[parameter] = before + grad

    def in_order(self) -> list[Tensor | None]:
        return list(self._sums.values())


def _autocast_state(device_type: str) -> dict[str, Any]:
    return {
        "device_type": device_type,
        "dtype": torch.get_autocast_dtype(device_type),
        "enabled": torch.is_autocast_enabled(device_type),
    }


def _autocast(state: dict[str, Any]) -> AbstractContextManager[None]:
    return torch.autocast(**state)
