"""What operators return under fake tensors, each asked once.

A step calls some ten thousand operators, few of which differ, and PyTorch takes up to some
milliseconds to find what one returns for fake tensors.
"""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format
from torch._subclasses.fake_tensor import (
    FakeTensor,
    FakeTensorMode,
    in_kernel_invocation_manager,
)
from torch.utils._pytree import tree_leaves

from revgan.memory.kernels import kernel_workspace

MANY = 30_000
"""So many answers are kept beyond a prediction; a plan of a small model takes 15,000."""


@dataclass(frozen=True)
class _Result:
    """One tensor that an operator returned.

    Attributes:
        size: its sizes, strides and offset into its storage.
        dtype: its type.
        device: the device it would be on.
        source: the argument whose storage it shares; None for its own storage.
        same: whether it is that argument itself.
    """

    size: tuple[torch.Size, tuple[int, ...], int]
    dtype: torch.dtype
    device: torch.device
    source: int | None
    same: bool


@dataclass(frozen=True)
class _Answer:
    """An operator's results for arguments like these, so that PyTorch is asked only once.

    Attributes:
        workspace: see `kernel_workspace`.
        results: None for an unwanted one; None as a whole if PyTorch must be asked again.
        kind: the type of the container of results, or of the only result.
    """

    workspace: int
    results: list[_Result | None] | None
    kind: type

    def again(self, args: tuple[Any, ...], mode: FakeTensorMode) -> Any:
        """The results for other arguments of the same shapes, types and layouts."""
        assert self.results is not None
        made = [None if result is None else _made(result, args, mode) for result in self.results]
        return self.kind(made) if self.kind in (tuple, list) else made[0]


class Answers:
    """What operators return for fake tensors, and the memory that their kernels take besides.

    Args:
        cpu_kernels: whether kernels take any.
    """

    def __init__(self, cpu_kernels: bool) -> None:
        self._cpu_kernels = cpu_kernels
        self._known: dict[Hashable, _Answer] = {}

    def ask(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], mode: FakeTensorMode
    ) -> tuple[Any, int]:
        """An operator's results for these arguments, and its workspace in bytes."""
        modes = torch.is_inference_mode_enabled(), torch.get_default_dtype()
        key = func, modes, *_key(args), *_key(kwargs.items())
        answer = self._known.get(key)
        if answer is not None and answer.results is not None:
            return answer.again(args, mode), answer.workspace
        out = (_asked_directly if func in _DIRECT else _asked)(func, args, kwargs, mode)
        if answer is None:
            workspace = kernel_workspace(func, args, out) if self._cpu_kernels else 0
            results = None if torch.Tag.inplace_view in func.tags else _described(out, args)
            answer = self._known[key] = _Answer(workspace, results, type(out))
        return out, answer.workspace

    def forget_if_many(self) -> None:
        """Starts over before they take more than some 50 MiB."""
        if len(self._known) > MANY:
            self._known.clear()


@lru_cache
def _shared_answers(cpu_kernels: bool, *cpu: object) -> Answers:
    return Answers(cpu_kernels)


def known_answers(cpu_kernels: bool) -> Answers:
    """All answers so far: the predictions of a search mostly ask for the same.

    Args:
        cpu_kernels: whether the CPU's kernels' memory counts.
    """
    cpu = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    answers = _shared_answers(cpu_kernels, *cpu, torch.backends.mkldnn.enabled)
    answers.forget_if_many()
    return answers


def _described(out: Any, args: tuple[Any, ...]) -> list[_Result | None] | None:
    """What is needed to make the results again; None if they can't be."""
    sources = {
        arg.untyped_storage()._cdata: number
        for number, arg in enumerate(args)
        if isinstance(arg, Tensor)
    }
    if any(isinstance(arg, Tensor) and _is_constant(arg) for arg in args):
        return None
    described: list[_Result | None] = []
    storages = set()
    for tensor in out if type(out) in (tuple, list) else (out,):
        if tensor is None:
            described.append(None)
            continue
        if type(tensor) is not FakeTensor or tensor.dtype.is_complex or _is_constant(tensor):
            return None
        storage = tensor.untyped_storage()
        source = sources.get(storage._cdata)
        size = tensor.shape, tensor.stride(), int(tensor.storage_offset())
        same = source is not None and tensor is args[source]
        if source is None:
            # It is alone in a storage of minimal size.
            if storage._cdata in storages or storage.nbytes() != _least_storage(tensor):
                return None
            storages.add(storage._cdata)
        described.append(_Result(size, tensor.dtype, tensor.device, source, same))
    return described


def _made(result: _Result, args: tuple[Any, ...], mode: FakeTensorMode) -> Tensor:
    if result.source is not None and result.same:
        return args[result.source]
    shape, stride, offset = result.size
    with in_kernel_invocation_manager(mode):
        tensor = torch.empty_strided(shape, stride, dtype=result.dtype, device="meta")
        if result.source is not None:
            tensor.set_(args[result.source].untyped_storage(), offset, shape, stride)
    return FakeTensor(mode, tensor, result.device)


def _least_storage(t: Tensor) -> int:
    """Bytes of the smallest storage for a tensor."""
    if t.numel() == 0:
        return 0
    last = sum((size - 1) * stride for size, stride in zip(t.shape, t.stride(), strict=True))
    return (last + 1) * t.itemsize


def _is_constant(tensor: Tensor) -> bool:
    """Whether it has data nevertheless, such as an optimizer's step count."""
    return getattr(tensor, "constant", None) is not None


def _key(values: Iterable[Any]) -> Iterator[Hashable]:
    """What an operator's results may depend on, apart from data."""
    for value in values:
        if isinstance(value, Tensor):
            constant = _is_constant(value)
            yield value.dtype, value.shape, value.stride(), value.storage_offset(), constant
        elif isinstance(value, (list, tuple)):
            yield tuple(_key(value))
        else:
            yield type(value), value


def _asked(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], _: FakeTensorMode) -> Any:
    """PyTorch's answer, but reflection padding keeps its input's layout, as it really does."""
    out = func(*args, **kwargs)
    if func not in _PADDINGS:
        return out
    layout = suggest_memory_format(args[_PADDINGS[func]])
    return torch.empty_like(out, memory_format=layout)


def _asked_directly(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], mode: FakeTensorMode
) -> Any:
    """The same answer from the operator's own kernel for shapes, in a fifth of the time."""
    tensors = list(tensors_in(args))
    if any(_is_constant(tensor) for tensor in tensors):
        return func(*args, **kwargs)
    with in_kernel_invocation_manager(mode):
        out = func(*args, **kwargs)
    made = [
        tensor if isinstance(tensor, FakeTensor) else FakeTensor(mode, tensor, tensors[0].device)
        for tensor in (out if type(out) in (tuple, list) else (out,))
    ]
    return type(out)(made) if type(out) in (tuple, list) else made[0]


_aten = torch.ops.aten
DEVICE = torch.ops.prim.device.default
"""Asks for a tensor's device."""

_PADDINGS = {
    _aten.reflection_pad2d.default: 0,
    _aten.reflection_pad3d.default: 0,
    _aten.reflection_pad2d_backward.default: 1,
    _aten.reflection_pad3d_backward.default: 1,
}
"""Operators, with the index of their input."""

_DIRECT = {
    _aten.add.Tensor,
    _aten.add_.Tensor,
    _aten.addcmul_.default,
    _aten.cat.default,
    _aten.clone.default,
    _aten.constant_pad_nd.default,
    _aten.copy_.default,
    _aten.detach.default,
    _aten.flip.default,
    _aten.leaky_relu.default,
    _aten.leaky_relu_backward.default,
    _aten.mul.Tensor,
    _aten.mul_.Tensor,
    _aten.permute.default,
    _aten.relu.default,
    _aten.slice.Tensor,
    _aten.sub.Tensor,
    _aten.sub_.Tensor,
    _aten.sum.dim_IntList,
    _aten.tanh_backward.default,
    _aten.threshold_backward.default,
    _aten.upsample_bilinear2d.default,
}
"""Those that steps call with many shapes, and whose kernels for shapes lay out results like those
for values; `FakeTensorMode` goes there too, after half a millisecond or more in Python."""


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """All tensors of nested containers."""
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
