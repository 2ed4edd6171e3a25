"""An encoder or decoder as stages, each of which computes rows from rows of the one before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor, nn

from revgan.networks.layers import BatchNorm, InstanceNorm, PaddedConv
from revgan.networks.resampling import PixelShuffle, PixelUnshuffle, Resize
from revgan.networks.rows import (
    Arrangement,
    Convolution,
    Cut,
    Pad,
    Resizing,
    Shuffle,
    TransposedConvolution,
    Unshuffle,
)
from revgan.networks.statistics import SlabNorm, Statistics


@dataclass(eq=False)
class Input:
    """What the first stage reads.

    Attributes:
        parts: (B, C, *spatial), which stand for their concatenation along the channels.
        axis: the one that is cut.
        dtype: what autocast computes in, if it is on.
        needs_gradient: whether a part's gradient is asked for.
        gradients: of the parts, so far.
    """

    parts: Sequence[Tensor]
    axis: int
    dtype: torch.dtype | None
    needs_gradient: bool = False
    gradients: list[Tensor] = field(default_factory=list)

    @property
    def ndim(self) -> int:
        """How many axes the parts have."""
        return self.parts[0].ndim

    @property
    def size(self) -> int:
        """How many rows there are."""
        return self.parts[0].shape[self.axis]

    def read(self, rows: range) -> Tensor:
        """Some rows."""
        parts = [narrow(part, self.axis, rows) for part in self.parts]
        x = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return x if self.dtype is None else x.to(self.dtype)

    def add_gradient(self, grad: Tensor, rows: range) -> None:
        """Adds to the gradients of some rows."""
        if not self.gradients:
            self.gradients = [torch.zeros_like(part) for part in self.parts]
        channels = [part.shape[1] for part in self.parts]
        for total, part in zip(self.gradients, grad.split(channels, dim=1), strict=True):
            narrow(total, self.axis, rows).add_(part)


@dataclass(eq=False)
class Stage:
    """A convolution with all that belongs to it: u, h and z of `revgan.networks.slabs`.

    Attributes:
        source: what it reads.
        before: what rearranges the convolution's input.
        conv: the convolution.
        after: what rearranges its output.
        norm: normalises that, if anything does.
        activation: ends the stage, if there is one.
        slabs: rows of the output, by which to compute them.
        full: whether the output has as many rows as anything here.
        wide: whether it is hidden as well: then it never exists whole.
        h: whole, while it exists.
        output: z, whole, if the activation is tanh, which no norm comes before.
        gradient: of z, whole, while it exists.
    """

    source: Input | Stage
    before: list[Arrangement]
    conv: Convolution
    after: list[Arrangement] = field(default_factory=list)
    norm: SlabNorm | None = None
    activation: nn.ReLU | nn.Tanh | None = None
    slabs: list[range] = field(default_factory=list)
    full: bool = False
    wide: bool = False
    h: Tensor | None = None
    output: Tensor | None = None
    gradient: Tensor | None = None

    @cached_property
    def axis(self) -> int:
        """The axis that is cut."""
        return self.source.axis

    @cached_property
    def size(self) -> int:
        """How many rows the output has."""
        size = self.source.size
        for layer in self._layers:
            size = layer.size(size)
        return size

    @cached_property
    def needs_gradient(self) -> bool:
        """Whether a weight's gradient is asked for, here or in a stage before, or the input's."""
        of_norm = self.norm is not None and self.norm.wanted
        return any(self.conv.wanted) or of_norm or self.source.needs_gradient

    @cached_property
    def _layers(self) -> list[Arrangement | Convolution]:
        return [*self.before, self.conv, *self.after]

    def cuts(self, rows: range) -> list[Cut]:
        """Where each layer runs to compute some rows."""
        sizes = [self.source.size]
        for layer in self._layers[:-1]:
            sizes.append(layer.size(sizes[-1]))
        cuts: list[Cut] = []
        for layer, size in zip(reversed(self._layers), reversed(sizes), strict=True):
            cuts.insert(0, Cut(self.axis, size, layer.reach(rows, size), rows))
            rows = cuts[0].source
        return cuts

    def reach(self, rows: range) -> range:
        """The rows of the source that some rows depend on."""
        return self.cuts(rows)[0].source

    def convolved(self, rows: range) -> Tensor:
        """Some rows of u."""
        x = self.source.read(self.reach(rows))
        for layer, cut in zip(self._layers, self.cuts(rows), strict=True):
            x = layer.run(x, cut)
        return x

    def normalised(self, rows: range) -> Tensor:
        """Some rows of h."""
        if self.h is not None:
            return narrow(self.h, self.axis, rows)
        u = self.convolved(rows)
        return u if self.norm is None else self.norm.normalised(u)

    def activated(self, h: Tensor) -> Tensor:
        """The rows of z from those of h."""
        y = h if self.norm is None else self.norm.scaled(h)
        match self.activation:  # not in place, as y may be a part of h
            case nn.ReLU():
                return y.relu()
            case nn.Tanh():
                return y.tanh()
            case None:
                return y

    def read(self, rows: range) -> Tensor:
        """Some rows of z."""
        return self.activated(self.normalised(rows))

    def gradient_of_y(self, grad: Tensor, h: Tensor) -> Tensor:
        """The gradient of what a ReLU takes, from that of z and from h, the same rows of all."""
        if self.activation is None:
            return grad
        y = h if self.norm is None else self.norm.scaled(h)
        of_y: Tensor = torch.ops.aten.threshold_backward(grad, y, 0)
        return of_y

    def gradient_of_u(self, rows: range) -> Tensor:
        """Some rows of it, from the gradient of z, which is whole."""
        assert self.gradient is not None
        grad = narrow(self.gradient, self.axis, rows)
        if self.output is not None:
            output = narrow(self.output, self.axis, rows)
            of_u: Tensor = torch.ops.aten.tanh_backward(grad, output)
            return of_u
        if self.activation is None:
            return grad
        h = self.normalised(rows)
        grad = self.gradient_of_y(grad, h)
        return grad if self.norm is None else self.norm.gradient(grad, h, self.axis, len(rows))

    def gradient_of_source(
        self, grad: Tensor, x: Tensor, rows: range, *, of_weights: bool
    ) -> Tensor | None:
        """What these rows contribute to the gradient of the rows that they are computed from.

        The gradients of the convolution's weights are added up there.

        Args:
            grad: of the rows of u.
            x: the rows that are read, `reach(rows)`; without `of_weights`, any values will do.
            rows: of u.
            of_weights: whether to add to the weights' gradients.

        Returns:
            None where no gradient is asked for further down.
        """
        cuts = self.cuts(rows)
        before, at = cuts[: len(self.before)], cuts[len(self.before)]
        after = cuts[len(self.before) + 1 :]
        for arrangement, cut in zip(self.before, before, strict=True):
            x = arrangement.run(x, cut)
        for arrangement, cut in zip(reversed(self.after), reversed(after), strict=True):
            grad = arrangement.adjoint(grad, cut)
        of_source = self.conv.backward(
            grad, x, at, of_input=self.source.needs_gradient, of_weights=of_weights
        )
        del x, grad
        if of_source is None:
            return None
        for arrangement, cut in zip(reversed(self.before), reversed(before), strict=True):
            of_source = arrangement.adjoint(of_source, cut)
        return of_source

    def add_gradient(self, grad: Tensor, rows: range) -> None:
        """Adds to the gradient of some rows of z, where h is whole."""
        assert self.h is not None
        if self.gradient is None:
            self.gradient = torch.zeros_like(self.h)
        narrow(self.gradient, self.axis, rows).add_(grad)

    @property
    def gradients(self) -> list[Tensor | None]:
        """Of the weights, in their order."""
        return [*self.conv.gradients, *([] if self.norm is None else self.norm.gradients)]


def build_stages(
    layers: Iterable[nn.Module],
    source: Input,
    weights: Iterable[tuple[Tensor, bool]],
    slabs: int,
    statistics: Iterable[Statistics] = (),
) -> list[Stage]:
    """The stages of an encoder or decoder.

    Args:
        layers: its layers, as `revgan.networks.parts` makes them.
        source: its input.
        weights: its weights in the order of `parameters()`, and whether gradients are asked for.
        slabs: how many at full resolution.
        statistics: of each norm, where they are known.

    Raises:
        TypeError: there is a layer that can't run in slabs.
    """
    weights, statistics = iter(weights), iter(statistics)
    stages: list[Stage] = []
    arrangements: list[Arrangement] = []  # before the next convolution
    for layer in _flat(layers):
        match layer:
            case PixelUnshuffle():
                arrangements.append(Unshuffle())
            case Resize():
                arrangements.append(Resizing(layer))
            case PaddedConv() | nn.ConvTranspose2d() | nn.ConvTranspose3d():
                if isinstance(layer, PaddedConv) and max(layer.padding) > 0:
                    arrangements.append(Pad(layer.padding[0], layer.reflects))
                conv = _convolution(layer, weights, source.dtype)
                stages.append(Stage(stages[-1] if stages else source, arrangements, conv))
                arrangements = []
            case PixelShuffle():
                stages[-1].after.append(Shuffle())
            case InstanceNorm() | nn.BatchNorm2d() | nn.BatchNorm3d():
                stages[-1].norm = SlabNorm(layer, source.ndim, weights, next(statistics, None))
            case nn.ReLU() | nn.Tanh():
                stages[-1].activation = layer
            case _:
                raise TypeError(f"a {type(layer).__name__} can't run in slabs")
    _cut(stages, source, slabs)
    return stages


def _flat(layers: Iterable[nn.Module]) -> Iterator[nn.Module]:
    for layer in layers:
        if isinstance(layer, nn.Sequential):
            yield from _flat(layer)
        else:
            yield layer


def _convolution(
    layer: PaddedConv | nn.ConvTranspose2d | nn.ConvTranspose3d,
    weights: Iterator[tuple[Tensor, bool]],
    dtype: torch.dtype | None,
) -> Convolution:
    (weight, of_weight), (bias, of_bias) = next(weights), next(weights)
    if dtype is not None:
        weight, bias = weight.to(dtype), bias.to(dtype)
    wanted = of_weight, of_bias
    if isinstance(layer, PaddedConv):
        return Convolution(weight, bias, layer.conv.stride[0], wanted)
    padding, output_padding = layer.padding[0], layer.output_padding[0]
    return TransposedConvolution(
        weight, bias, layer.stride[0], wanted, padding=padding, output_padding=output_padding
    )


def _cut(stages: list[Stage], source: Input, slabs: int) -> None:
    """Cuts all stages into slabs of about as many rows as those of full resolution have."""
    full_size = max(tensor.size for tensor in (source, *stages))
    thickness = -(-full_size // slabs)
    for stage in stages:
        stage.full = stage.size == full_size
        stage.wide = stage.full and stage is not stages[-1]
        count = min(stage.size, -(-max(stage.size, stage.source.size) // thickness))
        bounds = [stage.size * i // count for i in range(count + 1)]
        stage.slabs = [range(*ends) for ends in pairwise(bounds)]


def narrow(x: Tensor, axis: int, rows: range) -> Tensor:
    """Some rows of x, as a view."""
    return x.narrow(axis, rows.start, len(rows))
