"""Pictures keep their pixels; charts show what they were given and can stand in a page."""

import math
import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
import torch

from revgan.figures.pictures import image_grid, tensor_to_uint8
from revgan.figures.svg import BLUE, MAX_POINTS, ORANGE, loss_curves, memory_chart

LOSSES = ("gan_AtoB", "gan_BtoA", "cycle_a", "cycle_b", "d_a_real", "d_a_fake")


def history(length: int, names: tuple[str, ...] = LOSSES) -> list[dict[str, float]]:
    return [
        {"step": 10 * i, "lr": 2e-4, "images_per_s": 7.5}
        | {name: math.exp(-i / 50) + 0.1 * (i % 2) for name in names}
        for i in range(length)
    ]


def texts(charts: list[str]) -> list[str]:
    """The words in charts; fails where their SVG isn't well-formed."""
    roots = map(ElementTree.fromstring, charts)
    tag = "{http://www.w3.org/2000/svg}text"
    return [element.text or "" for root in roots for element in root.iter(tag)]


def test_eight_bit_values_survive_display() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16).repeat(3, axis=0)
    image = torch.from_numpy(levels).float() / 127.5 - 1
    assert np.array_equal(tensor_to_uint8(image), levels.transpose(1, 2, 0))


def test_values_out_of_range_are_clipped() -> None:
    assert tensor_to_uint8(torch.tensor([[[-1.5, 1.5]]]))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize(
    ("channels", "shown"),
    [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (4, [0, 1, 2]), (6, [0, 1, 2])],
)
def test_any_number_of_channels_can_be_shown(channels: int, shown: list[int]) -> None:
    image = torch.linspace(-1, 1, channels * 6).view(channels, 2, 3)
    expected = image[shown].add(1).mul(127.5).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(tensor_to_uint8(image), expected)


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4, 4)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"not {re.escape(str(shape))}"):
        tensor_to_uint8(torch.zeros(shape))


def test_a_grid_holds_every_picture_on_white() -> None:
    wide, tall = -torch.ones(3, 2, 5), torch.zeros(1, 4, 2)
    grid = image_grid([[wide, tall], [tall]], pad=1)
    expected = torch.ones(3, 1 + 4 + 1 + 4 + 1, 1 + 5 + 1 + 2 + 1)
    expected[:, 1:3, 1:6] = 0
    expected[:, 1:5, 7:9] = 0.5
    expected[:, 6:10, 1:3] = 0.5
    assert torch.equal(grid, expected)


@pytest.mark.parametrize("rows", [[], [[]]])
def test_an_empty_grid_is_refused(rows: list[list[torch.Tensor]]) -> None:
    with pytest.raises(ValueError, match="no images"):
        image_grid(rows)


def test_each_kind_of_loss_has_its_chart_and_legend() -> None:
    charts = loss_curves(history(60))
    words = texts(charts)
    assert len(charts) == 3
    titles = [word for word in words if word.startswith(("Adversarial", "Reconstruction"))]
    assert len(titles) == 3
    for label in ("A → B", "B → A", "cycle, A", "cycle, B", "A, real", "A, generated"):
        assert words.count(label) == 1


def test_a_paired_run_shows_l1_and_no_cycle() -> None:
    words = texts(loss_curves(history(10, ("l1_AtoB", "l1_BtoA"))))
    assert "L1, A → B" in words
    assert not any("cycle" in word or "Adversarial" in word for word in words)


def test_a_loss_missing_from_some_lines_is_drawn_from_the_others() -> None:
    lines = [*history(5, ("gan_AtoB",)), *history(5, ("gan_AtoB", "cycle_a")), {"step": 99}]
    assert "cycle, A" in texts(loss_curves(lines))


def test_scores_have_a_chart_beside_the_losses() -> None:
    words = texts(loss_curves([*history(3), {"step": 9, "psnr_AtoB": 20.0, "ssim_AtoB": 0.5}]))
    assert "Validation, PSNR in dB" in words
    assert words.count("A → B") == 2
    assert "A → B → A" in texts(loss_curves([{"step": 9, "psnr_AtoBtoA": 20.0}]))


def test_a_single_score_is_a_dot() -> None:
    lines = [{"step": step, "psnr_AtoB": 20.0} for step in (1, 2)]
    assert f"fill: {BLUE}" in "".join(loss_curves(lines[:1]))
    assert f"fill: {BLUE}" not in "".join(loss_curves(lines))


def test_the_smoothed_curve_lies_between_the_extremes_of_the_raw_one() -> None:
    (svg,) = loss_curves(
        [{"step": i, "gan_AtoB": 1.0 if i % 2 else 0.5} for i in range(MAX_POINTS - 1)]
    )
    raw, smooth = (
        [float(y) for y in re.findall(r"[ML] \S+ (\S+)", path)]
        for path in re.findall(rf'<path d="([^"]*)"[^>]*stroke: {BLUE}', svg)[:2]
    )
    late = smooth[len(smooth) // 2 :]
    middle, swing = (max(raw) + min(raw)) / 2, max(raw) - min(raw)
    # Weights fade over 13 points: each next one moves the mean by half a 13th of the swing.
    assert all(abs(y - middle) < swing / 20 for y in late)


def test_a_run_of_one_line_shows_its_losses_as_dots_over_its_one_step() -> None:
    (svg,) = loss_curves([{"step": 6, "gan_AtoB": 0.5, "gan_BtoA": 0.4}])
    assert texts([svg]).count("6") == 1
    assert all(f"fill: {colour}" in svg for colour in (BLUE, ORANGE))


def test_long_runs_stay_small() -> None:
    long, short = (loss_curves(history(length)) for length in (20_000, MAX_POINTS))
    assert len("".join(long)) < 2.5 * len("".join(short))


def test_a_diverged_run_still_has_its_curves() -> None:
    assert "A → B" in texts(loss_curves([{"step": i, "gan_AtoB": math.nan} for i in range(3)]))


@pytest.mark.parametrize("lines", [[], [{"step": 1.0, "lr": 0.1}]])
def test_a_history_without_losses_is_refused(lines: list[dict[str, float]]) -> None:
    with pytest.raises(ValueError, match="no losses"):
        loss_curves(lines)


OVER_DEPTH = {
    "naive": [(1, 100 * 2**20), (5, 300 * 2**20)],
    "reversible": [(1, 90 * 2**20), (5, 100 * 2**20)],
}


def memory() -> str:
    return memory_chart(OVER_DEPTH, {"reversible": 100 * 2**20}, 5)


def test_memory_grows_over_depth_in_proportion_and_what_was_measured_is_named() -> None:
    svg = memory()
    assert {"naive", "reversible, 100 MiB"} < set(texts([svg]))
    heights = []
    for colour in (ORANGE, BLUE):
        path = re.search(rf'<path d="([^"]*)"[^>]*stroke: {colour}', svg)
        assert path is not None
        first, last = (float(y) for y in re.findall(r"[ML] \S+ (\S+)", path[1]))
        heights.append(first - last)
    assert heights[0] == pytest.approx(20 * heights[1], rel=1e-4)  # SVG has six decimals


def test_charts_can_stand_together_in_one_page() -> None:
    charts = *loss_curves(history(20)), memory()
    for svg in charts:
        assert svg.startswith("<svg")
        assert "<metadata" not in svg
        assert "currentColor" in svg
    ids = re.findall(r'\bid="([^"]*)"', "".join(charts))
    assert len(ids) == len(set(ids))


def test_charts_leave_global_state_alone_and_repeat_exactly() -> None:
    before = dict(mpl.rcParams)
    assert memory() == memory()
    assert dict(mpl.rcParams) == before
