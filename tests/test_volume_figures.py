"""Figures of volumes: what is drawn, in which colours, and under which name."""

import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from revgan.figures.pictures import image_grid, tensor_to_uint8
from revgan.figures.slices import VolumeSlices, slice_volumes
from revgan.figures.svg import to_svg
from revgan.figures.volumes import (
    GRID_LIMIT,
    difference_map,
    volume_figure,
    volume_grid,
    volume_pictures,
)


def example(error: float = 0.0, affine: np.ndarray | None = None) -> VolumeSlices:
    draws = torch.Generator().manual_seed(0)
    volume = torch.rand(1, 8, 9, 10, generator=draws) - 0.5
    return slice_volumes(volume, volume + error, volume, -volume, affine)


def words(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def brightness(colours: Tensor) -> Tensor:
    return colours.add(1).div(2).mean(0)


def test_the_difference_is_red_above_the_truth_blue_below_and_black_where_equal() -> None:
    truth = torch.zeros(1, 1, 3)
    grey_levels = torch.tensor([[[-20.0, 0.0, 20.0]]])
    colours = difference_map(truth + grey_levels / 127.5, truth, limit=20)
    assert colours.shape == (3, 1, 3)
    below, equal, above = colours[:, 0].T
    assert below[2] > below[0] + 0.5  # blue over red
    assert above[0] > above[2] + 0.1  # red over blue
    assert (equal < -0.75).all()


def test_differences_grow_brighter_up_to_the_limit() -> None:
    truth = torch.zeros(1, 1, 101)
    ramp = torch.linspace(0, 80, 101).view(1, 1, -1) / 127.5
    for sign in (1, -1):
        light = brightness(difference_map(truth + sign * ramp, truth, limit=40))[0]
        assert (light[:50:5].diff() > 0).all()
        assert torch.equal(light[51:], light[51:52].expand(50))


def test_a_broken_translation_does_not_pass_for_a_perfect_one() -> None:
    truth = torch.zeros(1, 2, 2)
    assert torch.equal(difference_map(truth * math.nan, truth, 10), torch.ones(3, 2, 2))


def test_truth_and_difference_are_shown_where_the_truth_is_known() -> None:
    slices = example()
    assert list(volume_pictures(slices, 8)) == [
        "input",
        "translation",
        "truth",
        "difference",
        "round trip",
    ]
    assert list(volume_pictures(replace(slices, truth=None), 8)) == [
        "input",
        "translation",
        "round trip",
    ]


def test_a_grid_has_a_row_per_volume_and_one_scale() -> None:
    rows = [example(0.1), example(0.2)]
    grid = volume_grid(rows)
    expected = [list(volume_pictures(slices, GRID_LIMIT).values()) for slices in rows]
    assert torch.equal(grid, image_grid(expected))
    with pytest.raises(ValueError, match="no images"):
        volume_grid([])


@pytest.mark.parametrize(
    ("grey_levels", "limit"), [(0.0, "+4"), (3.9, "+4"), (20.0, "+32"), (200.0, "+255")]
)
def test_the_colour_scale_covers_the_differences_and_says_so(
    grey_levels: float, limit: str
) -> None:
    found = words(volume_figure(example(grey_levels / 127.5)))
    assert [word for word in found if word[0] in "+-0"] == [limit, "0", "-" + limit[1:]]


def test_a_figure_names_rows_and_planes() -> None:
    found = words(volume_figure(example(0.1)))
    for name in ("input", "translation", "truth", "difference", "round trip"):
        assert found.count(name) == 1
    for name in ("axial", "coronal", "sagittal"):
        assert found.count(name) == 1


def test_sides_are_named_only_where_they_are_known() -> None:
    letters = [word for word in words(volume_figure(example())) if len(word) == 1 and word != "0"]
    assert letters == []
    named = words(volume_figure(example(affine=np.diag([-1.0, 1.0, 1.0, 1.0]))))
    assert [word for word in named if len(word) == 1 and word != "0"] == [*"RLRLAP"]


@pytest.mark.parametrize(
    ("shape", "planes", "letters"),
    [
        ((64, 8, 64), ["axial", "coronal"], "RLRLAP"),
        ((2, 64, 64), ["sagittal"], "AP"),
        ((24, 10, 40), ["axial", "coronal", "sagittal"], "RLRLAP"),
    ],
)
def test_headings_of_narrow_planes_do_not_overlap(
    shape: tuple[int, ...], planes: list[str], letters: str
) -> None:
    volume = torch.zeros(1, *shape)
    figure = volume_figure(slice_volumes(volume, volume, None, volume, np.eye(4)))
    top, renderer = figure.axes[0], FigureCanvasAgg(figure).get_renderer()
    headings = [text for text in top.texts if text.get_text() != "input"]
    named = [text.get_text() for text in headings]
    assert [name for name in named if len(name) > 1] == planes
    assert "".join(name for name in named if len(name) == 1) == letters
    spans = sorted(tuple(text.get_window_extent(renderer).intervalx) for text in headings)
    assert all(one[1] < other[0] for one, other in pairwise(spans))


def test_a_figure_shows_the_strips_themselves() -> None:
    slices = example(0.1)
    drawn = [
        np.asarray(image.get_array())
        for axes in volume_figure(slices).axes
        for image in axes.images
    ]
    assert np.array_equal(drawn[0], tensor_to_uint8(slices.input))
    assert np.array_equal(drawn[-1], tensor_to_uint8(slices.round_trip))


def test_figures_can_stand_together_in_one_page() -> None:
    svg = to_svg(volume_figure(example()))
    assert svg.startswith("<svg")
    assert not re.findall(r'\bid="[^"]*"', svg)
    assert svg.count("<image") == 6  # five strips and the colour scale
    assert svg == to_svg(volume_figure(example()))
