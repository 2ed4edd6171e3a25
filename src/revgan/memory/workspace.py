"""What PyTorch's CPU kernels allocate inside an operator, beside the operator's results.

Most kernels allocate nothing. The exceptions below were measured operator by operator with
`measure_step`, on PyTorch 2.13 with oneDNN 3.12 and AVX-512; they follow from how kernels work:

- oneDNN's convolutions reorder weights into blocks of 16 channels, and compute a weight's gradient
  in such blocks before they reorder it into the result. Where neither input nor weights have their
  channels last, they work on blocked copies of everything.
- Convolutions that are too small for oneDNN (one small sample) unfold their input into columns.
- The backward pass of batch norm allocates its result twice; that of reflection padding, where the
  layouts of gradient and input differ.
- Fused Adam copies each gradient that is not contiguous, one at a time.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format

_BLOCK = 16
"""Channels in a block: float32 numbers in a register of AVX-512."""

_SCRATCH = 12 * 2**10
"""What any of oneDNN's convolutions takes besides, about."""

_aten = torch.ops.aten


def kernel_workspace(operator: Any, arguments: tuple[Any, ...], result: Any) -> int:
    """Bytes beyond arguments and results that are allocated at an operator's own peak.

    Args:
        operator: an overload of an ATen operator; those that aren't known to allocate anything
            count as 0.
        arguments: on the CPU; fake tensors will do.
        result: what it returned.
    """
    rule = _RULES.get(operator)
    return 0 if rule is None else rule(arguments, result)


def _convolution(arguments: tuple[Any, ...], y: Tensor) -> int:
    x, weight, _, *options = arguments
    return int(_kernel(x, weight, *options).forward(y))


def _convolution_backward(
    arguments: tuple[Any, ...], result: tuple[Tensor | None, Tensor | None, Tensor | None]
) -> int:
    grad, x, weight, _, *options, wanted = arguments
    kernel = _kernel(x, weight, *options)
    of_x, of_weight, of_bias = (0 if r is None else r.nbytes for r in result)
    # One after the other: first the input's gradient, then those of weight and bias.
    first = of_x + kernel.input_gradient(grad) if wanted[0] else 0
    second = of_x + of_weight + of_bias + kernel.weight_gradient(grad) if wanted[1] else 0
    return max(0, int(max(first, second)) - of_x - of_weight - of_bias)


@dataclass(frozen=True)
class _Kernel(ABC):
    """The workspace of one implementation of a convolution, for one input.

    The sizes are bytes beside arguments and the result in question.
    """

    x: Tensor
    weight: Tensor
    strided: bool
    transposed: bool

    @abstractmethod
    def forward(self, y: Tensor) -> float:
        """Workspace of the forward pass."""

    @abstractmethod
    def input_gradient(self, grad: Tensor) -> float:
        """Workspace of the input's gradient."""

    @abstractmethod
    def weight_gradient(self, grad: Tensor) -> float:
        """Workspace of the weight's gradient."""

    def blocked_weight(self, *, outs: bool, ins: bool) -> float:
        """Bytes of the weights in blocks of output channels, input channels or both.

        A transposed convolution's weights count as those of the convolution that it transposes.
        """
        n_outs, n_ins = self.weight.shape[:2]
        kernel = self.weight.nbytes / (n_outs * n_ins)
        return kernel * (_padded(n_outs) if outs else n_outs) * (_padded(n_ins) if ins else n_ins)


class _ChannelsLast(_Kernel):
    """oneDNN's convolutions of images with the channels last; it copies those that have not."""

    def forward(self, y: Tensor) -> float:
        inside = self._scatter(self.x) if self.transposed else self._gather()
        return _unless_channels_last(self.x) + inside

    def input_gradient(self, grad: Tensor) -> float:
        inside = self._gather() if self.transposed else self._scatter(grad)
        return self._copies(grad) + inside

    def weight_gradient(self, grad: Tensor) -> float:
        ins = self.weight.shape[1] >= _BLOCK
        inside = self.weight.nbytes + self.blocked_weight(outs=True, ins=ins)
        if self.x.itemsize < 4:  # a sample of each, rearranged for products of pairs
            inside += (_blocked(self.x) + _blocked(grad)) / len(grad) + _SCRATCH
        return self._copies(grad) + inside

    def _copies(self, grad: Tensor) -> int:
        return _unless_channels_last(self.x) + _unless_channels_last(grad)

    def _gather(self) -> float:
        """Of sums over windows."""
        return self.blocked_weight(outs=True, ins=False) + _SCRATCH

    def _scatter(self, source: Tensor) -> float:
        """Of what a sum over windows transposes to.

        Where it is strided, each thread copies a sample, in 3D with about four slices of padding.
        """
        weights = self.blocked_weight(outs=False, ins=True) + _SCRATCH
        if not self.strided:
            return weights
        sample = source.nbytes / len(source)
        if source.ndim == 5:
            sample *= 1 + 4 / source.shape[2]
        scratch = 24 * 2**10 + 512 * min(len(self.weight), 128)
        return weights + torch.get_num_threads() * (sample + scratch)


class _Blocked(_ChannelsLast):
    """oneDNN's convolutions of images with the channels first: on copies in blocks of channels."""

    def forward(self, y: Tensor) -> float:
        weight = self.blocked_weight(outs=True, ins=self.weight.shape[1] >= _BLOCK)
        inside = self._blocked_input() + weight + _blocked(y) - y.nbytes
        scattered = self.strided and self.transposed
        at_end = 2 * y.nbytes if scattered else _blocked(y)  # copied once or twice
        return _unless_contiguous(self.x) + max(inside, at_end)

    def input_gradient(self, grad: Tensor) -> float:
        scattered = self.strided and not self.transposed
        if scattered and self.x.shape[1] < _BLOCK:
            return self._copies(grad) + self._scatter(grad)
        inside = self.blocked_weight(outs=True, ins=True) + _blocked(self.x) - self.x.nbytes
        at_end = 2 * self.x.nbytes if scattered else _blocked(self.x)
        return self._copies(grad) + max(inside, at_end - _blocked(grad))

    def weight_gradient(self, grad: Tensor) -> float:
        weight = self.blocked_weight(outs=True, ins=self.weight.shape[1] >= _BLOCK)
        inside = self._blocked_input() + weight - self.weight.nbytes
        return self._copies(grad) + max(inside, weight - _blocked(grad))

    def _copies(self, grad: Tensor) -> int:
        return int(_unless_contiguous(self.x) + _unless_contiguous(grad) + _blocked(grad))

    def _blocked_input(self) -> float:
        return _blocked(self.x) if self.x.shape[1] >= _BLOCK else 0


class _Unfolded(_Kernel):
    """PyTorch's own convolutions: matrix products with columns, one for each window.

    In 3D they copy what is not contiguous.
    """

    def forward(self, y: Tensor) -> float:
        copies = self._copies(self.x, self.weight)
        if not self.transposed:
            return self._columns(y) + copies
        ones = prod(y.shape[2:]) * y.itemsize if self._in_3d else 0
        return self._columns(self.x) + copies + ones

    def input_gradient(self, grad: Tensor) -> float:
        if self.transposed:
            return self._columns(self.x) + self._copies(self.x, grad, self.weight)
        if not self._in_3d:
            return 0
        return self._columns(grad, pointwise=True) + self._copies(grad, self.weight)

    def weight_gradient(self, grad: Tensor) -> float:
        if self.transposed:
            return self._columns(self.x) + self._copies(self.x, grad, self.weight)
        return self._columns(grad) + self._copies(self.x, grad)

    @property
    def _in_3d(self) -> bool:
        return self.x.ndim == 5

    def _copies(self, *tensors: Tensor) -> int:
        return sum(map(_unless_contiguous, tensors)) if self._in_3d else 0

    def _columns(self, small: Tensor, *, pointwise: bool = False) -> int:
        """Bytes of all windows, of which there is one for each position of `small`.

        Args:
            small: the input or output, whichever has fewer positions.
            pointwise: count them for kernels of size 1, too, which mostly do without.
        """
        channels, *kernel = self.weight.shape[1:]
        if prod(kernel) == 1 and not (pointwise or self.strided):
            return 0
        return len(small) * channels * prod(kernel) * prod(small.shape[2:]) * small.itemsize


def _kernel(
    x: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> _Kernel:
    """The implementation that PyTorch takes: it depends on shapes, types and threads."""
    outs = weight.shape[1] * groups if transposed else len(weight)
    options = stride, padding, dilation, transposed, output_padding, groups
    backend = torch._C._select_conv_backend(x, weight, None, *options, [outs])
    last = _channels_last(x)
    kind: type[_Kernel] = _Blocked
    if backend.name.startswith("Slow"):
        kind = _Unfolded
    elif x.ndim > 3 and last in (suggest_memory_format(x), suggest_memory_format(weight)):
        kind = _ChannelsLast
    return kind(x, weight, max(stride) > 1, transposed)


def _batch_norm_backward(arguments: tuple[Any, ...], result: tuple[Tensor | None, ...]) -> int:
    grad, x = arguments[:2]
    formats = torch.contiguous_format, _channels_last(x)
    alike = any(all(t.is_contiguous(memory_format=f) for t in (grad, x)) for f in formats)
    return x.nbytes if alike and result[0] is not None else 0


def _reflection_pad_backward(arguments: tuple[Any, ...], result: Tensor) -> int:
    grad, x = arguments[:2]
    return x.nbytes if suggest_memory_format(grad) != suggest_memory_format(x) else 0


def _fused_adam(arguments: tuple[Any, ...], result: None) -> int:
    grads: list[Tensor] = arguments[1]
    return max(map(_unless_contiguous, grads), default=0)


_RULES: dict[Any, Callable[[tuple[Any, ...], Any], int]] = {
    _aten.convolution.default: _convolution,
    _aten.convolution_backward.default: _convolution_backward,
    _aten.native_batch_norm_backward.default: _batch_norm_backward,
    _aten.reflection_pad2d_backward.default: _reflection_pad_backward,
    _aten.reflection_pad3d_backward.default: _reflection_pad_backward,
    _aten._fused_adam_.default: _fused_adam,
}


def _padded(channels: int) -> int:
    return ceil(channels / _BLOCK) * _BLOCK


def _blocked(x: Tensor) -> float:
    """Bytes of (B, C, *spatial) in blocks of channels."""
    return x.nbytes / x.shape[1] * _padded(x.shape[1])


def _channels_last(x: Tensor) -> torch.memory_format:
    """The layout with the channels last, for those numbers of axes that have one."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return formats.get(x.ndim, torch.contiguous_format)


def _unless_channels_last(x: Tensor) -> int:
    return 0 if x.is_contiguous(memory_format=_channels_last(x)) else x.nbytes


def _unless_contiguous(x: Tensor) -> int:
    return 0 if x.is_contiguous() else x.nbytes
