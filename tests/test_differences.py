"""Difference maps: their colours, and the limits of their scale."""

import math

import pytest
import torch
from torch import Tensor

from revgan.figures.differences import (
    common_limit,
    difference_map,
    most_different,
    round_limit,
    scale_colours,
)


def lightness(colours: Tensor) -> Tensor:
    return colours.add(1).div(2).mean(0)


def test_the_difference_is_red_above_the_truth_blue_below_and_almost_white_where_equal() -> None:
    below, equal, above = difference_map(torch.tensor([-20.0, 0.0, 20.0]), limit=20).T
    assert below[2] > below[0] + 0.5  # blue over red
    assert above[0] > above[2] + 0.5  # red over blue
    assert (equal > 0.9).all()


def test_differences_grow_darker_up_to_the_limit() -> None:
    for sign in (1, -1):
        dark = lightness(difference_map(sign * torch.linspace(0, 80, 101), limit=40))
        assert (dark[:50:5].diff() < 0).all()
        assert torch.equal(dark[51:], dark[51:52].expand(50))


def test_a_broken_translation_does_not_pass_for_a_perfect_one() -> None:
    broken, equal = difference_map(torch.tensor([math.nan, 0.0]), 10).T
    assert (equal - broken > 0.5).all()


def test_the_scale_shows_the_colours_of_the_map() -> None:
    ends = difference_map(torch.tensor([-3.0, 3.0]), 3).add(1).mul(127.5).round().byte()
    low, *_, high = scale_colours()
    assert [low, high] == [f"#{bytes(colour).hex()}" for colour in ends.T.tolist()]


@pytest.mark.parametrize(
    ("most", "limit"),
    [(0, 1), (1, 1), (1.01, 1.5), (37, 40), (255, 300), (0.0021, 0.003), (9.5, 10), (1e6, 1e6)],
)
def test_limits_are_round_and_not_below_the_differences(most: float, limit: float) -> None:
    assert round_limit(most) == pytest.approx(limit, rel=1e-12)


def test_all_but_one_in_a_hundred_differences_are_below_what_most_are() -> None:
    assert most_different(-torch.arange(101.0)) == pytest.approx(99)
    assert most_different(torch.tensor([math.nan, 2.0])) == 2
    assert most_different(torch.tensor([math.nan])) == 0


def test_one_failed_scan_does_not_make_the_others_look_perfect() -> None:
    assert common_limit([*[30.0] * 10, 2000.0]) == 30
    assert common_limit([]) == 1
