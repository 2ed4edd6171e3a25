"""Layers that see a neighbourhood only, run on some rows of an image or volume.

Rows are positions along one spatial axis, and `range(a, b)` names some of them. Some rows of a
layer's output depend on a few rows of its input: those rows and a halo. All layers here are
linear, so their backward pass needs no more than that either; where halos overlap, gradients add.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from revgan.networks.axes import scales_of
from revgan.networks.layers import CHANNELS_LAST, Geometry
from revgan.networks.resampling import PixelShuffle, PixelUnshuffle
from revgan.networks.resizing import Resize


@dataclass(frozen=True)
class Cut:
    """Where a layer runs.

    Attributes:
        axis: the tensors' axis that is cut, 2 or more.
        size: rows that the whole input has.
        source: rows of the input, as many as `rows` depend on.
        rows: rows of the output.
    """

    axis: int
    size: int
    source: range
    rows: range


class Local(ABC):
    """A layer whose output rows depend on the input rows near them."""

    @abstractmethod
    def size(self, size: int) -> int:
        """Rows of the whole output, along the axis that is cut."""

    @abstractmethod
    def reach(self, rows: range, size: int) -> range:
        """The rows of an input of `size` rows that these rows of the output depend on."""

    @abstractmethod
    def run(self, x: Tensor, cut: Cut) -> Tensor:
        """Computes `cut.rows` from x, which is `cut.source`."""


class Arrangement(Local):
    """A local layer without weights."""

    @abstractmethod
    def adjoint(self, grad: Tensor, cut: Cut) -> Tensor:
        """The gradient of `cut.source` from that of `cut.rows`; it may write into `grad`."""

    def room(self, x: Tensor, cut: Cut) -> Tensor:
        """What `run` returns, with any values."""
        return self.run(x, cut)


@dataclass(frozen=True)
class Pad(Arrangement):
    """Adds positions on every side; a slab is padded only where the image ends.

    If it mirrors, the layer behind it must be a convolution with kernels of sides
    ``2 * amount + 1``: each of its windows is centred in the image, and so contains what its
    padding mirrors, however thin the slab.

    Attributes:
        axis: the tensors' axis that is cut.
        amounts: positions before and behind each spatial axis.
        reflects: whether they mirror the border, or are zero.
    """

    axis: int
    amounts: tuple[int, ...]
    reflects: bool

    @property
    def _amount(self) -> int:
        return self.amounts[self.axis - 2]

    def size(self, size: int) -> int:
        return size + 2 * self._amount

    def reach(self, rows: range, size: int) -> range:
        return range(max(0, rows.start - self._amount), min(size, rows.stop - self._amount))

    def run(self, x: Tensor, cut: Cut) -> Tensor:
        # F.pad wants the last axis first.
        amounts = [side for axis in reversed(self._sides(cut)) for side in axis]
        return F.pad(x, amounts, mode="reflect" if self.reflects else "constant")

    def room(self, x: Tensor, cut: Cut) -> Tensor:
        sides = zip(x.shape[2:], self._sides(cut), strict=True)
        shape = [*x.shape[:2], *(size + before + after for size, (before, after) in sides)]
        layout = CHANNELS_LAST[x.ndim]
        return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)

    def adjoint(self, grad: Tensor, cut: Cut) -> Tensor:
        for axis, (before, after) in enumerate(self._sides(cut), start=2):
            inside = grad.narrow(axis, before, grad.shape[axis] - before - after)
            if self.reflects:  # row -i is row i, and row n - 1 + i is row n - 1 - i
                end = grad.shape[axis] - after
                first = grad.narrow(axis, 0, before).flip(axis)
                last = grad.narrow(axis, end, after).flip(axis)
                inside.narrow(axis, 1, before).add_(first)
                inside.narrow(axis, inside.shape[axis] - 1 - after, after).add_(last)
            grad = inside
        return grad

    def _sides(self, cut: Cut) -> list[tuple[int, int]]:
        """How much is added before and after, for each spatial axis."""
        sides = [(amount, amount) for amount in self.amounts]
        start, stop = cut.rows.start - self._amount, cut.rows.stop - self._amount
        sides[cut.axis - 2] = max(0, -start), max(0, stop - cut.size)
        return sides


@dataclass(frozen=True)
class Scaling(Arrangement):
    """What `PixelUnshuffle`, `PixelShuffle` and `Resize` have in common.

    Attributes:
        axis: the tensors' axis that is cut.
        scales: by what the layer multiplies or divides each spatial axis.
    """

    axis: int
    scales: tuple[int, ...]

    @property
    def _scale(self) -> int:
        return self.scales[self.axis - 2]


class Unshuffle(Scaling):
    """`PixelUnshuffle` on rows."""

    def size(self, size: int) -> int:
        return size // self._scale

    def reach(self, rows: range, size: int) -> range:
        return range(self._scale * rows.start, self._scale * rows.stop)

    def run(self, x: Tensor, cut: Cut) -> Tensor:
        return PixelUnshuffle(self.scales).forward(x)

    def adjoint(self, grad: Tensor, cut: Cut) -> Tensor:
        return PixelShuffle(self.scales).forward(grad)  # a permutation's inverse


class Shuffle(Scaling):
    """`PixelShuffle` on rows."""

    def size(self, size: int) -> int:
        return self._scale * size

    def reach(self, rows: range, size: int) -> range:
        return range(rows.start // self._scale, -(-rows.stop // self._scale))

    def run(self, x: Tensor, cut: Cut) -> Tensor:
        return _cropped(PixelShuffle(self.scales)(x), cut, self._scale * cut.source.start)

    def adjoint(self, grad: Tensor, cut: Cut) -> Tensor:
        start, length = self._scale * cut.source.start, self._scale * len(cut.source)
        return PixelUnshuffle(self.scales).forward(_uncropped(grad, cut, start, length))


@dataclass(frozen=True)
class Resizing(Scaling):
    """`Resize` on rows: each row of the output lies between two of the input, or on one.

    Attributes:
        layer: the layer.
    """

    layer: Resize

    def size(self, size: int) -> int:
        return self._scale * size

    def reach(self, rows: range, size: int) -> range:
        return self.layer.reach(rows, size, self._scale)

    def run(self, x: Tensor, cut: Cut) -> Tensor:
        return _cropped(self.layer(x), cut, self._scale * cut.source.start)

    def adjoint(self, grad: Tensor, cut: Cut) -> Tensor:
        start, length = self._scale * cut.source.start, self._scale * len(cut.source)
        grad = _uncropped(grad, cut, start, length)
        sizes = zip(grad.shape[2:], self.scales, strict=True)
        shape = *grad.shape[:2], *(size // scale for size, scale in sizes)
        return self.layer.adjoint(grad, shape)


def arrangement_of(layer: PixelUnshuffle | PixelShuffle | Resize, axis: int, dims: int) -> Scaling:
    """A layer on rows along one axis of tensors with so many spatial axes."""
    scales = scales_of(layer, dims)
    if isinstance(layer, Resize):
        return Resizing(axis, scales, layer)
    return (Unshuffle if isinstance(layer, PixelUnshuffle) else Shuffle)(axis, scales)


@dataclass(eq=False)
class Convolution(Local):
    """A convolution without padding, which adds up its weights' gradients over slabs.

    Attributes:
        axis: the tensors' axis that is cut.
        weight, bias: in the type to compute in.
        strides: along each spatial axis.
        wanted: whether the gradients of weight and bias are.
        gradients: of weight and bias so far, in 32 bits or more.
    """

    axis: int
    weight: Tensor
    bias: Tensor
    strides: tuple[int, ...]
    wanted: tuple[bool, bool] = (False, False)
    gradients: list[Tensor | None] = field(default_factory=lambda: [None, None])

    @property
    def kernel(self) -> int:
        """The side of the kernel along the axis that is cut."""
        return self.weight.shape[self.axis]

    @property
    def stride(self) -> int:
        """The stride there."""
        return self.strides[self.axis - 2]

    def size(self, size: int) -> int:
        return (size - self.kernel) // self.stride + 1

    def reach(self, rows: range, size: int) -> range:
        return range(self.stride * rows.start, self.stride * (rows.stop - 1) + self.kernel)

    def run(self, x: Tensor, cut: Cut) -> Tensor:
        return torch.convolution(x, self.weight, self.bias, *self.geometry)

    def followed_by(self, shift: Tensor, scale: Tensor) -> Convolution:
        """One that computes ``(output + shift) * scale``, both with a number a channel."""
        shape = [1] * self.weight.ndim
        shape[self._out_axis] = -1
        weight, bias = self.weight * scale.view(shape), (self.bias + shift) * scale
        return replace(self, weight=weight, bias=bias, wanted=(False, False))

    @property
    def _out_axis(self) -> int:
        """The weight's axis of output channels."""
        return 0

    def backward(
        self, grad: Tensor, x: Tensor, cut: Cut, *, of_input: bool, of_weights: bool
    ) -> Tensor | None:
        """The gradient of `cut.source`; those of weight and bias are added to `gradients`.

        Args:
            grad: of `cut.rows`.
            x: the input's rows; without `of_weights`, their values don't matter.
            cut: where the layer runs.
            of_input: whether the input's gradient is asked for.
            of_weights: whether those of weight and bias are, if `wanted`.
        """
        mask = [of_input, *(of_weights and wanted for wanted in self.wanted)]
        if not any(mask):
            return None
        # A slab cut from a larger tensor has its strides, which oneDNN has no quick kernel for.
        grad = grad.to(self.weight.dtype).contiguous(memory_format=CHANNELS_LAST[grad.ndim])
        grad_x: Tensor | None
        grad_x, *of_slab = torch.ops.aten.convolution_backward(
            grad, x, self.weight, [len(self.bias)], *self.geometry, mask
        )
        for i, part in enumerate(of_slab):
            if part is not None:
                self.add_gradient(i, part)
        return grad_x

    def add_gradient(self, i: int, part: Tensor) -> None:
        """Adds what a slab contributes to the gradient of the weight (0) or of the bias (1)."""
        so_far = self.gradients[i]
        single = part.to(torch.promote_types(part.dtype, torch.float32))
        self.gradients[i] = single if so_far is None else so_far.add_(single)

    @property
    def geometry(self) -> Geometry:
        """What PyTorch's operator takes besides tensors."""
        zeros, ones = (0,) * len(self.strides), (1,) * len(self.strides)
        return self.strides, zeros, ones, False, zeros, 1


@dataclass(eq=False)
class TransposedConvolution(Convolution):
    """A fractionally strided convolution: input row i adds to the `kernel` rows from stride * i on.

    Attributes:
        paddings: along each spatial axis, positions that the output lacks at its start and end.
        output_paddings: positions that its end keeps all the same.
    """

    paddings: tuple[int, ...] = ()
    output_paddings: tuple[int, ...] = ()

    @property
    def _out_axis(self) -> int:
        return 1

    @property
    def padding(self) -> int:
        """Along the axis that is cut."""
        return self.paddings[self.axis - 2]

    @property
    def output_padding(self) -> int:
        """Along the axis that is cut."""
        return self.output_paddings[self.axis - 2]

    def size(self, size: int) -> int:
        rows = self.stride * (size - 1) + self.kernel
        return rows - 2 * self.padding + self.output_padding

    def reach(self, rows: range, size: int) -> range:
        start, stop = rows.start + self.padding, rows.stop + self.padding
        first, last = -((self.kernel - 1 - start) // self.stride), (stop - 1) // self.stride
        return range(max(0, first), min(size, last + 1))

    def run(self, x: Tensor, cut: Cut) -> Tensor:
        return _cropped(super().run(x, cut), cut, self.stride * cut.source.start)

    def backward(
        self, grad: Tensor, x: Tensor, cut: Cut, *, of_input: bool, of_weights: bool
    ) -> Tensor | None:
        start, length = self.stride * cut.source.start, self.size(len(cut.source))
        grad = _uncropped(grad, cut, start, length)
        return super().backward(grad, x, cut, of_input=of_input, of_weights=of_weights)

    @property
    def geometry(self) -> Geometry:
        """What PyTorch's operator takes besides tensors."""
        ones = (1,) * len(self.strides)
        return self.strides, self.paddings, ones, True, self.output_paddings, 1


def _cropped(y: Tensor, cut: Cut, start: int) -> Tensor:
    """The rows that are asked for, of an output that has all from `start` on."""
    return y.narrow(cut.axis, cut.rows.start - start, len(cut.rows))


def _uncropped(grad: Tensor, cut: Cut, start: int, length: int) -> Tensor:
    """The gradient of `length` rows from `start` on: zero but for those asked for."""
    before = cut.rows.start - start
    after = length - before - len(cut.rows)
    if not before and not after:
        return grad
    behind = grad.ndim - 1 - cut.axis  # F.pad wants the last axis first
    return F.pad(grad, [0, 0] * behind + [before, after])
