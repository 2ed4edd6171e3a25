"""Enlarging by interpolation, and convolving what is enlarged a part at a time."""

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revgan.networks.axes import scales_of
from revgan.networks.layers import (
    CHANNELS_LAST,
    PaddedConv,
    autocast_dtype,
    reflected,
    unreflected,
)
from revgan.reversible.modules import has_hooks
from revgan.reversible.tracing import plain_only

PIECE = 2**23
"""Bytes of enlarged rows that are worth a part of their own: smaller ones cost too much time."""

THINNEST = 16
"""Rows of the thinnest part: of fewer, the halo would count, and convolutions may be slow."""

MOST = 32
"""Parts, more of which would save hardly anything."""

GROUP = 128
"""Bytes of a group of channels: convolutions take longer with fewer, channel for channel."""


class Resize(nn.Module):
    """Enlarges by interpolation.

    Args:
        bilinear: whether to take the weighted mean of neighbours (trilinear for volumes), or the
            nearest one.
        scales: by what each axis is multiplied; None for 2.
    """

    def __init__(self, *, bilinear: bool, scales: Sequence[int] | None = None) -> None:
        super().__init__()
        self.bilinear = bilinear
        self.scales = scales

    def forward(self, x: Tensor) -> Tensor:
        mode = ("bilinear" if x.ndim == 4 else "trilinear") if self.bilinear else "nearest"
        return F.interpolate(x, scale_factor=scales_of(self, x.ndim - 2), mode=mode)

    def extra_repr(self) -> str:
        return f"bilinear={self.bilinear}"

    def reach(self, rows: range, size: int, scale: int) -> range:
        """The rows of the input that some rows of the output depend on.

        Args:
            rows: which, along one axis.
            size: how many the input has there.
            scale: by what the axis is multiplied.
        """
        if scale == 1:
            return rows
        if not self.bilinear:
            return range(rows.start // scale, -(-rows.stop // scale))
        # Rows 2i and 2i + 1 lie at i - 1/4 and i + 1/4.
        return range(max(0, (rows.start - 1) // scale), min(size, rows.stop // scale + 1))

    def adjoint(self, grad: Tensor, shape: Sequence[int]) -> Tensor:
        """The gradient of an input of some shape, from that of the output."""
        dims, aten = grad.ndim - 2, torch.ops.aten
        corners: list[Any] = []
        if self.bilinear:
            images, volumes = aten.upsample_bilinear2d_backward, aten.upsample_trilinear3d_backward
            corners = [False]
        else:
            images, volumes = aten.upsample_nearest2d_backward, aten.upsample_nearest3d_backward
        backward = images if dims == 2 else volumes
        scales = map(float, scales_of(self, dims))
        x: Tensor = backward(grad, grad.shape[2:], shape, *corners, *scales)
        return x


class ResizeConv(nn.Sequential):
    """A convolution of an enlarged input, which never exists whole where it is large.

    It computes what its layers compute one after the other: forwards the same bits, some rows at a
    time. For the backward pass, it keeps the small input alone, and enlarges some of its channels
    at a time: the gradients of some channels, and of the weights that these meet, depend on no
    other channels. Where gradients are differentiated again, the enlarged input exists whole.

    Args:
        resize: what enlarges.
        conv: the convolution at stride 1, with reflection padding.

    Shapes: (B, C, *spatial) to (B, C', *enlarged).
    """

    def __init__(self, resize: Resize, conv: PaddedConv) -> None:
        super().__init__(resize, conv)

    @property
    def resize(self) -> Resize:
        """What enlarges."""
        return cast(Resize, self[0])

    @property
    def conv(self) -> PaddedConv:
        """What convolves."""
        return cast(PaddedConv, self[1])

    def scales(self, x: Tensor) -> tuple[int, ...]:
        """By what each axis of an input is multiplied."""
        return scales_of(self.resize, x.ndim - 2)

    def forward(self, x: Tensor) -> Tensor:
        # Graphs have plain operators; hooks, and layers in the place of ours, want to be called.
        if plain_only() or type(self[1]) is not PaddedConv or any(map(has_hooks, self)):
            y: Tensor = self[1](self[0](x))
            return y
        weight, bias, dtype = self.conv.conv.weight, self.conv.conv.bias, autocast_dtype(x)
        assert bias is not None
        if dtype is None:
            return self._run(x, weight, bias)
        if x.device.type == "cpu":  # where autocast interpolates in 32 bits
            x = x.float()
        with torch.autocast(x.device.type, enabled=False):
            return self._run(x, weight.to(dtype), bias.to(dtype))

    def _run(self, *inputs: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return _convolved(self, *inputs)
        # Function.apply has no types in PyTorch.
        return _ResizeConv.apply(self, *inputs)  # type: ignore[no-untyped-call]


class _ResizeConv(torch.autograd.Function):
    """Enlarging, padding and convolution as one node that keeps the input."""

    @staticmethod
    def forward(ctx: Any, layers: ResizeConv, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.layers = layers
        ctx.save_for_backward(x, weight)
        return _convolved(layers, x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            return None, *_gradients(ctx.layers, grad, x, weight, ctx.needs_input_grad[1:])


def _convolved(layers: ResizeConv, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The output, some rows at a time: the same bits in any number of parts."""
    resize, conv, scale, size = layers.resize, layers.conv, layers.scales(x)[0], x.shape[2]
    amount, layout = conv.amounts[0], _layout(x)
    y: Tensor | None = None
    for rows in _parts(layers, x, weight):
        first, end = rows.start - amount, rows.stop + amount
        before, after = max(0, -first), max(0, end - scale * size)
        seen = range(first + before, end - after)
        source = resize.reach(seen, size, scale)
        part = x.narrow(2, source.start, len(source))
        wide = resize(part.contiguous(memory_format=layout)).to(weight.dtype)
        wide = wide.narrow(2, seen.start - scale * source.start, len(seen))
        wide = reflected(wide, [*conv.padding[:-2], before, after])
        part = torch.convolution(wide, weight, bias, *conv.geometry)
        del wide
        if len(rows) == scale * size:
            return part
        if y is None:
            shape = [*part.shape[:2], scale * size, *part.shape[3:]]
            y = _room(shape, part)
        y.narrow(2, rows.start, len(rows)).copy_(part)
        del part
    assert y is not None
    return y


def _parts(layers: ResizeConv, x: Tensor, weight: Tensor) -> Iterable[range]:
    """Rows of the output to compute at a time."""
    size = layers.scales(x)[0] * x.shape[2]
    count = max(1, min(_enlarged_bytes(layers, x, weight) // PIECE, size // THINNEST, MOST))
    ends = [size * number // count for number in range(count + 1)]
    return map(range, ends, ends[1:])


def _enlarged_bytes(layers: ResizeConv, x: Tensor, weight: Tensor) -> int:
    return x.numel() * prod(layers.scales(x)) * weight.itemsize


def _gradients(
    layers: ResizeConv, grad: Tensor, x: Tensor, weight: Tensor, wanted: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """The gradients of input, weight and bias, each if it is wanted."""
    of_x, of_weight, of_bias = wanted
    if not (of_x or of_weight):
        return None, None, grad.sum([0, *range(2, grad.ndim)]) if of_bias else None
    # Plain operators alone, where gradients are to be differentiated again.
    if _enlarged_bytes(layers, x, weight) < 2 * PIECE or torch.is_grad_enabled():
        return _gradients_of_group(layers, grad, x, weight, wanted)
    grad = grad.contiguous(memory_format=_layout(x))  # else it might be copied for each group
    all_x = torch.empty_like(x) if of_x else None
    all_weight = torch.empty_like(weight) if of_weight else None
    of_bias_once: Tensor | None = None
    step = GROUP // weight.itemsize
    for start in range(0, x.shape[1], step):
        channels = slice(start, start + step)
        some_x, some = (t[:, channels].contiguous(memory_format=_layout(t)) for t in (x, weight))
        mask = of_x, of_weight, of_bias and start == 0
        new_x, new_weight, new_bias = _gradients_of_group(layers, grad, some_x, some, mask)
        for whole, new in ((all_x, new_x), (all_weight, new_weight)):
            if whole is not None and new is not None:
                whole[:, channels] = new
        del some_x, some, new_x, new_weight, new  # before there are the next ones
        of_bias_once = new_bias if start == 0 else of_bias_once
    return all_x, all_weight, of_bias_once


def _gradients_of_group(
    layers: ResizeConv, grad: Tensor, x: Tensor, weight: Tensor, wanted: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    resize, conv = layers.resize, layers.conv
    if wanted[1]:
        wide = reflected(resize(x).to(weight.dtype), conv.padding)
    else:  # its numbers don't matter
        sizes = zip(x.shape[2:], layers.scales(x), conv.amounts, strict=True)
        wide = _room([*x.shape[:2], *(n * scale + 2 * amount for n, scale, amount in sizes)], grad)
    grad_wide, *others = torch.ops.aten.convolution_backward(
        grad, wide, weight, [len(weight)], *conv.geometry, wanted
    )
    del wide
    if grad_wide is None:
        return None, *others
    inside = grad_wide.detach()  # for its shape and layout
    for axis, amount in enumerate(conv.amounts, start=2):
        inside = inside.narrow(axis, amount, inside.shape[axis] - 2 * amount)
    enlarged = unreflected(grad_wide, inside, conv.padding)
    del grad_wide, inside
    return resize.adjoint(enlarged.to(x.dtype), x.shape), *others


def _room(shape: Sequence[int], like: Tensor) -> Tensor:
    """A tensor of another one's type and layout."""
    layout = _layout(like)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)


def _layout(x: Tensor) -> torch.memory_format:
    last = CHANNELS_LAST[x.ndim]
    return last if x.is_contiguous(memory_format=last) else torch.contiguous_format
