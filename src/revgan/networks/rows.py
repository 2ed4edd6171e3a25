"""Layers that see a neighbourhood only, run on some rows of an image or volume.

Rows are positions along one spatial axis, and `range(a, b)` names some of them. Some rows of a
layer's output depend on a few rows of its input: those rows and a halo. All layers here are
linear, so their backward pass needs no more than that either; where halos overlap, gradients add.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from revgan.networks.layers import Geometry
from revgan.networks.resampling import SCALE, PixelShuffle, PixelUnshuffle, Resize

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The layout of (B, C, *spatial) that the networks' layers are fastest in, by number of axes."""


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
        """Rows of the whole output, along any axis."""

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


@dataclass(frozen=True)
class Pad(Arrangement):
    """Adds `amount` positions on every side; a slab is padded only where the image ends.

    The layer behind it must be a convolution with a kernel of side ``2 * amount + 1``: each of its
    windows is centred in the image, and so contains what its padding mirrors, however thin the
    slab.
    """

    amount: int
    reflects: bool

    def size(self, size: int) -> int:
        return size + 2 * self.amount

    def reach(self, rows: range, size: int) -> range:
        return range(max(0, rows.start - self.amount), min(size, rows.stop - self.amount))

    def run(self, x: Tensor, cut: Cut) -> Tensor:
        # F.pad wants the last axis first.
        amounts = [side for axis in reversed(self._sides(x, cut)) for side in axis]
        return F.pad(x, amounts, mode="reflect" if self.reflects else "constant")

    def adjoint(self, grad: Tensor, cut: Cut) -> Tensor:
        for axis, (before, after) in enumerate(self._sides(grad, cut), start=2):
            inside = grad.narrow(axis, before, grad.shape[axis] - before - after)
            if self.reflects:  # row -i is row i, and row n - 1 + i is row n - 1 - i
                end = grad.shape[axis] - after
                first = grad.narrow(axis, 0, before).flip(axis)
                last = grad.narrow(axis, end, after).flip(axis)
                inside.narrow(axis, 1, before).add_(first)
                inside.narrow(axis, inside.shape[axis] - 1 - after, after).add_(last)
            grad = inside
        return grad

    def _sides(self, x: Tensor, cut: Cut) -> list[tuple[int, int]]:
        """How much is added before and after, for each spatial axis."""
        sides = [(self.amount, self.amount)] * (x.ndim - 2)
        start, stop = cut.rows.start - self.amount, cut.rows.stop - self.amount
        sides[cut.axis - 2] = max(0, -start), max(0, stop - cut.size)
        return sides


class Unshuffle(Arrangement):
    """`PixelUnshuffle` on rows."""

    def size(self, size: int) -> int:
        return size // SCALE

    def reach(self, rows: range, size: int) -> range:
        return range(SCALE * rows.start, SCALE * rows.stop)

    def run(self, x: Tensor, cut: Cut) -> Tensor:
        return PixelUnshuffle().forward(x)

    def adjoint(self, grad: Tensor, cut: Cut) -> Tensor:
        return PixelShuffle().forward(grad)  # a permutation's inverse


class Shuffle(Arrangement):
    """`PixelShuffle` on rows."""

    def size(self, size: int) -> int:
        return SCALE * size

    def reach(self, rows: range, size: int) -> range:
        return range(rows.start // SCALE, -(-rows.stop // SCALE))

    def run(self, x: Tensor, cut: Cut) -> Tensor:
        return _cropped(PixelShuffle()(x), cut, SCALE * cut.source.start)

    def adjoint(self, grad: Tensor, cut: Cut) -> Tensor:
        start, length = SCALE * cut.source.start, SCALE * len(cut.source)
        return PixelUnshuffle().forward(_uncropped(grad, cut, start, length))


@dataclass(frozen=True)
class Resizing(Arrangement):
    """`Resize` on rows: each row of the output lies between two of the input, or on one."""

    layer: Resize

    def size(self, size: int) -> int:
        return SCALE * size

    def reach(self, rows: range, size: int) -> range:
        if not self.layer.bilinear:
            return range(rows.start // SCALE, -(-rows.stop // SCALE))
        # Rows 2i and 2i + 1 lie at i - 1/4 and i + 1/4.
        return range(max(0, (rows.start - 1) // SCALE), min(size, rows.stop // SCALE + 1))

    def run(self, x: Tensor, cut: Cut) -> Tensor:
        return _cropped(self.layer(x), cut, SCALE * cut.source.start)

    def adjoint(self, grad: Tensor, cut: Cut) -> Tensor:
        shape = [size // SCALE for size in grad.shape[2:]]
        shape[cut.axis - 2] = len(cut.source)
        x = grad.new_empty(*grad.shape[:2], *shape).requires_grad_()
        with torch.enable_grad():
            y = self.run(x, cut)
        return torch.autograd.grad(y, x, grad)[0]


@dataclass(eq=False)
class Convolution(Local):
    """A convolution without padding, which adds up its weights' gradients over slabs.

    Attributes:
        weight, bias: in the type to compute in.
        stride: along every axis.
        wanted: whether the gradients of weight and bias are.
        gradients: of weight and bias so far, in 32 bits or more.
    """

    weight: Tensor
    bias: Tensor
    stride: int
    wanted: tuple[bool, bool] = (False, False)
    gradients: list[Tensor | None] = field(default_factory=lambda: [None, None])

    @property
    def kernel(self) -> int:
        """The side of the kernel."""
        return self.weight.shape[-1]

    def size(self, size: int) -> int:
        return (size - self.kernel) // self.stride + 1

    def reach(self, rows: range, size: int) -> range:
        return range(self.stride * rows.start, self.stride * (rows.stop - 1) + self.kernel)

    def run(self, x: Tensor, cut: Cut) -> Tensor:
        return torch.convolution(x, self.weight, self.bias, *self._geometry())

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
            grad, x, self.weight, [len(self.bias)], *self._geometry(), mask
        )
        for i, part in enumerate(of_slab):
            if part is not None:
                so_far = self.gradients[i]
                single = part.to(torch.promote_types(part.dtype, torch.float32))
                self.gradients[i] = single if so_far is None else so_far.add_(single)
        return grad_x

    def _geometry(self) -> Geometry:
        dims = self.weight.ndim - 2
        zeros, ones = (0,) * dims, (1,) * dims
        return (self.stride,) * dims, zeros, ones, False, zeros, 1


@dataclass(eq=False)
class TransposedConvolution(Convolution):
    """A fractionally strided convolution: input row i adds to the `kernel` rows from stride * i on.

    Attributes:
        padding: rows that the output lacks at its start and end.
        output_padding: rows that its end keeps all the same.
    """

    padding: int = 0
    output_padding: int = 0

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

    def _geometry(self) -> Geometry:
        dims = self.weight.ndim - 2
        padding, output_padding = (self.padding,) * dims, (self.output_padding,) * dims
        return (self.stride,) * dims, padding, (1,) * dims, True, output_padding, 1


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
