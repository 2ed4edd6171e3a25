"""The kinds of coupling: what each is exact to, and what it asks of f and g."""

import pytest
import torch
from torch import nn

from cores import (
    DIRECTIONS,
    additive_core,
    affine_core,
    gradients,
    largest_error,
    naive_twin,
    residual,
    run,
    same_bits,
)
from revgan.reversible import AdditiveCoupling, AffineCoupling, ReversibleSequential, round_to_grid

HALF_PRECISION = [torch.bfloat16, torch.float16]


def test_a_single_coupling_is_a_network_too():
    block = AdditiveCoupling(residual(3), residual(3))
    x = round_to_grid(torch.randn(1, 6, 4, 4))
    assert torch.equal(block(x), ReversibleSequential(block)(x))
    assert torch.equal(block.inverse(block(x)), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("depth", [2, 6, 12, 30, 60])
def test_affine_inversion_error_grows_as_documented(depth, dtype):
    core = affine_core(depth, 8).to(dtype)
    x = torch.randn(2, 8, 16, 16, dtype=dtype)
    with torch.no_grad():
        error = (core.inverse(core(x)) - x).abs().max()
    # The bound of AffineCoupling's docstring: each block divides by scales near sigmoid(2) = 0.88.
    assert error <= 64 * torch.finfo(dtype).eps / 0.88**depth


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_affine_gradients_agree_with_naive_ones_to_rounding(direction):
    core = affine_core(4)
    x = torch.randn(2, 6, 8, 8)
    (y, grads), (naive_y, naive_grads) = (
        gradients(c, x, direction) for c in (core, naive_twin(core))
    )
    assert torch.equal(y, naive_y)
    # Recovered activations are off by some units in the last place (1e-7), and gradients likewise.
    assert largest_error(grads, naive_grads) < 1e-5


def test_affine_scales_are_bounded_by_one():
    target = torch.ones(1, 1, 3)
    raw = torch.tensor([-1e4, 0.0, 1e4]).view(1, 1, 3)
    block = AffineCoupling(nn.Identity(), nn.Identity())
    scale = block.couple(target, torch.cat((raw, torch.zeros_like(raw)), dim=1))
    expected = torch.tensor([0.0, torch.tensor(2.0).sigmoid(), 1.0]).view(1, 1, 3)
    assert torch.equal(scale, expected)


def test_affine_coupling_names_the_channels_it_needs():
    core = ReversibleSequential(AffineCoupling(residual(3), residual(3)))
    with pytest.raises(ValueError, match="must return 6 channels"):
        core(torch.randn(1, 6, 4, 4))


@pytest.mark.parametrize("memory_saving", [True, False])
def test_additive_coupling_names_the_shape_it_needs(memory_saving):
    # Features of one position would be broadcast, and their gradient have another shape.
    block = AdditiveCoupling(nn.AdaptiveAvgPool2d(1), nn.Identity())
    core = ReversibleSequential(block, memory_saving=memory_saving)
    with pytest.raises(ValueError, match=r"\(1, 3, 4, 4\), not \(1, 3, 1, 1\)"):
        core(torch.randn(1, 6, 4, 4))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", HALF_PRECISION)
def test_a_16_bit_input_becomes_an_exact_float32_stream(dtype, direction):
    # As the encoder hands it over under autocast.
    core = additive_core(6)
    x = torch.randn(1, 6, 8, 8).to(dtype)
    y, grads = gradients(core, x, direction)
    assert y.dtype == torch.float32
    back = core.inverse(y) if direction == "forward" else core(y)
    assert torch.equal(back, round_to_grid(x.float()))
    assert same_bits(grads, gradients(naive_twin(core), x, direction)[1])


def test_a_16_bit_input_of_an_inexact_core_becomes_float32_too():
    # In bfloat16, with a rounding of 4e-3 per sum, the inverse would be no inverse at all.
    core = affine_core(2)
    x = torch.randn(1, 6, 8, 8).to(torch.bfloat16)
    assert torch.allclose(core.inverse(core(x)), x.float(), atol=1e-5)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", HALF_PRECISION)
def test_16_bit_weights_work_without_autocast(dtype, direction):
    core = additive_core(4).to(dtype)
    x = round_to_grid(torch.randn(1, 6, 8, 8))
    y, grads = gradients(core, x, direction)
    assert torch.equal(core.inverse(core(x)), x)
    assert same_bits(grads, gradients(naive_twin(core), x, direction)[1])
    assert all(grad.dtype == dtype for grad in grads[1:])
    with torch.no_grad():
        assert torch.equal(run(core, x, direction), y)
