"""The reversible core: a chain of couplings that trains without storing activations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from revgan.reversible.couplings import Coupling, coupling_steps
from revgan.reversible.replay import leaf, own_weights, record
from revgan.reversible.steps import Step, inverted, run, split


class ReversibleSequential(nn.Module):
    """Couplings in a row, one set of weights for both directions (the paper's core C).

    With `memory_saving`, training keeps only the chain's output and recomputes each block's
    activations from it in the backward pass: the memory for activations does not grow with depth,
    at the price of evaluating each f and g once more. Values and gradients are those of the naive
    run; where every coupling is exact, bit for bit.

    Where every coupling is exact, the input is rounded to the grid of `revgan.reversible.grid`
    (to multiples of 2**-16 in float32), so ``core.inverse(core(x))`` returns the rounded x, and x
    itself if it lies on the grid, as every output of a core does.

    Args:
        *blocks: the couplings, in forward order.
        memory_saving: recompute activations (True) or store them (False).
        stored_blocks: how many blocks of a memory-saving run store their activations anyway, the
            last ones of each direction: more memory for less recomputation, same results.

    Shapes: (B, C, *spatial) to the same, C even, in both directions.

    Raises:
        TypeError: a coupling has weights besides those of f and g.
        ValueError: the number of channels is odd, or `stored_blocks` is out of range.
        RuntimeError: a memory-saving run is differentiated twice (``create_graph=True``), in
            forward mode or by `torch.func`; or switched between train() and eval() before its
            backward pass.

    Example:
        >>> import torch
        >>> from revgan.reversible import AdditiveCoupling, ReversibleSequential
        >>> def net():
        ...     return torch.nn.Conv2d(4, 4, 3, padding=1)
        >>> core = ReversibleSequential(*(AdditiveCoupling(net(), net()) for _ in range(3)))
        >>> y = core(torch.randn(1, 8, 5, 5))
        >>> y.sum().backward()  # stored y, and nothing else
        >>> x = core.inverse(y)
        >>> torch.equal(core(x), y)
        True
    """

    def __init__(
        self, *blocks: Coupling, memory_saving: bool = True, stored_blocks: int = 0
    ) -> None:
        super().__init__()
        if any(_has_weights_of_its_own(block) for block in blocks):
            raise TypeError(
                "a coupling keeps its weights in f and g; it can't have any of its own, since they "
                "would get no gradient"
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
        return _run_saving_memory(steps, 2 * self.stored_blocks, target, source)

    def extra_repr(self) -> str:
        stored = f", stored_blocks={self.stored_blocks}" if self.stored_blocks else ""
        return f"memory_saving={self.memory_saving}{stored}"


def _has_weights_of_its_own(block: Coupling) -> bool:
    of_nets = {id(weight) for net in (block.f, block.g) for weight in net.parameters()}
    return any(id(weight) not in of_nets for weight in block.parameters())


_FIRST_DERIVATIVES_ONLY = (
    "a memory-saving reversible core has first derivatives only, by backward(); for second ones "
    "(create_graph=True), forward mode and torch.func set memory_saving=False "
    '(memory="naive" in RevGenerator)'
)


# torch.compile would trace a recording but not its replay. It compiles what surrounds the core, and
# nets may be compiled themselves. (The public torch.compiler.disable imports the whole compiler;
# this one, which has no types, doesn't.)
@torch._disable_dynamo  # type: ignore[attr-defined]
def _run_saving_memory(
    steps: list[Step], stored: int, target: Tensor, source: Tensor
) -> tuple[Tensor, Tensor]:
    """Walks the steps; for the backward pass, only the halves at the end are kept.

    Each step is a node of its own in autograd's graph, so that its weights' gradients are added to
    `.grad`, and freed, before the step before it is recomputed. The last `stored` steps, which are
    the first that the backward pass needs and frees, store their activations anyway.
    """
    if torch._C._are_functorch_transforms_active():
        raise RuntimeError(_FIRST_DERIVATIVES_ONLY)
    recomputed = len(steps) - stored
    with own_weights:
        for i, step in enumerate(steps[:recomputed], start=1):
            # Weights are inputs of the Function, so that autograd itself delivers their gradients,
            # and hooks, data parallelism and torch.autograd.grad see them as usual.
            # Function.apply has no types in PyTorch.
            new: Tensor = _Recompute.apply(  # type: ignore[no-untyped-call]
                step, i == recomputed, target, source, *step.net.parameters()
            )
            target, source = source, new
        return run(steps[recomputed:], target, source)


class _Recompute(torch.autograd.Function):
    """One step, whose backward pass computes the step's input from its output.

    The chain's last step keeps its output. Each backward pass hands the halves that it finds on to
    the step before: autograd reaches the steps in reverse order, as each one's output is the next
    one's source.
    """

    @staticmethod
    def forward(
        ctx: Any, step: Step, last: bool, target: Tensor, source: Tensor, *weights: Tensor
    ) -> Tensor:
        """The target after the step.

        Args:
            ctx: autograd's; it is the step's node in the graph.
            step: this step.
            last: whether the chain ends here.
            target: the half that changes.
            source: the half that the net sees.
            weights: the net's, each once.
        """
        features, ctx.recording = record(step, source)
        new = step.combine(target, features)
        ctx.last = last
        # (new, source) as the step after found them, by backward pass: several may be under way.
        ctx.handed_over = {}
        # Saving the weights costs nothing, and lets autograd notice if they are changed meanwhile.
        ctx.save_for_backward(*((new, source) if last else ()), *weights)
        return new

    @staticmethod
    def backward(ctx: Any, grad_new: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(_FIRST_DERIVATIVES_ONLY)
        step, saved, this_pass = ctx.recording.step, ctx.saved_tensors, _backward_pass()
        if ctx.last:
            (new, source), weights = saved[:2], saved[2:]
        else:
            (new, source), weights = ctx.handed_over.pop(this_pass), saved

        source_leaf = leaf(source, True)
        features, weights = ctx.recording.replay(source_leaf, weights)
        target = step.recover(new, features.detach())
        earlier = ctx.next_functions[1][0]  # the node that made the source
        if isinstance(earlier, type(ctx)) and torch._C._will_engine_execute_node(earlier):
            earlier.handed_over[this_pass] = source, target

        grad_target, grad_features = step.vjp(target, features.detach(), grad_new)
        return (
            None,
            None,
            grad_target,
            *_gradients(features, [source_leaf, *weights], grad_features),
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        raise RuntimeError(_FIRST_DERIVATIVES_ONLY)


def _backward_pass() -> int:
    """A number of the backward pass that is running in this thread."""
    number: int = torch._C._current_graph_task_id()
    return number


def _gradients(y: Tensor, inputs: list[Tensor], grad: Tensor) -> list[Tensor | None]:
    """The gradients of the inputs; None where y doesn't depend on one, or none is required."""
    if not y.requires_grad:  # a constant
        return [None] * len(inputs)
    wanted = [x for x in inputs if x.requires_grad]
    found = iter(torch.autograd.grad(y, wanted, grad, allow_unused=True))
    return [next(found) if x.requires_grad else None for x in inputs]
