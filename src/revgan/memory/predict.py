"""Predicts the memory of a training step without running it, using fake tensors.

Fake tensors have shapes, types and layouts, but no data; autograd treats them like any others. So a
step with them allocates and frees what the real step does, in the same order, and takes seconds
even if the real one would need more memory than there is.
"""

import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from torch._prims_common import suggest_memory_format
from torch._subclasses.fake_tensor import (
    FakeTensor,
    FakeTensorMode,
    in_kernel_invocation_manager,
)
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from revgan.memory.kernels import kernel_workspace


@dataclass(frozen=True)
class StepPrediction:
    """Bytes alive at a step's peak, by purpose.

    Attributes:
        parameters: the modules' parameters.
        gradients: what parameters hold as `.grad`; what is yet to be added counts as activations.
        optimizer_states: such as Adam's moments.
        activations: the rest: what autograd keeps, inputs, temporaries, kernels' workspace.
        held: what stays between steps: parameters, optimizer states, inputs.
    """

    parameters: int
    gradients: int
    optimizer_states: int
    activations: int
    held: int

    @property
    def total(self) -> int:
        """All that is alive at the peak."""
        return self.parameters + self.gradients + self.optimizer_states + self.activations

    @property
    def peak(self) -> int:
        """The peak above what is held between steps, as `measure_step` measures it."""
        return self.total - self.held


def predict_step(
    make_step: Callable[[], Callable[[], object]], *, cpu_kernels: bool = True
) -> StepPrediction:
    """Predicts what one call of a step needs at its peak, without allocating it.

    Args:
        make_step: builds modules, optimizers and inputs, all on the CPU, and returns the step,
            which takes no arguments. Optimizer states are created in the first step, so call it
            once before returning it. All of this runs with fake tensors, so a step can't look at a
            tensor's values (`item`, ``if loss > 1``) or use tensors from outside.
        cpu_kernels: count the workspace of the CPU's kernels (`revgan.memory.kernels`); False
            leaves it out, for steps that will run on a GPU.

    Raises:
        torch._subclasses.fake_tensor.DataDependentOutputException: the step looks at values.
    """
    with (
        torch.random.fork_rng(devices=[]),
        FakeTensorMode() as mode,
        _Ledger(mode, cpu_kernels) as ledger,
        _watching(ledger),
    ):
        step = make_step()
        held = ledger.alive
        ledger.start_over()
        step()
    by_kind = ledger.at_peak()
    return StepPrediction(
        parameters=by_kind["parameters"],
        gradients=by_kind["gradients"],
        optimizer_states=by_kind["optimizer_states"],
        activations=by_kind["activations"] + ledger.workspace_at_peak,
        held=held,
    )


@dataclass(eq=False)
class _Storage:
    """A storage's life. Its purpose may become known after the peak that it was part of."""

    nbytes: int
    made: int
    freed: float = inf
    kind: str = "activations"


class _Ledger(TorchDispatchMode):
    """Tracks the storages that operators allocate and free."""

    def __init__(self, mode: FakeTensorMode, cpu_kernels: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's is untyped
        self._mode = mode
        self._answers: dict[Hashable, _Answer] = {}
        self.alive = 0
        self.workspace_at_peak = 0
        self._cpu_kernels = cpu_kernels
        self._live: dict[int, _Storage] = {}
        self._finalizers: dict[int, weakref.ref[Any]] = {}
        self._all: list[_Storage] = []
        self._now = 0
        self._peak = 0
        self._peak_time = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; without this check, it takes a tenth of the time."""
        return False

    def start_over(self) -> None:
        """Forgets the peak so far."""
        self._peak, self._peak_time, self.workspace_at_peak = 0, self._now, 0
        self._all = list(self._live.values())

    def at_peak(self) -> dict[str, int]:
        """Bytes in storages at the peak, by kind."""
        kinds = dict.fromkeys(("parameters", "gradients", "optimizer_states", "activations"), 0)
        for storage in self._all:
            if storage.made <= self._peak_time < storage.freed:
                kinds[storage.kind] += storage.nbytes
        return kinds

    def mark(self, tensors: Iterable[Tensor], kind: str) -> None:
        """Records what these tensors are for."""
        for tensor in tensors:
            storage = self._live.get(tensor.untyped_storage()._cdata)
            if storage is not None:
                storage.kind = kind

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is _DEVICE:  # called more often than all others together
            return args[0].device
        if func.namespace == "prim":  # other queries
            return func(*args, **(kwargs or {}))
        modes = torch.is_inference_mode_enabled(), torch.get_default_dtype()
        key = func, modes, *_key(args), *_key((kwargs or {}).items())
        answer = self._answers.get(key)
        if answer is not None and answer.results is not None:
            out = answer.again(args, self._mode)
        else:
            out = _as_laid_out(func, args, func(*args, **(kwargs or {})))
        if answer is None:
            workspace = kernel_workspace(func, args, out) if self._cpu_kernels else 0
            results = None if torch.Tag.inplace_view in func.tags else _described(out, args)
            answer = self._answers[key] = _Answer(workspace, results, type(out))
        for tensor in _tensors(out):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._live:
                self._add(storage)
        if self.alive + answer.workspace > self._peak:
            self._peak, self._peak_time = self.alive + answer.workspace, self._now
            self.workspace_at_peak = answer.workspace
        self._now += 1
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, nbytes = storage._cdata, storage.nbytes()
        self._live[key] = _Storage(nbytes, self._now)
        self._all.append(self._live[key])
        self.alive += nbytes
        self._finalizers[key] = weakref.ref(storage, partial(self._drop, key))

    def _drop(self, key: int, _: object) -> None:
        storage = self._live.pop(key)
        storage.freed = self._now
        self.alive -= storage.nbytes
        del self._finalizers[key]


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

    A step has some ten thousand operator calls, few of which differ, and each query takes PyTorch a
    tenth of a millisecond.

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


def _as_laid_out(func: Any, args: tuple[Any, ...], out: Any) -> Any:
    """Reflection padding keeps its input's layout; PyTorch's fake version doesn't."""
    if func not in _PADDINGS:
        return out
    layout = suggest_memory_format(args[_PADDINGS[func]])
    return torch.empty_like(out, memory_format=layout)


_aten = torch.ops.aten
_DEVICE = torch.ops.prim.device.default
_PADDINGS = {
    _aten.reflection_pad2d.default: 0,
    _aten.reflection_pad3d.default: 0,
    _aten.reflection_pad2d_backward.default: 1,
    _aten.reflection_pad3d_backward.default: 1,
}
"""Operators, with the index of their input."""


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


@contextmanager
def _watching(ledger: _Ledger) -> Iterator[None]:
    """While active, marks parameters, their gradients and optimizers' states as they appear."""

    def registered(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            ledger.mark([parameter], "parameters")
            if parameter.requires_grad:
                # Not a hook on the tensor, as that would change a memory-saving core's path.
                parameter.register_post_accumulate_grad_hook(accumulated)

    def accumulated(parameter: Tensor) -> None:
        if parameter.grad is not None:
            ledger.mark([parameter.grad], "gradients")

    def stepped(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        states = _tensors([list(state.values()) for state in optimizer.state.values()])
        ledger.mark(states, "optimizer_states")

    hooks = (
        register_module_parameter_registration_hook(registered),
        register_optimizer_step_post_hook(stepped),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
