"""Predicts the memory of a training step without running it, using fake tensors.

Fake tensors have shapes, types and layouts, but no data; autograd treats them like any others. So a
step with them allocates and frees what the real step does, in the same order, and takes seconds
even if the real one would need more memory than there is.
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
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._python_dispatch import TorchDispatchMode

from revgan.memory.answers import DEVICE, known_answers, tensors_in


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
        self._answers = known_answers(cpu_kernels)
        self.alive = 0
        self.workspace_at_peak = 0
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
        if func is DEVICE:  # called more often than all others together
            return args[0].device
        if func.namespace == "prim":  # other queries
            return func(*args, **(kwargs or {}))
        out, workspace = self._answers.ask(func, args, kwargs or {}, self._mode)
        for tensor in tensors_in(out):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._live:
                self._add(storage)
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
        states = tensors_in([list(state.values()) for state in optimizer.state.values()])
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
