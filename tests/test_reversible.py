"""The reversible core: exact inverse, exact gradients, no stored activations."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from revgan.reversible import AdditiveCoupling, AffineCoupling, ReversibleSequential, round_to_grid

DIRECTIONS = ["forward", "inverse"]
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def residual(channels: int, spatial_dims: int = 2, out: int | None = None) -> nn.Module:
    conv = CONV[spatial_dims]
    return nn.Sequential(
        conv(channels, channels, 3, padding=1), nn.ReLU(), conv(channels, out or channels, 1)
    )


def additive_core(depth: int, channels: int = 6, spatial_dims: int = 2, **options):
    half = channels // 2
    blocks = [
        AdditiveCoupling(residual(half, spatial_dims), residual(half, spatial_dims))
        for _ in range(depth)
    ]
    return ReversibleSequential(*blocks, **options)


def run(core: ReversibleSequential, x: torch.Tensor, direction: str) -> torch.Tensor:
    return core(x) if direction == "forward" else core.inverse(x)


def gradients(core: ReversibleSequential, x: torch.Tensor, direction: str):
    x = x.clone().requires_grad_()
    y = run(core, x, direction)
    wanted = [x, *core.parameters()]
    return y, torch.autograd.grad(y.square().sum(), wanted)


def naive_twin(core: ReversibleSequential) -> ReversibleSequential:
    twin = copy.deepcopy(core)
    twin.memory_saving = False
    return twin


@pytest.mark.parametrize("depth", [2, 6, 30])
def test_inverse_returns_the_input_bit_for_bit(depth):
    core = additive_core(depth)
    x = round_to_grid(torch.randn(2, 6, 9, 7))
    assert torch.equal(core.inverse(core(x)), x)
    assert torch.equal(core(core.inverse(x)), x)


def test_inverse_returns_an_arbitrary_input_rounded_to_the_grid():
    core = additive_core(6)
    x = torch.randn(2, 6, 9, 7)
    assert torch.equal(core.inverse(core(x)), round_to_grid(x))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("depth", [2, 6, 30])
def test_memory_saving_gradients_equal_naive_ones_bit_for_bit(depth, direction):
    core = additive_core(depth)
    x = torch.randn(1, 6, 8, 8)
    y, grads = gradients(core, x, direction)
    naive_y, naive_grads = gradients(naive_twin(core), x, direction)
    assert torch.equal(y, naive_y)
    assert all(itertools.starmap(torch.equal, zip(grads, naive_grads, strict=True)))


@settings(max_examples=25, deadline=None)
@given(
    spatial_dims=st.sampled_from([1, 2, 3]),
    half=st.integers(1, 4),
    batch=st.integers(1, 3),
    size=st.integers(1, 6),
    depth=st.integers(0, 5),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    direction=st.sampled_from(DIRECTIONS),
    seed=st.integers(0, 1000),
)
def test_any_shape_depth_and_direction_is_exact(
    spatial_dims, half, batch, size, depth, dtype, direction, seed
):
    torch.manual_seed(seed)
    core = additive_core(depth, 2 * half, spatial_dims).to(dtype)
    x = torch.randn(batch, 2 * half, *[size] * spatial_dims, dtype=dtype)
    y, grads = gradients(core, x, direction)
    naive_y, naive_grads = gradients(naive_twin(core), x, direction)
    assert torch.equal(y, naive_y)
    assert all(itertools.starmap(torch.equal, zip(grads, naive_grads, strict=True)))
    back = core.inverse(y) if direction == "forward" else core(y)
    assert torch.equal(back, round_to_grid(x))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", [AdditiveCoupling, AffineCoupling])
def test_gradients_agree_with_numerical_ones_in_float64(kind, direction):
    out = 2 if kind is AdditiveCoupling else 4
    smooth = [nn.Sequential(nn.Conv2d(2, out, 3, padding=1), nn.Tanh()) for _ in range(6)]
    core = ReversibleSequential(*map(kind, smooth[::2], smooth[1::2])).double()
    parameters = [p.detach() for p in core.parameters()]
    names = [name for name, _ in core.named_parameters()]

    def function(x, *weights):
        method = Direction(core, direction)
        keys = [f"core.{name}" for name in names]
        return torch.func.functional_call(method, dict(zip(keys, weights, strict=True)), (x,))

    inputs = [torch.randn(1, 4, 3, 3).double(), *parameters]
    assert torch.autograd.gradcheck(function, [t.requires_grad_() for t in inputs])


class Direction(nn.Module):
    def __init__(self, core: ReversibleSequential, direction: str) -> None:
        super().__init__()
        self.core, self.direction = core, direction

    def forward(self, x):
        return run(self.core, x, self.direction)


def test_without_exact_arithmetic_gradients_drift():
    # The reason for the grid: 30 blocks of ordinary float32 sums are not undone exactly.
    core = additive_core(30)
    for block in core:
        block.exact = False
    x = torch.randn(1, 6, 8, 8)
    assert not torch.equal(core.inverse(core(x)), x)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_affine_coupling_inverts_to_rounding(direction):
    half = 3
    blocks = [AffineCoupling(residual(half, out=6), residual(half, out=6)) for _ in range(4)]
    core = ReversibleSequential(*blocks)
    x = torch.randn(2, 6, 8, 8)
    y = run(core, x, direction)
    back = run(core, y, "inverse" if direction == "forward" else "forward")
    # Each block divides by scales near 0.9, which at worst amplifies rounding a few times.
    assert torch.allclose(back, x, atol=1e-5)
    _, grads = gradients(core, x, direction)
    _, naive_grads = gradients(naive_twin(core), x, direction)
    for grad, naive in zip(grads, naive_grads, strict=True):
        assert torch.allclose(grad, naive, rtol=1e-3, atol=1e-4)


def test_affine_coupling_names_the_channels_it_needs():
    core = ReversibleSequential(AffineCoupling(residual(3), residual(3)))
    with pytest.raises(ValueError, match="must return 6 channels"):
        core(torch.randn(1, 6, 4, 4))


def test_used_in_both_directions_before_one_backward():
    core = additive_core(4)
    twin = naive_twin(core)
    x = torch.randn(1, 6, 8, 8)

    def loss(c):
        y = c(F.relu(c.inverse(torch.tanh(c(x)))))
        return y.square().mean() + c.inverse(x).abs().mean()

    grads = torch.autograd.grad(loss(core), core.parameters())
    naive = torch.autograd.grad(loss(twin), twin.parameters())
    for grad, other in zip(grads, naive, strict=True):
        # Four uses are summed in an order that autograd chooses: equal up to rounding.
        assert torch.allclose(grad, other, rtol=1e-5, atol=1e-7)


def test_in_place_operations_around_the_core_do_not_disturb_it():
    core = additive_core(3)
    x = torch.randn(1, 6, 8, 8)

    def grads(c):
        parameters = list(c.parameters())
        start = x + parameters[0].sum()
        return torch.autograd.grad(F.relu_(c(F.relu_(start))).sum(), parameters)

    pairs = zip(grads(core), grads(naive_twin(core)), strict=True)
    assert all(itertools.starmap(torch.equal, pairs))


def test_backward_can_run_twice_over_a_retained_graph():
    core = additive_core(3)
    y = core(torch.randn(1, 6, 8, 8)).square().sum()
    first = torch.autograd.grad(y, core.parameters(), retain_graph=True)
    second = torch.autograd.grad(y, core.parameters())
    assert all(itertools.starmap(torch.equal, zip(first, second, strict=True)))


def test_shared_and_frozen_parameters():
    shared, frozen = residual(3), residual(3).requires_grad_(False)
    blocks = [AdditiveCoupling(shared, shared), AdditiveCoupling(shared, frozen)]
    core = ReversibleSequential(*blocks)
    x = torch.randn(1, 6, 8, 8)

    def grads(c):
        c(x).square().sum().backward()
        return [p.grad for p in c.parameters()]

    ours, naive = grads(core), grads(naive_twin(core))
    assert [g is None for g in ours] == [not p.requires_grad for p in core.parameters()]
    for grad, other in zip(ours, naive, strict=True):
        if grad is not None:  # three uses, summed in another order
            assert torch.allclose(grad, other, rtol=1e-5, atol=1e-6)


def test_functions_without_parameters_or_constant():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.ones_like(x.detach())

    core = ReversibleSequential(AdditiveCoupling(nn.Identity(), Constant()))
    x = round_to_grid(torch.randn(1, 2, 4)).requires_grad_()
    (grad,) = torch.autograd.grad(core(x).sum(), x)
    assert torch.equal(grad, torch.tensor([1.0, 2.0]).view(1, 2, 1).expand(1, 2, 4))
    assert torch.equal(core.inverse(core(x)), x)


def test_parameter_hooks_see_the_gradient():
    core = additive_core(2)
    seen = []
    parameter = next(core.parameters())
    parameter.register_hook(lambda grad: seen.append(grad.clone()))
    core(torch.randn(1, 6, 4, 4)).sum().backward()
    assert len(seen) == 1
    assert torch.equal(seen[0], parameter.grad)


def test_a_weight_changed_between_forward_and_backward_is_noticed():
    core = additive_core(2)
    loss = core(torch.randn(1, 6, 4, 4)).sum()
    with torch.no_grad():
        next(core.parameters()).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_second_derivative_is_refused_in_one_sentence():
    core = additive_core(2)
    x = torch.randn(1, 6, 4, 4, requires_grad=True)
    with pytest.raises(RuntimeError, match="memory_saving=False"):
        torch.autograd.grad(core(x).sum(), x, create_graph=True)
    core.memory_saving = False
    (grad,) = torch.autograd.grad(core(x).square().sum(), x, create_graph=True)
    grad.square().sum().backward()


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_without_gradients_the_result_is_the_same(context):
    core = additive_core(3)
    x = torch.randn(1, 6, 4, 4)
    with context():
        y = core(x)
    assert torch.equal(y, core(x).detach())


def test_channels_last_and_strided_inputs():
    core = additive_core(3)
    x = torch.randn(2, 6, 8, 8)
    y = core(x)
    for other in (x.contiguous(memory_format=torch.channels_last), x.mT.contiguous().mT):
        assert torch.allclose(core(other), y, atol=1e-5)
        _, grads = gradients(core, other, "forward")
        _, naive = gradients(naive_twin(core), other, "forward")
        assert all(itertools.starmap(torch.equal, zip(grads, naive, strict=True)))


@pytest.mark.parametrize("shape", [(1, 5, 4, 4), (4,)])
def test_channels_that_have_no_halves_are_named(shape):
    with pytest.raises(ValueError, match="even number of channels"):
        additive_core(1)(torch.zeros(shape))


def test_autocast_keeps_the_stream_in_float32_and_exact():
    core = additive_core(6)
    x = round_to_grid(torch.randn(1, 6, 8, 8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, grads = core(x), None
        assert y.dtype == torch.float32
        assert torch.equal(core.inverse(y), x)
        loss = core(x).square().sum()
    grads = torch.autograd.grad(loss, core.parameters())
    twin = naive_twin(core)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = twin(x).square().sum()
    naive = torch.autograd.grad(loss, twin.parameters())
    for grad, other in zip(grads, naive, strict=True):
        assert torch.allclose(grad, other, rtol=1e-2, atol=1e-2 * float(other.abs().max()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_16_bit_input_becomes_an_exact_float32_stream(dtype):
    # As the encoder hands it over under autocast.
    core = additive_core(6)
    x = torch.randn(1, 6, 8, 8).to(dtype)
    y, grads = gradients(core, x, "forward")
    assert y.dtype == torch.float32
    assert torch.equal(core.inverse(y), round_to_grid(x.float()))
    _, naive = gradients(naive_twin(core), x, "forward")
    assert all(itertools.starmap(torch.equal, zip(grads, naive, strict=True)))


def test_a_coupling_with_weights_of_its_own_is_refused():
    class Scaled(AdditiveCoupling):
        def __init__(self, f, g):
            super().__init__(f, g)
            self.scale = nn.Parameter(torch.ones(1))

    with pytest.raises(TypeError, match="in f and g"):
        ReversibleSequential(Scaled(nn.Identity(), nn.Identity()))


def test_state_is_that_of_the_blocks():
    core, other = additive_core(2), additive_core(2)
    other.load_state_dict(core.state_dict())
    x = torch.randn(1, 6, 4, 4)
    assert torch.equal(core(x), other(x))
    assert len(core) == 2
    assert next(iter(core.state_dict())).startswith("blocks.0.f.")


def test_a_single_coupling_is_a_network_too():
    block = AdditiveCoupling(residual(3), residual(3))
    x = round_to_grid(torch.randn(1, 6, 4, 4))
    assert torch.equal(block(x), ReversibleSequential(block)(x))
    assert torch.equal(block.inverse(block(x)), x)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_dropout_is_recomputed_with_the_same_units(direction):
    def function():
        return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Dropout(0.5), nn.Conv2d(3, 3, 1))

    core = ReversibleSequential(*(AdditiveCoupling(function(), function()) for _ in range(3)))
    x = torch.randn(1, 6, 8, 8)
    results, states = [], []
    for c in (core, naive_twin(core)):
        torch.manual_seed(7)
        results.append(gradients(c, x, direction)[1])
        states.append(torch.get_rng_state())
    assert all(itertools.starmap(torch.equal, zip(*results, strict=True)))
    assert torch.equal(*states)


def test_running_statistics_are_updated_once():
    def function():
        return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))

    core = ReversibleSequential(*(AdditiveCoupling(function(), function()) for _ in range(3)))
    twin = naive_twin(core)
    x = torch.randn(2, 6, 8, 8)
    results = [gradients(c, x, "forward")[1] for c in (core, twin)]
    assert all(itertools.starmap(torch.equal, zip(*results, strict=True)))
    for ours, theirs in zip(core.buffers(), twin.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    assert core.state_dict()["blocks.0.f.1.num_batches_tracked"] == 1
