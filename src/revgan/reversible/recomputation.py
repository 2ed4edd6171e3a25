"""Walking the steps of a chain so that the backward pass computes their inputs from its output."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.parameter import is_lazy

from revgan.reversible.modules import modules_of, weights_of
from revgan.reversible.randomness import capturing
from revgan.reversible.replay import Recording, leaf, own_weights, record
from revgan.reversible.steps import Conditions, Step, run

_FIRST_DERIVATIVES_ONLY = (
    "a memory-saving reversible core has first derivatives only, by backward(); for second ones "
    "(create_graph=True), forward mode and torch.func set memory_saving=False "
    '(memory="naive" in RevGenerator)'
)
_NO_OUTPUT = (
    "a loss on an activation inside f or g of a reversible core reached the blocks before it "
    "without a loss on the core's output, from which they are recomputed; add the two and "
    'call backward() once, or set memory_saving=False (memory="naive" in RevGenerator)'
)
_OTHER_INPUT = (
    "the backward pass of a reversible core didn't recover its input, so its gradients would be "
    "wrong: f or g computed something else than in the forward pass, as numbers or weights that "
    "they use were changed in between (hand over what changes as core(x, condition)) or come from "
    "a source of randomness that can't be replayed; or {} let rounding errors grow; set "
    'memory_saving=False (memory="naive" in RevGenerator)'
)

_TOLERANCE = {True: 0.02, False: 0.1}
"""How far a recovered input may lie from the real one, relatively, by whether a chain is exact.

An exact chain gets its input back bit for bit, unless values are beyond the grid's range, or a
GPU's kernels compute other bits the second time.
"""


# torch.compile would trace a recording but not its replay. It compiles what surrounds the core, and
# nets may be compiled themselves. (The public torch.compiler.disable imports the whole compiler;
# this one, which has no types, doesn't.)
@torch._disable_dynamo  # type: ignore[attr-defined]
def run_saving_memory(
    steps: Sequence[Step],
    halves: list[Tensor],
    conditions: Conditions,
    *,
    stored: int,
) -> tuple[Tensor, Tensor]:
    """Walks the steps; for the backward pass, only the halves at the end are kept.

    Each step is a node of its own in autograd's graph, so that its weights' gradients are added to
    `.grad`, and freed, before the step before it is recomputed. The last `stored` steps, which are
    the first that the backward pass needs and frees, store their activations anyway. So do all
    where a lazy net has yet to learn its weights' shapes.
    """
    # PyTorch has no public way to ask for torch.func's transforms.
    if torch._C._are_functorch_transforms_active():
        raise RuntimeError(_FIRST_DERIVATIVES_ONLY)
    recomputed = len(steps) - stored
    nets = [modules_of(step.net) for step in steps[:recomputed]]
    weights = [weights_of(modules) for modules in nets]
    if any(is_lazy(weight) for of_net in weights for weight in of_net):
        return run(steps, halves, conditions)
    source, target = halves.pop(), halves.pop()
    chain = zip(steps, nets, weights, strict=False)
    with own_weights:
        for number, (step, modules, own) in enumerate(chain, start=1):
            features, recording = record(step, modules, own, source, conditions)
            # Weights are inputs of the Function, so that autograd itself delivers their gradients,
            # and hooks, data parallelism and torch.autograd.grad see them as usual.
            # Function.apply has no types in PyTorch.
            new: Tensor = _Recompute.apply(  # type: ignore[no-untyped-call]
                recording,
                number == 1,
                number == recomputed,
                len(conditions),
                target,
                source,
                features,
                *conditions,
                *recording.weights,
            )
            target, source = source, new
            del features
        return run(steps[recomputed:], [target, source], conditions)


class _Recompute(torch.autograd.Function):
    """One step, whose backward pass computes the step's input from its output.

    The chain's last step keeps its output. Each backward pass hands the halves that it finds on to
    the step before: autograd reaches the steps in reverse order, as each one's output is the next
    one's source.
    """

    @staticmethod
    def forward(
        ctx: Any,
        recording: Recording,
        first: bool,
        last: bool,
        n_conditions: int,
        target: Tensor,
        source: Tensor,
        features: Tensor,
        *conditions_and_weights: Tensor,
    ) -> Tensor:
        """The target after the step.

        Args:
            ctx: autograd's; it is the step's node in the graph.
            recording: of the evaluation of the step's net.
            first: whether the chain starts here.
            last: whether the chain ends here.
            n_conditions: how many conditions there are.
            target: the half that changes.
            source: the half that the net saw.
            features: what the net computed, without a graph.
            *conditions_and_weights: what else the net got, and its weights, each once.
        """
        new = recording.step.combine(target, features)
        ctx.recording, ctx.last, ctx.n_conditions = recording, last, n_conditions
        # (new, source) as the step after found them, by backward pass: several may be under way.
        ctx.handed_over = {}
        # Where a backward pass ends, it has to have found the way back.
        ends_here = first or not (target.requires_grad or source.requires_grad)
        ctx.samples = [_sample(half) for half in (target, source, new)] if ends_here else None
        # Saving the weights costs nothing, and lets autograd notice if they are changed meanwhile.
        ctx.save_for_backward(*((new, source) if last else ()), *conditions_and_weights)
        return new

    @staticmethod
    def backward(ctx: Any, grad_new: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(_FIRST_DERIVATIVES_ONLY)
        recording, step, this_pass = ctx.recording, ctx.recording.step, _backward_pass()
        saved = iter(ctx.saved_tensors)
        halves = tuple(islice(saved, 2)) if ctx.last else ctx.handed_over.pop(this_pass, None)
        if halves is None:
            raise RuntimeError(_NO_OUTPUT)
        new, source = halves
        conditions = [leaf(c, c.requires_grad) for c in islice(saved, ctx.n_conditions)]
        source_leaf = leaf(source, True)
        features, weights = recording.replay(source_leaf, conditions, list(saved))
        ctx.maybe_clear_saved_tensors()  # unless the graph is kept
        features, made = features.detach(), _edge(features)
        target = step.recover(new, features)
        earlier = ctx.next_functions[1][0]  # the node that made the source
        # PyTorch has no public way to ask what the pass that is running is going to reach.
        if isinstance(earlier, type(ctx)) and torch._C._will_engine_execute_node(earlier):
            earlier.handed_over[this_pass] = source, target
        elif ctx.samples is not None:
            _require_recovered(ctx.samples, (target, source, new), exact=step.coupling.exact)

        del halves, new
        grad_target, grad_features = step.vjp(target, features, grad_new)
        inputs = [source_leaf, *conditions, *weights]
        # Freed before the net's backward pass, which doesn't need them.
        del source, target, features, grad_new
        grad_source, *gradients = _gradients(made, inputs, grad_features)
        return None, None, None, None, grad_target, grad_source, None, *gradients

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        raise RuntimeError(_FIRST_DERIVATIVES_ONLY)


def _backward_pass() -> int:
    """A number of the backward pass that is running in this thread."""
    # PyTorch has no public name for it.
    return torch._C._current_graph_task_id()


def _edge(y: Tensor) -> GradientEdge | None:
    """Where a backward pass from y starts, which y itself needn't be kept for."""
    return get_gradient_edge(y) if y.requires_grad else None


def _gradients(y: GradientEdge | None, inputs: list[Tensor], grad: Tensor) -> list[Tensor | None]:
    """The gradients of the inputs; None where y doesn't depend on one, or none is required."""
    if y is None:  # a constant
        return [None] * len(inputs)
    wanted = [x for x in inputs if x.requires_grad]
    found = iter(torch.autograd.grad(y, wanted, grad, allow_unused=True))
    return [next(found) if x.requires_grad else None for x in inputs]


def _sample(x: Tensor) -> Tensor:
    """Up to four evenly spaced positions along each axis."""
    return x.detach()[tuple(slice(None, None, max(1, -(-size // 4))) for size in x.shape)].clone()


def _require_recovered(
    expected: Sequence[Tensor], halves: Sequence[Tensor], *, exact: bool
) -> None:
    """Sees to it that a backward pass ends at the halves that the forward pass started from.

    Args:
        expected: samples of the first step's target and source, and of its target afterwards.
        halves: the same, as recovered.
        exact: whether the step can be undone bit for bit.
    """
    if type(expected[0]) is not Tensor:  # the planner's fake tensors have no values
        return
    if capturing(expected[0].device):  # where none can be read
        return
    error = torch.stack(
        [(_sample(half) - right).norm() for half, right in zip(halves, expected, strict=True)]
    ).norm()
    size = torch.stack([right.norm() for right in expected]).norm()
    # Neither is true of NaN, which gradients show by themselves.
    if error > _TOLERANCE[exact] * size and error.isfinite():
        reason = "values beyond 256" if exact else "couplings that aren't exact"
        raise RuntimeError(_OTHER_INPUT.format(reason))
