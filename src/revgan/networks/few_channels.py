"""A convolution to the few channels of an image, on some rows, as quick as one to many."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from revgan.networks.layers import CHANNELS_LAST
from revgan.networks.rows import Convolution, Cut


@dataclass(eq=False)
class FewChannels(Convolution):
    """A convolution to few channels, as that to the image, two to three times as quick on a CPU.

    PyTorch's kernels compute 8 or 16 output channels at a time, however few there are. So each
    position i along one axis of the kernel, not the cut one, gets output channels of its own, which
    a thinner kernel computes; the sum of them, moved by i each, is the output. It is the same
    arithmetic in another order.
    """

    @classmethod
    def pays(cls, weight: Tensor, strides: tuple[int, ...], axis: int) -> bool:
        """Whether it is quicker, for a weight (out, in, *kernel)."""
        spread = cls._axis_spread(axis)
        on_cpu = weight.device.type == "cpu" and weight.itemsize >= 4
        return on_cpu and len(weight) <= 4 <= weight.shape[spread] and strides[spread - 2] == 1

    @staticmethod
    def _axis_spread(axis: int) -> int:
        """The axis whose kernel positions become channels, in weights and tensors alike."""
        return 3 if axis == 2 else 2

    @cached_property
    def _spread(self) -> Tensor:
        """The thinner kernel: (positions * out, in, ...), with size 1 along the axis."""
        axis = self._axis_spread(self.axis)
        thin = self.weight.movedim(axis, 0).flatten(0, 1).unsqueeze(axis)
        return thin.contiguous(memory_format=CHANNELS_LAST[thin.ndim])

    def _moved(self, spread: Tensor) -> Iterator[Tensor]:
        """Of a tensor with the thinner kernel's channels, what belongs to each output position."""
        axis, out = self._axis_spread(self.axis), len(self.weight)
        positions = self.weight.shape[axis]
        size = spread.shape[axis] - positions + 1
        for i in range(positions):
            yield spread.narrow(1, i * out, out).narrow(axis, i, size)

    def run(self, x: Tensor, cut: Cut) -> Tensor:
        parts = self._moved(torch.convolution(x, self._spread, None, *self.geometry))
        y = next(parts) + self.bias.view(-1, *[1] * len(self.strides))
        for part in parts:
            y += part
        return y

    def backward(
        self, grad: Tensor, x: Tensor, cut: Cut, *, of_input: bool, of_weights: bool
    ) -> Tensor | None:
        if of_weights and self.wanted[0]:
            self.add_gradient(0, self._of_weight(grad, x))
        if of_weights and self.wanted[1]:
            self.add_gradient(1, grad.sum([0, *range(2, grad.ndim)]))
        return super().backward(grad, x, cut, of_input=of_input, of_weights=False)

    def _of_weight(self, grad: Tensor, x: Tensor) -> Tensor:
        axis, weight = self._axis_spread(self.axis), self._spread
        shape = [len(grad), len(weight), *grad.shape[2:]]
        shape[axis] = x.shape[axis]
        layout = CHANNELS_LAST[grad.ndim]
        spread = torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=layout)
        for part in self._moved(spread.zero_()):
            part.copy_(grad)
        mask = [False, True, False]
        geometry = self.geometry
        _, found, _ = torch.ops.aten.convolution_backward(spread, x, weight, None, *geometry, mask)
        return found.squeeze(axis).unflatten(0, (-1, len(self.weight))).movedim(0, axis)
