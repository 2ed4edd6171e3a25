"""Predicts the memory of a training step without running it: the step under fake tensors.

Fake tensors have shapes, types and layouts, but no data; autograd treats them like any others. So a
step under them allocates and frees what the real step does, in the same order, and takes seconds
where the real one might take more memory than there is.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from torch._prims_common import suggest_memory_format
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from revgan.memory.kernels import kernel_workspace


@dataclass(frozen=True)
class StepPrediction:
    """Bytes alive at the peak of a step, by what they are for.

    Attributes:
        parameters: of the modules.
        gradients: what parameters hold as `.grad`; what is about to be added is an activation.
        optimizer_states: such as Adam's moments.
        activations: all the rest: what autograd keeps, inputs, temporaries, kernels' workspace.
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
        """The peak above what is held, as `measure_step` measures it."""
        return self.total - self.held


def predict_step(
    make_step: Callable[[], Callable[[], object]], *, cpu_kernels: bool = True
) -> StepPrediction:
    """Predicts what one call of a step needs at its peak, without allocating it.

    Args:
        make_step: builds modules, optimizers and inputs, all on the CPU, and returns the step,
            which takes nothing. As optimizer states come to life in a first step, call it once
            before returning it. All this runs under fake tensors, so a step can't look at a
            tensor's values (`item`, ``if loss > 1``), and tensors from outside can't take part.
        cpu_kernels: count the workspace of the CPU's kernels (`revgan.memory.kernels`); False
            leaves it out, for steps that will run on a GPU.

    Raises:
        torch._subclasses.fake_tensor.DataDependentOutputException: the step looks at values.
    """
    with (
        torch.random.fork_rng(devices=[]),
        FakeTensorMode(),
        _Ledger(cpu_kernels) as ledger,
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
    """A storage's life. What it is for may turn out after the peak that it was part of."""

    nbytes: int
    made: int
    freed: float = inf
    kind: str = "activations"


class _Ledger(TorchDispatchMode):
    """Counts the storages that operators make, and those that are freed."""

    def __init__(self, cpu_kernels: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as PyTorch has it
        self.alive = 0
        self.workspace_at_peak = 0
        self._cpu_kernels = cpu_kernels
        self._live: dict[int, _Storage] = {}
        self._finalizers: dict[int, weakref.ref[Any]] = {}
        self._all: list[_Storage] = []
        self._now = 0
        self._peak = 0
        self._peak_time = 0

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
        """Says what these tensors are for."""
        for tensor in tensors:
            storage = self._live.get(tensor.untyped_storage()._cdata)
            if storage is not None:
                storage.kind = kind

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.namespace == "prim":  # questions such as which device, and the most frequent
            return out
        out = _as_laid_out(func, args, out)
        for tensor in _tensors(out):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._live:
                self._add(storage)
        workspace = kernel_workspace(func, args, out) if self._cpu_kernels else 0
        if self.alive + workspace > self._peak:
            self._peak, self._peak_time = self.alive + workspace, self._now
            self.workspace_at_peak = workspace
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


def _as_laid_out(func: Any, args: tuple[Any, ...], out: Any) -> Any:
    """Reflection padding keeps its input's layout; PyTorch's fake one forgets it."""
    if func not in _PADDINGS:
        return out
    layout = suggest_memory_format(args[_PADDINGS[func]])
    return torch.empty_like(out, memory_format=layout)


_aten = torch.ops.aten
_PADDINGS = {
    _aten.reflection_pad2d.default: 0,
    _aten.reflection_pad3d.default: 0,
    _aten.reflection_pad2d_backward.default: 1,
    _aten.reflection_pad3d_backward.default: 1,
}
"""Operators, and which argument is the input."""


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


@contextmanager
def _watching(ledger: _Ledger) -> Iterator[None]:
    """Within, parameters, their gradients and optimizers' states are marked as they come up."""

    def registered(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            ledger.mark([parameter], "parameters")
            if parameter.requires_grad:
                # Not a hook on the tensor, for which a memory-saving core would take another path.
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
