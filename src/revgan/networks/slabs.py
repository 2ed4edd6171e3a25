"""Encoders and decoders in slabs: no hidden tensor of full resolution ever exists whole.

Write z_0 for the input of such a stack and z_i for what its i-th stage makes of z_(i-1)::

    u_i = convolution(z_(i-1))    h_i = normalised(u_i)    z_i = activation(gamma * h_i + beta)

Hidden tensors of full resolution are *wide*: they have K channels, and are several times the image.
Of a wide z_i, some rows at a time are computed from z_(i-1), first for the statistics of u_i, then
for z_(i+1), and dropped. Kept for the backward pass are the input, a final tanh's output and all
statistics. All else is rebuilt: tensors of lower resolution whole, as h_i, and wide ones by rows.
"""

from typing import Any

import torch
from torch import Tensor, nn

from revgan.networks.rows import CHANNELS_LAST
from revgan.networks.stages import Input, Stage, build_stages, narrow
from revgan.networks.statistics import Statistics


class Slabs(nn.Sequential):
    """An encoder or a decoder that stores its input and runs in slabs along its longest axis.

    Args:
        *layers: as `revgan.networks.parts` makes them.
        slabs: how many at full resolution; where there are fewer rows, one for each row.

    Shapes: (B, C, *spatial). Several inputs stand for their concatenation along the channels.

    Raises:
        RuntimeError: it is differentiated twice (``create_graph=True``).
        TypeError: there is a layer that can't run in slabs.
    """

    def __init__(self, *layers: nn.Module, slabs: int) -> None:
        super().__init__(*layers)
        self.slabs = slabs

    def forward(self, *inputs: Tensor) -> Tensor:
        # Function.apply has no types in PyTorch.
        y: Tensor = _InSlabs.apply(  # type: ignore[no-untyped-call]
            self, len(inputs), *inputs, *self.parameters()
        )
        return y

    def extra_repr(self) -> str:
        return f"slabs={self.slabs}"


_FIRST_DERIVATIVES_ONLY = (
    "layers in slabs have first derivatives only, by backward(); for second ones "
    '(create_graph=True) set slabs to 0 and memory to "naive"'
)


class _InSlabs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layers: Slabs, n_inputs: int, *tensors: Tensor) -> Tensor:
        inputs, weights = tensors[:n_inputs], tensors[n_inputs:]
        ctx.layers, ctx.n_inputs, ctx.dtype = layers, n_inputs, _autocast_dtype(inputs[0])
        with torch.autocast(inputs[0].device.type, enabled=False):
            source = Input(inputs, _longest_axis(inputs[0]), ctx.dtype)
            stages = build_stages(layers, source, [(w, False) for w in weights], layers.slabs)
            y = _forward(stages)
        statistics = [stage.norm.statistics for stage in stages if stage.norm is not None]
        ctx.counts = [of_norm.count for of_norm in statistics]
        outputs = [y] if isinstance(stages[-1].activation, nn.Tanh) else []
        of_norms = [tensor for of_norm in statistics for tensor in of_norm[:2]]
        ctx.save_for_backward(*tensors, *of_norms, *outputs)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(_FIRST_DERIVATIVES_ONLY)
        saved, (_, _, *wanted) = list(ctx.saved_tensors), ctx.needs_input_grad
        tensors, others = saved[: len(wanted)], iter(saved[len(wanted) :])
        inputs, weights = tensors[: ctx.n_inputs], tensors[ctx.n_inputs :]
        of_inputs, of_weights = wanted[: ctx.n_inputs], wanted[ctx.n_inputs :]
        statistics = [Statistics(next(others), next(others), count) for count in ctx.counts]
        with torch.autocast(grad.device.type, enabled=False):
            source = Input(inputs, _longest_axis(inputs[0]), ctx.dtype, any(of_inputs))
            stages = build_stages(
                ctx.layers,
                source,
                zip(weights, of_weights, strict=True),
                ctx.layers.slabs,
                statistics,
            )
            stages[-1].output = next(others, None)
            _backward(stages, grad)
        found = [g for stage in stages for g in stage.gradients]
        return (
            None,
            None,
            *(source.gradients or [None] * len(inputs)),
            *(None if g is None else g.to(w.dtype) for w, g in zip(weights, found, strict=True)),
        )


def _autocast_dtype(x: Tensor) -> torch.dtype | None:
    """What autocast computes x's convolutions in; None if it leaves them as they are."""
    device = x.device.type
    if not torch.is_autocast_enabled(device) or x.dtype == torch.float64:
        return None
    return torch.get_autocast_dtype(device)


def _longest_axis(x: Tensor) -> int:
    """The longest spatial axis; of several, the last.

    In 3D, PyTorch picks a convolution's kernel by the size of all axes but the last: along that
    one, slabs may be as thin as they like.
    """
    return max(range(2, x.ndim), key=lambda axis: (x.shape[axis], axis))


def _forward(stages: list[Stage]) -> Tensor:
    for stage in stages:
        if not stage.wide:
            _fill(stage)
            if isinstance(stage.source, Stage):
                stage.source.h = None
        elif stage.norm is not None and stage.norm.statistics is None:
            moments = stage.norm.moments()
            for rows in stage.slabs:
                u = stage.convolved(rows)
                moments.add(u)
            stage.norm.take(moments, u.dtype)
    y = stages[-1].h
    assert y is not None
    for rows in stages[-1].slabs:
        part = narrow(y, stages[-1].axis, rows)
        part.copy_(stages[-1].activated(part))
    return y


def _fill(stage: Stage) -> None:
    """Computes h whole."""
    norm, whole = stage.norm, None
    moments = norm.moments() if norm is not None and norm.statistics is None else None
    for rows in stage.slabs:
        u = stage.convolved(rows)
        if whole is None:
            shape = list(u.shape)
            shape[stage.axis] = stage.size
            whole = torch.empty(
                shape, dtype=u.dtype, device=u.device, memory_format=CHANNELS_LAST[u.ndim]
            )
        narrow(whole, stage.axis, rows).copy_(u)
        if moments is not None:
            moments.add(u)
    assert whole is not None
    del u
    if norm is not None:
        if moments is not None:
            norm.take(moments, whole.dtype)
        for rows in stage.slabs:
            part = narrow(whole, stage.axis, rows)
            part.copy_(norm.normalised(part))
    stage.h = whole


def _backward(stages: list[Stage], grad: Tensor) -> None:
    """Adds up the gradients of all weights and of the input, from the last stage to the first.

    Args:
        stages: with their statistics, and the last one's output if it ends in tanh.
        grad: of the last stage's output; it is not written into, as it may be others' too.
    """
    for stage in stages:
        if not stage.full:
            _fill(stage)
    stages[-1].gradient = grad
    for stage in reversed(stages):
        if not stage.needs_gradient:
            break
        if stage.wide:  # its gradient went through it with that of the stage behind
            continue
        if stage.norm is not None and stage.norm.needs_sums:
            for rows in stage.slabs:
                h = stage.normalised(rows)
                grad = narrow(stage.gradient, stage.axis, rows)
                stage.norm.add_gradient(stage.gradient_of_y(grad, h), h)
        if isinstance(stage.source, Stage) and stage.source.wide:
            _backward_into_wide(stage, stage.source)
        else:
            _backward_into_whole(stage)
        stage.h = stage.gradient = None


def _backward_into_whole(stage: Stage) -> None:
    """From the gradient of a stage's output to that of its source, both whole."""
    for rows in stage.slabs:
        source = stage.reach(rows)
        grad = stage.gradient_of_source(
            stage.gradient_of_u(rows), stage.source.read(source), rows, of_weights=True
        )
        if grad is not None:
            stage.source.add_gradient(grad, source)


def _backward_into_wide(stage: Stage, wide: Stage) -> None:
    """From the gradient of a stage's output to that of its source's source, both whole.

    In between, each slab holds all or a part of the gradient of some rows; parts of the same row
    add up. A norm needs sums over all rows before it can pass on any, so there is a pass for them.
    """
    sources = [stage.reach(rows) for rows in stage.slabs]
    sums = wide.norm is not None and wide.norm.needs_sums and wide.needs_gradient
    if sums:
        for rows, source in zip(stage.slabs, sources, strict=True):
            h = wide.normalised(source)
            grad = stage.gradient_of_source(
                stage.gradient_of_u(rows), wide.activated(h), rows, of_weights=True
            )
            wide.norm.add_gradient(wide.gradient_of_y(grad, h), h)
    # Where two slabs read a row, the second one counts it.
    ends = [source.start for source in sources[1:]] + [wide.size]
    for rows, source, end in zip(stage.slabs, sources, ends, strict=True):
        h = wide.normalised(source)
        x = h if sums else wide.activated(h)
        grad = stage.gradient_of_source(stage.gradient_of_u(rows), x, rows, of_weights=not sums)
        if grad is None:
            continue
        grad = wide.gradient_of_y(grad, h)
        if wide.norm is not None:
            grad = wide.norm.gradient(grad, h, wide.axis, end - source.start)
        below = wide.reach(source)
        grad = wide.gradient_of_source(grad, wide.source.read(below), source, of_weights=True)
        if grad is not None:
            wide.source.add_gradient(grad, below)
