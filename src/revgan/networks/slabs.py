"""Stacks of layers in slabs: the largest hidden tensors never exist whole.

The stacks are encoders, decoders, discriminators, and f and g of a core. Write z_0 for the input
of such a stack and z_i for what its i-th stage makes of z_(i-1)::

    u_i = convolution(z_(i-1))    h_i = normalised(u_i)    z_i = activation(gamma * h_i + beta)

Hidden tensors with the most rows are *wide*: they have K channels, and are several times the image.
(Where one follows another, only every other one is, and the last.) Of a wide z_i, some rows at a
time are computed from z_(i-1), first for the statistics of u_i, then for z_(i+1), and dropped. Kept
for the backward pass are the input, a final tanh's output and all statistics. All else is rebuilt:
wide tensors by rows, the others whole, as h_i.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from revgan.networks.cutting import cut
from revgan.networks.few_channels import FewChannels
from revgan.networks.layers import BatchNorm, InstanceNorm, PaddedConv, autocast_dtype
from revgan.networks.layers import Convolution as ConvolutionLayer
from revgan.networks.resampling import PixelShuffle, PixelUnshuffle
from revgan.networks.resizing import Resize
from revgan.networks.rows import (
    Arrangement,
    Convolution,
    Pad,
    TransposedConvolution,
    arrangement_of,
)
from revgan.networks.stages import Input, Stage
from revgan.networks.statistics import SlabNorm, Statistics
from revgan.reversible.tracing import exporting


class Slabs(nn.Sequential):
    """Layers that store only their input, and run in slabs along its longest axis.

    It computes what the layers compute one after the other, with sums in another order: those of
    a norm's statistics and of gradients. Without norms, the output is the same bit for bit, as long
    as the slabs' convolutions run on the same kernels as the whole image's.

    Args:
        *layers: as `revgan.networks.parts` and the discriminator make them.
        slabs: how many at full resolution, 1 or more; never more than there are rows. Tensors of
            lower resolution are cut less often.
        contiguous: whether the output's channels come first in memory, as those of images do
            outside of the networks, where all else has them last.
        kept: whether hidden tensors that aren't wide are kept for the backward pass: it is quicker,
            and takes no more memory where that pass follows at once, as it needs them all.

    Shapes: as the layers'. Several inputs (B, C, *spatial) stand for their concatenation along the
    channels.

    Raises:
        RuntimeError: it is differentiated twice (``create_graph=True``).
        TypeError: one of the layers can't run in slabs.

    Example:
        >>> import torch
        >>> from revgan.networks import GeneratorConfig
        >>> from revgan.networks.parts import encoder
        >>> layers = encoder(GeneratorConfig(width=4), spatial_dims=2, in_channels=3)
        >>> x = torch.rand(1, 3, 16, 24, requires_grad=True)
        >>> y = Slabs(*layers, slabs=4)(x)
        >>> torch.allclose(y, layers(x), atol=1e-5)
        True
    """

    reads_parts = True
    """To a reversible core: the gradient of the output is never read whole."""

    plain_layer = True
    """And it computes the same bits without gradients, if all its layers do."""

    def __init__(
        self, *layers: nn.Module, slabs: int, contiguous: bool = False, kept: bool = False
    ) -> None:
        super().__init__(*layers)
        self.slabs = slabs
        self.contiguous = contiguous
        self.kept = kept

    # As for the reversible core: torch.compile compiles what surrounds it. (The public
    # torch.compiler.disable imports the whole compiler; this one, which has no types, does not.)
    @torch._disable_dynamo  # type: ignore[attr-defined]
    def forward(self, *inputs: Tensor) -> Tensor:
        if exporting():
            x = torch.cat(inputs, dim=1)
            for layer in self:
                x = layer(x)
            return x
        weights = list(_weights(self))
        if not torch.is_grad_enabled():
            return _run(self, inputs, weights)[1]
        if torch._C._are_functorch_transforms_active():
            raise RuntimeError(_FIRST_DERIVATIVES_ONLY)
        # Function.apply has no types in PyTorch.
        return _InSlabs.apply(  # type: ignore[no-untyped-call]
            self, len(inputs), *inputs, *weights
        )

    def extra_repr(self) -> str:
        return f"slabs={self.slabs}"


_FIRST_DERIVATIVES_ONLY = (
    "networks in slabs have first derivatives only, by backward(); for second ones "
    '(create_graph=True), forward mode and torch.func set slabs=0 and memory="naive"'
)


class _InSlabs(torch.autograd.Function):
    """All of a stack as one node of autograd's graph."""

    @staticmethod
    def forward(ctx: Any, layers: Slabs, n_inputs: int, *tensors: Tensor) -> Tensor:
        inputs, weights = tensors[:n_inputs], tensors[n_inputs:]
        ctx.layers, ctx.n_inputs, ctx.dtype = layers, n_inputs, autocast_dtype(inputs[0])
        stages, y = _run(layers, inputs, weights, kept=layers.kept)
        ctx.kept = [stage.h for stage in stages[:-1]]
        norms = [stage.norm.statistics for stage in stages if stage.norm is not None]
        ctx.counts = [statistics.count for statistics in norms]
        of_norms = [x for statistics in norms for x in (statistics.mean, statistics.inverse)]
        of_tanh = [y] if isinstance(stages[-1].activation, nn.Tanh) else []
        ctx.save_for_backward(*tensors, *of_norms, *of_tanh)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(_FIRST_DERIVATIVES_ONLY)
        wanted, saved = ctx.needs_input_grad[2:], iter(ctx.saved_tensors)
        of_inputs, of_weights = wanted[: ctx.n_inputs], wanted[ctx.n_inputs :]
        inputs, weights = (list(islice(saved, len(of))) for of in (of_inputs, of_weights))
        statistics = [Statistics(next(saved), next(saved), count) for count in ctx.counts]
        source = Input(inputs, _cut_axis(inputs[0]), ctx.dtype, any(of_inputs))
        wishes = zip(weights, of_weights, strict=True)
        stages = _stages(ctx.layers, source, wishes, statistics)
        stages[-1].output = next(saved, None)
        # For one backward pass; if the graph is kept, another computes them again.
        for stage, h in zip(stages, ctx.kept, strict=False):
            stage.h = h
        ctx.kept = []
        with torch.autocast(grad.device.type, enabled=False):
            _backward(stages, grad)
        gradients: list[Tensor | None] = [*source.gradients] or [None for _ in inputs]
        return None, None, *gradients, *(g for stage in stages for g in stage.gradients)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        raise RuntimeError(_FIRST_DERIVATIVES_ONLY)


def _run(
    layers: Slabs, inputs: Sequence[Tensor], weights: Sequence[Tensor], *, kept: bool = False
) -> tuple[list[Stage], Tensor]:
    """The stages, with statistics and what is `kept` of h, and the output."""
    source = Input(inputs, _cut_axis(inputs[0]), autocast_dtype(inputs[0]))
    stages = _stages(layers, source, ((w, False) for w in weights))
    with torch.autocast(inputs[0].device.type, enabled=False):
        return stages, _forward(stages, kept=kept)


def _cut_axis(x: Tensor) -> int:
    """The longest spatial axis.

    Of axes of the same length, in 2D it is the first, whose slabs are contiguous. In 3D it is the
    last: PyTorch chooses a convolution's kernel by the sizes of the other axes, and slabs that are
    thin along those get the slow one.
    """
    last_first = x.ndim == 5
    return max(range(2, x.ndim), key=lambda axis: (x.shape[axis], axis if last_first else -axis))


def _stages(
    layers: Slabs,
    source: Input,
    weights: Iterable[tuple[Tensor, bool]],
    statistics: Iterable[Statistics] = (),
) -> list[Stage]:
    """The stages of a stack.

    Args:
        layers: the stack.
        source: its input.
        weights: its weights, in the order of `_weights`, and whether gradients are asked for.
        statistics: of each norm, where they are known.

    Raises:
        TypeError: there is a layer that can't run in slabs.
    """
    weights, statistics = iter(weights), iter(statistics)
    stages: list[Stage] = []
    arrangements: list[Arrangement] = []  # before the next convolution
    axis, dims = source.axis, source.ndim - 2
    norms = any(isinstance(layer, InstanceNorm | BatchNorm) for layer in _flat(layers))
    for layer in _flat(layers):
        match layer:
            case PixelUnshuffle() | Resize():
                arrangements.append(arrangement_of(layer, axis, dims))
            case _ if isinstance(layer, PaddedConv | ConvolutionLayer):
                pad = _padding(layer, axis)
                if pad is not None and max(pad.amounts) > 0:
                    arrangements.append(pad)
                conv = _convolution(layer, axis, weights, source.dtype, same_bits=not norms)
                stages.append(Stage(stages[-1] if stages else source, arrangements, conv))
                arrangements = []
            case PixelShuffle():
                stages[-1].after.append(arrangement_of(layer, axis, dims))
            case InstanceNorm() | nn.BatchNorm2d() | nn.BatchNorm3d():
                stages[-1].norm = SlabNorm(layer, source.ndim, weights, next(statistics, None))
            case nn.ReLU() | nn.LeakyReLU() | nn.Tanh():
                stages[-1].activation = layer
            case _:
                raise TypeError(f"a {type(layer).__name__} can't run in slabs")
    stages[-1].contiguous = layers.contiguous
    cut(stages, layers.slabs)
    return stages


def _flat(layers: Iterable[nn.Module]) -> Iterator[nn.Module]:
    for layer in layers:
        if isinstance(layer, nn.Sequential):
            yield from _flat(layer)
        else:
            yield layer


def _weights(layers: Iterable[nn.Module]) -> Iterator[Tensor]:
    """The weights of a stack as its layers use them, each with its bias.

    Where they are computed from parameters, as in spectral normalisation, this computes them once.
    """
    for layer in _flat(layers):
        owner = layer.conv if isinstance(layer, PaddedConv) else layer
        if isinstance(owner, ConvolutionLayer | BatchNorm):
            assert owner.bias is not None
            yield owner.weight
            yield owner.bias


def _padding(layer: PaddedConv | ConvolutionLayer, axis: int) -> Pad | None:
    """What surrounds a convolution's input, if that is a step of its own."""
    if isinstance(layer, PaddedConv):
        return Pad(axis, layer.amounts, layer.reflects)
    if isinstance(layer, nn.Conv2d | nn.Conv3d):
        return Pad(axis, tuple(map(int, layer.padding)), reflects=False)
    return None


def _convolution(
    layer: PaddedConv | ConvolutionLayer,
    axis: int,
    weights: Iterator[tuple[Tensor, bool]],
    dtype: torch.dtype | None,
    *,
    same_bits: bool,
) -> Convolution:
    (weight, of_weight), (bias, of_bias) = next(weights), next(weights)
    if dtype is not None:
        weight, bias = weight.to(dtype), bias.to(dtype)
    wanted = of_weight, of_bias
    if isinstance(layer, PaddedConv):
        layer = layer.conv
    if isinstance(layer, nn.Conv2d | nn.Conv3d):
        few = not same_bits and FewChannels.pays(weight, layer.stride, axis)
        return (FewChannels if few else Convolution)(axis, weight, bias, layer.stride, wanted)
    paddings = tuple(map(int, layer.padding))
    return TransposedConvolution(
        axis,
        weight,
        bias,
        layer.stride,
        wanted,
        paddings=paddings,
        output_paddings=tuple(layer.output_padding),
    )


def _forward(stages: list[Stage], *, kept: bool) -> Tensor:
    """The last stage's output; hidden tensors are dropped when the next one exists, or `kept`."""
    for number, stage in enumerate(stages):
        if not stage.wide:
            stage.fill()
            for earlier in stages[:number]:
                earlier.h = earlier.h if kept else None
        elif stage.norm is not None and not stage.norm.known:
            moments = stage.norm.moments()
            for rows in stage.slabs:
                moments.add(stage.convolved(rows), may_change=True)
            stage.norm.take(moments)
    return stages[-1].finish()


def _backward(stages: list[Stage], grad: Tensor) -> None:
    """Gathers the gradients of all weights and of the input, from the last stage to the first.

    Args:
        stages: with their statistics, and the output of the last one if it ends in tanh.
        grad: of the last one's output. It is not written into: it may be others' as well.
    """
    for stage in stages:
        # The last one's rows are needed once each, unless a norm sums over them first.
        if not stage.wide and stage.h is None and (stage is not stages[-1] or stage.needs_sums):
            stage.fill()
    stages[-1].gradient = grad
    for stage in reversed(stages):
        if not stage.needs_gradient:
            break
        if stage.wide:  # the stage behind it has passed it already
            continue
        if stage.needs_sums:
            stage.add_up_gradient()
        if stage.h is not None:
            stage.go_back_to_u()
        if isinstance(stage.source, Stage) and stage.source.wide:
            _backward_past_wide(stage, stage.source)
        else:
            _backward_to_whole(stage)
        stage.of_u = stage.gradient = None


def _backward_to_whole(stage: Stage) -> None:
    """From the gradient of a stage's output to that of its source, both whole."""
    for rows in stage.slabs:
        stage.pass_on(stage.gradient_from_whole(rows), rows)


def _backward_past_wide(stage: Stage, wide: Stage) -> None:
    """From the gradient of a stage's output to that of its source's source, both whole.

    A norm passes on the gradient of a row once it knows sums over those of all rows: these take a
    pass of their own.
    """
    two_passes = wide.needs_gradient and wide.needs_sums
    if two_passes:
        for _, of_y, h in _gradients_in_wide(stage, wide, of_weights=True):
            wide.add_to_sums(of_y, h)
            del of_y, h  # before the next ones are computed
    for rows, of_y, h in _gradients_in_wide(stage, wide, of_weights=not two_passes):
        of_u = wide.gradient_of_u(of_y, h)
        del of_y, h
        wide.pass_on(of_u, rows)
        del of_u


def _gradients_in_wide(
    stage: Stage, wide: Stage, *, of_weights: bool
) -> Iterator[tuple[range, Tensor, Tensor]]:
    """Rows of the wide one before a stage, one after the other, the gradient of y there, and h.

    Nothing comes where no gradient is asked for. Where slabs of the stage read the same row, their
    contributions add up: what a slab adds to rows that the next one reads as well is kept for it.

    Args:
        stage: the one behind the wide one.
        wide: the wide one.
        of_weights: whether to add to the gradients of the stage's weights.
    """
    axis = stage.axis
    rest: Tensor | None = None
    for rows, h in stage.windows():
        read = stage.reach(rows)
        z = h
        if of_weights or stage.of_u is None:
            # A norm needs h; for a ReLU's gradient, z is as good.
            z = wide.activated(h, may_change=wide.norm is None)
        of_u = stage.gradient_from_whole(rows, z)
        of_z = stage.gradient_of_source(of_u, z, rows, of_weights=of_weights)
        del z, of_u
        if of_z is None:
            del h
            continue
        if rest is not None:
            shared = min(rest.shape[axis], len(read))  # all, unless slabs between were left out
            of_z.narrow(axis, 0, shared).add_(rest.narrow(axis, 0, shared))
            rest = None
        end = stage.start_behind(rows)
        own = end - read.start
        if own < len(read):
            rest = of_z.narrow(axis, own, len(read) - own).clone()
            h, of_z = (x.narrow(axis, 0, own) for x in (h, of_z))
        if own == 0:  # the slab is thinner than what the next one shares with it
            del h, of_z
            continue
        found = [(range(read.start, end), wide.gradient_of_y(of_z, h), h)]
        del h, of_z
        yield found.pop()
