"""Fixed-point arithmetic inside floating point."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cores import additive_core
from revgan.reversible import grid_spacing, round_to_grid

DTYPES = [torch.float32, torch.float64]


def test_spacing_leaves_eight_bits_before_the_point():
    assert grid_spacing(torch.float32) == 2.0**-16
    assert grid_spacing(torch.float64) == 2.0**-45


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_types_have_no_grid_and_pass_unchanged(dtype):
    x = torch.randn(5).to(dtype)
    assert grid_spacing(dtype) is None
    assert torch.equal(round_to_grid(x), x)


@pytest.mark.parametrize("dtype", DTYPES)
@given(value=st.floats(-230, 230), addend=st.floats(-20, 20))
def test_a_sum_on_the_grid_is_undone_bit_for_bit(dtype, value, addend):
    x, h = (round_to_grid(torch.tensor(v, dtype=dtype)) for v in (value, addend))
    assert torch.equal((x + h) - h, x)


@pytest.mark.parametrize("dtype", DTYPES)
@given(value=st.floats(-250, 250))
def test_rounding_moves_by_half_a_spacing_at_most_and_only_once(dtype, value):
    x = torch.tensor(value, dtype=dtype)
    rounded = round_to_grid(x)
    assert abs(rounded - x) <= grid_spacing(dtype) / 2
    assert torch.equal(round_to_grid(rounded), rounded)


def test_gradient_passes_straight_through():
    x = torch.randn(7, requires_grad=True)
    (round_to_grid(x) * torch.arange(7.0)).sum().backward()
    assert torch.equal(x.grad, torch.arange(7.0))


def test_the_input_is_left_alone():
    x = torch.randn(7)
    before = x.clone()
    round_to_grid(x)
    assert torch.equal(x, before)


def test_infinite_and_missing_values_stay_visible():
    x = torch.tensor([float("inf"), float("-inf"), float("nan")])
    assert torch.equal(round_to_grid(x).isnan(), torch.tensor([False, False, True]))
    assert round_to_grid(x)[:2].isinf().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e3, 1e5, 1e7])
def test_past_the_range_a_core_is_as_good_as_plain_floating_point(scale, dtype):
    core = additive_core(6).to(dtype)
    x = scale * torch.randn(2, 6, 8, 8, dtype=dtype)
    with torch.no_grad():
        y = core(x)
        back = core.inverse(y)
        for block in core:
            block.exact = False
        plain = core(x)
    # Twelve sums and as many differences, each rounded to half a unit in the last place of y.
    tolerance = 24 * torch.finfo(dtype).eps / 2 * float(y.abs().max())
    assert y.isfinite().all()
    assert not torch.equal(back, round_to_grid(x))
    assert (back - x).abs().max() <= tolerance
    assert (y - plain).abs().max() <= tolerance + 12 * grid_spacing(dtype)
