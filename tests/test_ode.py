"""The core of continuous depth: its solution, its inverse, its gradients and their memory."""

import itertools
import math
from typing import get_args

import pytest
import torch
from torch import nn

from revgan.errors import solver_failed
from revgan.memory import measure_step
from revgan.networks import GeneratorConfig, RevGenerator
from revgan.networks.config import FixedStepSolver
from revgan.networks.field import TimeField
from revgan.reversible import OdeCore
from revgan.reversible.ode import FIXED_STEP

ADAPTIVE = ["dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"]
FIXED = ["euler", "midpoint", "rk4"]


class Rotation(nn.Module):
    """dh/dt = w R h, whose solution is a rotation by w T."""

    def __init__(self, speed=0.7):
        super().__init__()
        self.speed = nn.Parameter(torch.tensor(speed, dtype=torch.float64))

    def forward(self, t, h):
        return self.speed * torch.cat((-h[:, 1:], h[:, :1]), dim=1)


class Growth(nn.Module):
    """dh/dt = 2 (t / T) h, whose solution over [0, T] is h exp(T)."""

    def forward(self, t, h):
        return 2 * t * h


def rotated(h, angle):
    c, s = math.cos(angle), math.sin(angle)
    return torch.cat((c * h[:, :1] - s * h[:, 1:], s * h[:, :1] + c * h[:, 1:]), dim=1)


@pytest.mark.parametrize("solver", [*ADAPTIVE, *FIXED])
def test_solvers_find_the_rotation_that_the_equation_describes(solver):
    # Fixed steps of 0.01: Euler's error is about w**2 T step / 2 = 5e-3, the midpoint rule's
    # w**3 T step**2 / 6 = 1e-5. The adaptive ones allow 1e-7 a step; fehlberg2, of order 2, needs
    # thousands of them.
    core = OdeCore(Rotation(), 2, solver=solver, rtol=1e-7, atol=1e-7, step=0.01)
    h = torch.randn(3, 2, 4, dtype=torch.float64)
    tolerance = {"euler": 2e-2, "midpoint": 1e-4, "fehlberg2": 1e-3}.get(solver, 1e-6)
    assert torch.allclose(core(h), rotated(h, 1.4), atol=tolerance)
    assert torch.allclose(core.inverse(h), rotated(h, -1.4), atol=tolerance)


def test_the_field_sees_times_from_0_to_1_whatever_the_duration():
    h = torch.rand(1, 2, 3, dtype=torch.float64)
    core = OdeCore(Growth(), 3, solver="dopri5", rtol=1e-10, atol=1e-10)
    # 1e-10 a step, over some hundred steps whose errors grow by exp(3).
    assert torch.allclose(core(h), h * math.exp(3), rtol=1e-7)


def test_of_no_duration_it_changes_nothing():
    h = torch.rand(1, 2, 3)
    assert torch.equal(OdeCore(Rotation(), 0)(h), h)


class Smooth(nn.Module):
    """A nonlinear field that depends on the time, with derivatives of every order."""

    def __init__(self):
        super().__init__()
        draws = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(4, 4, generator=draws, dtype=torch.float64) / 2)
        self.bias = nn.Parameter(torch.randn(4, 1, generator=draws, dtype=torch.float64))

    def forward(self, t, h):
        return torch.tanh(self.weight @ h + t * self.bias)


def test_the_inverse_is_as_good_as_the_tolerance():
    v, h = Smooth(), torch.randn(1, 4, 6, dtype=torch.float64)
    errors = []
    for tolerance in (1e-3, 1e-5, 1e-7, 1e-9):
        core = OdeCore(v, 2, solver="dopri5", rtol=tolerance, atol=tolerance)
        with torch.no_grad():
            errors.append(float((core.inverse(core(h)) - h).norm() / h.norm()))
    # A hundredth of the tolerance, with a method of order 5, is about a hundredth of the error.
    assert all(later < earlier / 10 for earlier, later in itertools.pairwise(errors))
    assert errors[-1] < 1e-7


def gradients(core, h, call):
    h = h.clone().requires_grad_()
    loss = call(core)(h).tanh().sum()
    return torch.autograd.grad(loss, [h, *core.parameters()])


@pytest.mark.parametrize("solver", ["dopri5", "rk4"])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_the_adjoint_method_gives_the_gradients_of_the_solvers_steps(direction, solver):
    v, h = Smooth(), torch.randn(2, 4, 5, dtype=torch.float64)
    found = [
        gradients(
            OdeCore(v, 2, solver=solver, rtol=1e-9, atol=1e-9, step=0.02, memory_saving=saving),
            h,
            lambda core: core if direction == "forward" else core.inverse,
        )
        for saving in (False, True)
    ]
    for stored, adjoint in zip(*found, strict=True):
        # Each is within about 1e-9 a step, or 0.02**4, of the equation's.
        assert torch.allclose(adjoint, stored, rtol=1e-6, atol=1e-6)


def test_stored_steps_have_second_derivatives():
    core = OdeCore(Rotation(), 1, solver="rk4", memory_saving=False)
    h = torch.randn(1, 2, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda h: core(h).tanh(), h)


def test_the_adjoint_method_says_that_it_has_no_second_derivatives():
    h = torch.randn(1, 2, 1, dtype=torch.float64, requires_grad=True)
    y = OdeCore(Rotation(), 1)(h)
    with pytest.raises(RuntimeError, match="set memory_saving=False"):
        torch.autograd.grad(y.sum(), h, create_graph=True)


def test_memory_of_the_adjoint_method_does_not_depend_on_the_number_of_steps():
    x = torch.randn(1, 4, 10_000, dtype=torch.float64, requires_grad=True)

    def peak(step):
        core = OdeCore(Smooth(), 2, solver="rk4", step=step)
        return measure_step(lambda: core(x).sum().backward(), torch.device("cpu")).peak

    assert peak(0.05) <= 1.02 * peak(0.5)  # ten times the steps; some bytes for their times


def test_under_autocast_the_core_computes_in_float32():
    seen = []

    class Watching(Rotation):
        def forward(self, t, h):
            seen.append((h.dtype, torch.is_autocast_enabled("cpu")))
            return super().forward(t, h)

    core = OdeCore(Watching().float(), 1, solver="euler")
    with torch.autocast("cpu", torch.bfloat16):
        y = core(torch.ones(1, 2, 3, dtype=torch.bfloat16, requires_grad=True))
        y.sum().backward()  # by the adjoint method, which evaluates the field again
    assert len(seen) > 4
    assert set(seen) == {(torch.float32, False)}


def test_a_solver_that_gives_up_is_recognised():
    core = OdeCore(Rotation(float("nan")), 1, solver="dopri5")
    with pytest.raises(AssertionError) as caught:
        core(torch.ones(1, 2, 3))
    assert solver_failed(caught.value)
    y = OdeCore(Rotation(), 1, solver="dopri5")(torch.ones(1, 2, 3, requires_grad=True))
    with pytest.raises(AssertionError) as caught:
        y.backward(torch.full_like(y, float("inf")))
    assert solver_failed(caught.value)


def test_solvers_of_fixed_steps_are_those_of_the_configuration():
    assert get_args(FixedStepSolver) == FIXED_STEP


def test_a_fresh_field_ignores_the_time_and_a_trained_one_does_not():
    config = GeneratorConfig(core="ode", width=2)
    v, h = TimeField(config, 2, 8), torch.randn(1, 8, 6, 6)
    early, late = (v(torch.tensor(t), h) for t in (0.0, 1.0))
    assert torch.equal(early, late)
    for name, parameter in v.named_parameters():
        if "scale" in name or "shift" in name:
            nn.init.normal_(parameter)
    assert not torch.allclose(v(torch.tensor(1.0), h), late)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_generator_of_continuous_depth_leads_back_where_it_came_from(spatial_dims):
    torch.manual_seed(0)
    net = RevGenerator(
        spatial_dims,
        width=4,
        depth=2,
        core="ode",
        ode_solver="dopri5",
        ode_rtol=1e-9,
        ode_atol=1e-9,
    ).double()
    h = net.encoder_a(torch.rand(1, 3, *[16] * spatial_dims, dtype=torch.float64))
    # Backwards, the equation amplifies its errors of 1e-9 a step.
    assert torch.allclose(net.core.inverse(net.core(h)), h, atol=1e-5)
