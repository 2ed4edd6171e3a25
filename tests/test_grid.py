"""Fixed-point arithmetic inside floating point."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from revgan.reversible import grid_spacing, round_to_grid

DTYPES = [torch.float32, torch.float64]


def test_spacing_leaves_ten_bits_before_the_point():
    assert grid_spacing(torch.float32) == 2.0**-14
    assert grid_spacing(torch.float64) == 2.0**-43


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_types_have_no_grid_and_pass_unchanged(dtype):
    x = torch.randn(5).to(dtype)
    assert grid_spacing(dtype) is None
    assert torch.equal(round_to_grid(x), x)


@pytest.mark.parametrize("dtype", DTYPES)
@given(value=st.floats(-1000, 1000), addend=st.floats(-20, 20))
def test_a_sum_on_the_grid_is_undone_bit_for_bit(dtype, value, addend):
    x, h = (round_to_grid(torch.tensor(v, dtype=dtype)) for v in (value, addend))
    assert torch.equal((x + h) - h, x)


@pytest.mark.parametrize("dtype", DTYPES)
@given(value=st.floats(-1000, 1000))
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
