"""A core of continuous depth: a differential equation, inverted by integrating it backwards."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

FIXED_STEP = ("euler", "midpoint", "rk4")
"""Solvers that take equal steps, whatever the error."""


class OdeCore(nn.Module):
    """Maps h(0) to h(T), where dh/dt = v(t, h) (Chen et al., 2018); the inverse runs from T to 0.

    A residual network of T blocks, h + v(h), is Euler's method with steps of 1 for this equation.
    The inverse is as good as the solver: unlike a coupling's, it is never exact.

    With `memory_saving`, gradients come from the adjoint method: the backward pass integrates h
    back from its end, and the gradients along with it, so that memory does not depend on the number
    of steps. They are those of the equation, and differ by the solver's error from the gradients of
    the solver's steps, which ``memory_saving=False`` computes. Tolerances are meant for h: its
    gradient, which the same steps have to follow, is often so small that `atol` allows it any
    error.

    Args:
        field: v, called with the time divided by `duration`, from 0 to 1, as a tensor without
            dimensions, and with h; returns the shape of h. It should be Lipschitz continuous in h,
            and without randomness and running statistics.
        duration: T, 0 or more.
        solver: one of torchdiffeq's.
        rtol, atol: relative and absolute error that an adaptive solver allows in a step.
        step: length of the steps of a solver in `FIXED_STEP`.
        memory_saving: gradients by the adjoint method (True) or through the stored steps (False).

    Shapes: any, kept. The core computes in at least float32, even under autocast: an adaptive
    solver would take the rounding of 16-bit numbers for errors of its own.

    Raises:
        RuntimeError: a memory-saving run is differentiated twice (``create_graph=True``).
        AssertionError: an adaptive solver's step became too small, because values are infinite or
            the tolerances out of reach; `revgan.errors.solver_failed` recognises it.

    Example:
        >>> import torch
        >>> from revgan.reversible import OdeCore
        >>> class Decay(torch.nn.Module):
        ...     def forward(self, t, h):
        ...         return -h
        >>> core = OdeCore(Decay(), duration=1.0)
        >>> y = core(torch.ones(1))  # exp(-1)
        >>> print(f"{y.item():.3f}, and back to {core.inverse(y).item():.3f}")
        0.368, and back to 1.000
    """

    def __init__(
        self,
        field: nn.Module,
        duration: float,
        *,
        solver: str = "rk4",
        rtol: float = 1e-4,
        atol: float = 1e-4,
        step: float = 0.25,
        memory_saving: bool = True,
    ) -> None:
        super().__init__()
        self.field = field
        self.duration = duration
        self.solver = solver
        self.rtol = rtol
        self.atol = atol
        self.step = step
        self.memory_saving = memory_saving

    def forward(self, x: Tensor) -> Tensor:
        """Integrates from 0 to T."""
        return self._integrate(x, 0, self.duration)

    def inverse(self, y: Tensor) -> Tensor:
        """Integrates from T back to 0."""
        return self._integrate(y, self.duration, 0)

    def _integrate(self, h: Tensor, start: float, end: float) -> Tensor:
        h = h.to(torch.promote_types(h.dtype, torch.float32))
        if start == end:
            return h
        time = torch.tensor([start, end], dtype=h.dtype, device=h.device)
        if self.memory_saving and torch.is_grad_enabled():
            return self._solve_with_adjoint(h, time)
        return self._solve(h, time)

    def _solve(self, h: Tensor, time: Tensor) -> Tensor:
        odeint, _ = _solvers()
        states: Tensor = odeint(_Paced(self), h, time, **self._options(time))
        return states[-1]

    def _solve_with_adjoint(self, h: Tensor, time: Tensor) -> Tensor:
        _, odeint_adjoint = _solvers()
        options = self._options(time)
        backwards = dict(options["options"])
        if self.solver not in FIXED_STEP:
            # The weights' gradients are plain integrals: their error needs no feedback, and steps
            # chosen without regard to it are far fewer (Kidger et al., 2021).
            backwards["norm"] = "seminorm"
        states: Tensor = odeint_adjoint(_Paced(self), h, time, **options, adjoint_options=backwards)
        end = states[-1]
        if end.requires_grad:
            end.register_hook(_refuse_second_derivatives)
        return end

    def _options(self, time: Tensor) -> dict[str, Any]:
        # An adaptive solver would step over the end and interpolate, at a lower order than its own.
        options: dict[str, Any] = (
            {"step_size": self.step} if self.solver in FIXED_STEP else {"step_t": time}
        )
        if time.device.type == "mps" and self.solver not in FIXED_STEP:
            options["dtype"] = torch.float32  # of times; MPS has no float64
        return {"method": self.solver, "rtol": self.rtol, "atol": self.atol, "options": options}

    def extra_repr(self) -> str:
        return f"duration={self.duration}, solver={self.solver}, memory_saving={self.memory_saving}"


def _refuse_second_derivatives(grad: Tensor) -> None:
    """Torchdiffeq's adjoint method would silently leave them out."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "the adjoint method has first derivatives only; for second ones (create_graph=True), "
            'set memory_saving=False (memory="naive" in RevGenerator)'
        )


class _Paced(nn.Module):
    """The field over the time from 0 to T."""

    def __init__(self, core: OdeCore) -> None:
        super().__init__()
        self.field = core.field
        self._duration = core.duration

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        dtype = next(self.field.parameters(), h).dtype
        seen = h.to(dtype) if dtype in (torch.float16, torch.bfloat16) else h
        # Here, as the adjoint method also calls this in the backward pass.
        with torch.autocast(h.device.type, enabled=False):
            derivative: Tensor = self.field(t.to(seen.dtype) / self._duration, seen)
        return derivative.to(h.dtype)


@cache
def _solvers() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Torchdiffeq's two, imported when they are needed, as SciPy comes with them, which is slow.

    The tensors that it makes then would be of no use to autograd if they were made in inference
    mode.
    """
    with torch.inference_mode(False):
        from torchdiffeq import odeint, odeint_adjoint
    return odeint, odeint_adjoint
