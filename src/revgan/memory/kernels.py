"""The memory that the CPU's kernels allocate inside an operator, besides its results.

Only what affects the peak of whole training steps is here: convolutions, and a copy in Adam. It was
found with `measure_step`, PyTorch 2.13 and oneDNN 3.12, on CPUs with AVX2 and AVX-512.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def kernel_workspace(operator: Any, arguments: tuple[Any, ...], result: Any) -> int:
    """Bytes allocated at an operator's peak, besides arguments and results.

    Args:
        operator: an overload of an ATen operator; unknown ones count as 0.
        arguments: on the CPU; they may be fake tensors.
        result: its return value.
    """
    rule = _RULES.get(operator)
    return 0 if rule is None else int(rule(arguments, result))


def _convolution(arguments: tuple[Any, ...], y: Tensor) -> float:
    x, weight, _, *options = arguments
    convolution = _Convolution(weight, *options)
    if convolution.unfolds(x):
        return convolution.columns(x, y) + _copies_of_volumes(x)
    return _copies(x) + convolution.product(x, scatters=convolution.transposed)


def _convolution_backward(
    arguments: tuple[Any, ...], result: tuple[Tensor | None, Tensor | None, Tensor | None]
) -> float:
    grad, x, weight, _, *options, wanted = arguments
    convolution = _Convolution(weight, *options)
    if convolution.unfolds(x):
        return convolution.columns(x, grad) + _copies_of_volumes(x, grad)
    # The input's gradient is computed first, before the results for weight and bias exist.
    later = sum(r.nbytes for r in result[1:] if r is not None)
    first = convolution.product(grad, scatters=not convolution.transposed) - later
    second = convolution.weight_gradient(x, grad) if wanted[1] else 0
    return _copies(x, grad) + max(first, second)


def _fused_adam(arguments: tuple[Any, ...], result: None) -> int:
    """Gradients that aren't contiguous are copied, one at a time."""
    return max((grad.nbytes for grad in arguments[1] if not grad.is_contiguous()), default=0)


@dataclass(frozen=True)
class _Convolution:
    """A convolution's weight and options, as in ATen.

    A transposed one is the reverse of a convolution from its output to its input: below, windows
    are taken from `wide`, and `narrow` has one position per window.
    """

    weight: Tensor
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    output_padding: list[int]
    groups: int

    def unfolds(self, x: Tensor) -> bool:
        """Whether PyTorch itself computes it: small samples, and types that oneDNN lacks."""
        outs = self.weight.shape[1] * self.groups if self.transposed else len(self.weight)
        options = self.stride, self.padding, self.dilation, self.transposed, self.output_padding
        # There is no public function for this, and the answer depends on many things.
        backend = torch._C._select_conv_backend(x, self.weight, None, *options, self.groups, [outs])
        return backend.name.startswith("Slow")

    def columns(self, x: Tensor, y: Tensor) -> int:
        """Workspace of PyTorch's own kernel: all windows side by side, for a matrix product."""
        narrow = x if self.transposed else y
        if prod(self.weight.shape[2:]) == 1:
            return 0
        return len(narrow) * prod(narrow.shape[2:]) * self._window * narrow.itemsize

    @property
    def _window(self) -> int:
        """The number of elements in a window."""
        return prod(self.weight.shape[1:])

    def product(self, source: Tensor, *, scatters: bool) -> float:
        """Workspace of oneDNN's forward pass, or input's gradient: the weights in its own layout.

        Args:
            source: the tensor that they are multiplied with.
            scatters: whether it is `narrow`; then, with strides, each thread has a padded copy of a
                sample.
        """
        if not scatters or max(self.stride) == 1:
            return self.weight.nbytes
        sample: float = source[0].nbytes
        kernel = self.weight.shape[2:]
        for size, side, padding in zip(source.shape[2:], kernel, self.padding, strict=True):
            sample *= (size + side - 1 - padding) / size
        return self.weight.nbytes + torch.get_num_threads() * sample

    def weight_gradient(self, x: Tensor, grad: Tensor) -> float:
        """Workspace of oneDNN's weight gradient, in its own layout and then in PyTorch's."""
        wide, narrow = (grad, x) if self.transposed else (x, grad)
        if x.itemsize == 2:
            return self._of_half_precision(wide, narrow)
        return self._of_products(wide, narrow) if self._multiplies(wide) else 2 * self.weight.nbytes

    def _of_half_precision(self, wide: Tensor, narrow: Tensor) -> float:
        """Samples are rearranged, in blocks of 16 channels; in 2D, threads share a sample's."""
        blocks = ceil(narrow.shape[1] / 16)
        padding = 16 * blocks / narrow.shape[1]
        sharing = blocks * ceil(wide.shape[1] / 16) if wide.ndim == 4 else 1
        samples = wide[0].nbytes + padding * narrow[0].nbytes
        copies = max(1, torch.get_num_threads() / sharing)
        return 2 * padding * self.weight.nbytes + copies * samples

    def _multiplies(self, wide: Tensor) -> bool:
        """Whether oneDNN falls back on matrix products in 3D."""
        if wide.ndim < 5 or not any(map(_channels_last, (wide, self.weight))):
            return False
        # Thin along another axis, as volumes of few slices mostly are, isn't too small for it.
        small = wide.shape[2] < self.weight.shape[2]
        avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
        return small or (max(self.padding) > 0 and not avx512)

    def _of_products(self, wide: Tensor, narrow: Tensor) -> float:
        """A sample, the windows of a slice, and the weights, for each of the threads that share it.

        As in oneDNN's `gemm_convolution_utils.cpp`, which treats the weights' bytes as numbers of
        four bytes each.
        """
        threads, positions = torch.get_num_threads(), prod(narrow.shape[3:])
        windows = self._window * positions * wide.itemsize
        each = 4 * self.weight.nbytes + wide[0].nbytes + windows
        parallel = len(wide) > 1 and positions / threads < 256 and threads * each < 2**30
        return threads * each if parallel else each


_RULES: dict[Any, Callable[[tuple[Any, ...], Any], float]] = {
    _aten.convolution.default: _convolution,
    _aten.convolution_backward.default: _convolution_backward,
    _aten._fused_adam_.default: _fused_adam,
}


def _copies(*tensors: Tensor) -> int:
    """Bytes of copies for oneDNN, which wants the channels last."""
    return sum(tensor.nbytes for tensor in tensors if not _channels_last(tensor))


def _channels_last(tensor: Tensor) -> bool:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    layout = formats.get(tensor.ndim)
    return layout is not None and tensor.is_contiguous(memory_format=layout)


def _copies_of_volumes(*tensors: Tensor) -> int:
    """Bytes of copies for PyTorch's own kernels, whose 3D ones want the channels first."""
    return sum(t.nbytes for t in tensors if t.ndim == 5 and not t.is_contiguous())
