"""The reversible core: exact inverse, exact gradients, no stored activations."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from cores import (
    DEVICES,
    DIRECTIONS,
    additive_core,
    core_of,
    gradients,
    naive_twin,
    residual,
    run,
    same_bits,
)
from revgan.memory import measure_step
from revgan.reversible import AdditiveCoupling, AffineCoupling, ReversibleSequential, round_to_grid


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


def assert_equals_naive(core: ReversibleSequential, x: torch.Tensor, direction: str) -> None:
    y, grads = gradients(core, x, direction)
    naive_y, naive_grads = gradients(naive_twin(core), x, direction)
    assert torch.equal(y, naive_y)
    assert same_bits(grads, naive_grads)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("depth", [2, 6, 30])
def test_memory_saving_gradients_equal_naive_ones_bit_for_bit(depth, direction, device):
    core = additive_core(depth).to(device)
    assert_equals_naive(core, torch.randn(1, 6, 8, 8, device=device), direction)


@settings(max_examples=40, deadline=None)
@given(
    spatial_dims=st.sampled_from([1, 2, 3]),
    half=st.integers(1, 4),
    batch=st.integers(0, 3),
    size=st.integers(1, 6),
    blocks=st.integers(0, 5).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    direction=st.sampled_from(DIRECTIONS),
    channels_last=st.booleans(),
    seed=st.integers(0, 1000),
)
@example(2, 2, 1, 2, (1, 0), torch.float32, "forward", True, 0)  # strides of an axis of size 1
def test_any_shape_depth_layout_and_direction_is_exact(
    spatial_dims, half, batch, size, blocks, dtype, direction, channels_last, seed
):
    torch.manual_seed(seed)
    depth, stored = blocks
    core = additive_core(depth, 2 * half, spatial_dims, stored_blocks=stored).to(dtype)
    x = torch.randn(batch, 2 * half, *[size] * spatial_dims, dtype=dtype)
    if channels_last:
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    assert_equals_naive(core, x, direction)
    y = run(core, x, direction)
    back = core.inverse(y) if direction == "forward" else core(y)
    assert torch.equal(back, round_to_grid(x))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_number_of_stored_blocks_gives_the_same_bits(direction):
    core = additive_core(4)
    x = torch.randn(2, 6, 8, 8)
    results = []
    for stored in range(5):
        core.stored_blocks = stored
        y, grads = gradients(core, x, direction)
        results.append([y, *grads])
    assert all(same_bits(results[0], other) for other in results[1:])


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_each_stored_block_costs_memory(direction):
    core = core_of(lambda: residual(4).requires_grad_(False), 4)
    x = torch.randn(1, 8, 32, 32, requires_grad=True)

    def peak(stored: int) -> int:
        core.stored_blocks = stored
        return measure_step(lambda: run(core, x, direction).sum().backward()).peak

    x.grad = torch.zeros_like(x)
    peaks = [peak(stored) for stored in range(5)]
    # The first stored block takes the place of one that is recomputed while the output is held.
    assert sorted(peaks) == peaks
    assert len(set(peaks[1:])) == 4


@pytest.mark.parametrize("stored", [-1, 3])
def test_more_or_fewer_stored_blocks_than_there_are_is_refused(stored):
    with pytest.raises(ValueError, match=f"from 0 to the number of blocks, 2, not {stored}"):
        additive_core(2, stored_blocks=stored)


def test_nets_that_use_their_input_twice_are_exact_too():
    # Their gradients to the input are summed in one order, whether recomputed or stored.
    def attention():
        return nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)

    core = core_of(attention, 3)
    x = torch.randn(2, 10, 8)
    results = []
    for c in (core, naive_twin(core)):
        torch.manual_seed(1)
        results.append(gradients(c, x)[1])
    assert same_bits(*results)


@pytest.mark.parametrize("channels_last", [False, True])
def test_weights_in_any_layout(channels_last):
    core = additive_core(3)
    x = torch.randn(2, 6, 8, 8)
    if channels_last:
        core, x = (o.to(memory_format=torch.channels_last) for o in (core, x))
    for direction in DIRECTIONS:
        assert_equals_naive(core, x, direction)


def test_strided_inputs():
    x = torch.randn(2, 6, 8, 16)[..., ::2].mT
    assert_equals_naive(additive_core(3), x, "forward")


def test_inputs_modified_after_the_run_do_not_disturb_the_gradients():
    core = additive_core(1)
    for block in core:
        block.exact = False  # whose halves are views of the input
    x = torch.randn(1, 6, 4, 4)
    y = core(x)
    expected = torch.autograd.grad(y.sum(), core.parameters(), retain_graph=True)
    x.zero_()
    assert same_bits(torch.autograd.grad(y.sum(), core.parameters()), expected)


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

    assert same_bits(grads(core), grads(naive_twin(core)))


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


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_without_gradients_the_result_is_the_same(context):
    core = additive_core(3)
    x = torch.randn(1, 6, 4, 4)
    with context():
        y = core(x)
    assert torch.equal(y, core(x).detach())


@pytest.mark.parametrize("shape", [(1, 5, 4, 4), (4,)])
def test_channels_that_have_no_halves_are_named(shape):
    with pytest.raises(ValueError, match="even number of channels"):
        additive_core(1)(torch.zeros(shape))


@pytest.mark.parametrize("own", [nn.Parameter(torch.ones(1)), nn.LayerNorm(3)])
def test_a_coupling_with_weights_of_its_own_is_refused(own):
    class Scaled(AdditiveCoupling):
        def __init__(self, f, g):
            super().__init__(f, g)
            self.scale = own

    with pytest.raises(TypeError, match="in f and g"):
        ReversibleSequential(Scaled(nn.Identity(), nn.Identity()))


def duplicates(core: ReversibleSequential):
    yield copy.deepcopy(core)
    yield pickle.loads(pickle.dumps(core))
    file = io.BytesIO()
    torch.save(core, file)
    file.seek(0)
    yield torch.load(file, weights_only=False)
    fresh = additive_core(len(core))
    fresh.load_state_dict(core.state_dict())
    yield fresh


def test_copies_pickles_and_state_dicts_are_the_same_network():
    core = additive_core(2)
    x = torch.randn(1, 6, 4, 4)
    gradients(core, x)  # a used core leaves nothing behind that can't be copied
    for duplicate in duplicates(core):
        for direction in DIRECTIONS:
            y, grads = gradients(duplicate, x, direction)
            expected, expected_grads = gradients(core, x, direction)
            assert same_bits([y, *grads], [expected, *expected_grads])


def test_state_names_are_those_of_the_blocks():
    core = additive_core(2)
    assert len(core) == 2
    assert next(iter(core.state_dict())).startswith("blocks.0.f.")
    assert "stored_blocks=1" in repr(additive_core(2, stored_blocks=1))


def test_moved_to_another_precision_the_core_stays_exact():
    core = additive_core(3).to(torch.float64)
    assert_equals_naive(core, torch.randn(1, 6, 4, 4, dtype=torch.float64), "inverse")


def test_numbers_that_are_not_real_are_refused():
    with pytest.raises(TypeError, match="complex64"):
        additive_core(1)(torch.zeros(1, 6, 4, 4, dtype=torch.complex64))
