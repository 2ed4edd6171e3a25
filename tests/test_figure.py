"""Figures of test images beside the translations of runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from revgan.cli import main
from revgan.figures.comparison import comparison_figure

TINY = ["--training.steps=1", "--generator.width=2", "--generator.depth=1", "--data.crop=32"]
TINY += ["--discriminator.width=2", "--runtime.device=cpu"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs, one paired and one unpaired, on the same images."""
    root = tmp_path_factory.mktemp("figure")
    draws = np.random.default_rng(0)
    for name in ("trainA", "trainB", "testA", "testB"):
        (root / "images" / name).mkdir(parents=True)
        for number in range(3):
            pixels = draws.integers(256, size=(36, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / name / f"place{number}.png")
    for objective in ("paired", "unpaired"):
        run = ["--objective", objective, "--run", str(root / objective)]
        assert main(["train", str(root / "images"), *run, *TINY]) == 0
    return [str(root / objective) for objective in ("paired", "unpaired")]


def size(path):
    with Image.open(path) as picture:
        return picture.size


def test_a_figure_has_a_row_for_each_sample_and_a_column_for_each_run(runs, tmp_path, capsys):
    png, pdf = tmp_path / "new" / "f.png", tmp_path / "f.pdf"
    options = ["--direction=BtoA", "--samples=2", "--output", str(png), str(pdf)]
    assert main(["figure", *runs, *options]) == 0
    assert capsys.readouterr().out == f"Wrote {png} and {pdf}\n"
    width, height = size(png)
    assert width / height == pytest.approx(4 * 1.4 / (2 * 1.4 * 0.9 + 0.3), rel=0.02)
    assert pdf.read_bytes().startswith(b"%PDF")
    assert b"/Type3" not in pdf.read_bytes()


def test_more_samples_than_there_are_are_told(runs, tmp_path, capsys):
    assert main(["figure", runs[0], "--samples", "99", "--output", str(tmp_path / "all.png")]) == 0
    assert "test images, not 99: all of them are drawn" in capsys.readouterr().err


def test_samples_are_chosen_by_name(runs, tmp_path):
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    assert main(["figure", runs[0], "--samples", "place2", "--output", str(one)]) == 0
    assert main(["figure", runs[0], "--samples", "place2", "place0", "--output", str(two)]) == 0
    assert size(two)[1] > 1.5 * size(one)[1]


def test_a_number_is_a_count_though_an_image_has_it_for_a_name(tmp_path):
    for name in ("trainA", "trainB", "testA", "testB"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(1, 4):
            pixels = np.full((32, 32), number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    run, figure = tmp_path / "run", tmp_path / "f.png"
    assert main(["train", str(tmp_path / "images"), "--run", str(run), *TINY]) == 0
    heights = []
    for samples in ("2", "2.png"):
        assert main(["figure", str(run), "--samples", samples, "--output", str(figure)]) == 0
        heights.append(size(figure)[1])
    assert heights == pytest.approx([200 * (2 * 1.4 + 0.3), 200 * (1.4 + 0.3)], abs=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--samples", "place9"], "place9 isn't one of the test images of"),
        (["--samples", "0"], "--samples must be 1 or more"),
        (["--plane", "axial"], "--plane is for volumes"),
        (["--output", "figure.jpg"], "must end in one of .png, .pdf, .svg"),
        (["--names", "truth"], "truth is the name of another column"),
        (["--names", "a", "b"], "--names must give each of 1 runs a different name"),
    ],
)
def test_mistakes_end_in_one_sentence(runs, capsys, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    assert main(["figure", runs[0], *options]) > 0
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_runs_on_other_images_of_the_same_names_have_no_figure(runs, tmp_path, capsys):
    other = tmp_path / "other"
    for name in ("trainA", "trainB", "testA", "testB"):
        (other / name).mkdir(parents=True)
        for number in range(3):
            pixels = np.full((36, 40, 3), number, np.uint8)
            Image.fromarray(pixels).save(other / name / f"place{number}.png")
    run, figure = tmp_path / "run", tmp_path / "f.png"
    assert main(["train", str(other), "--run", str(run), *TINY]) == 0
    assert main(["figure", runs[0], str(run), "--output", str(figure)]) == 1
    assert "place0 in" in capsys.readouterr().err
    assert not figure.exists()


def test_pictures_stand_in_the_order_of_their_columns():
    black, white = torch.full((1, 8, 8), -1.0), torch.ones(1, 8, 8)
    figure = comparison_figure([{"input": black, "truth": white}, {"input": white}])
    axes = figure.get_axes()
    assert [a.get_title() for a in axes] == ["input", "truth", "", ""]
    shown = [a.get_images()[0].get_array().mean() if a.get_images() else None for a in axes]
    assert shown == [0, 255, 255, None]


def test_names_longer_than_a_picture_is_wide_go_on_below_and_are_no_formulas():
    name = r"$\frac{$-a-very-long-name-of-a-run"
    figure = comparison_figure([{"input": torch.zeros(1, 8, 8), name: torch.zeros(1, 8, 8)}])
    renderer = FigureCanvasAgg(figure).get_renderer()
    for axes in figure.get_axes():
        text = axes.title.get_window_extent(renderer)
        assert text.width <= axes.get_window_extent(renderer).width
        assert text.y1 <= figure.bbox.y1
    assert axes.get_title().replace("\n", "") == name


def test_without_images_there_is_no_figure():
    with pytest.raises(ValueError, match="no images"):
        comparison_figure([])


def test_a_figure_never_replaces_a_test_image(runs, capsys):
    image = Path(runs[0]).parent / "images" / "testB" / "place1.png"
    before = image.read_bytes()
    assert main(["figure", runs[0], "--output", str(image)]) == 1
    assert f"{image} is a test image; name another file with --output" in capsys.readouterr().err
    assert image.read_bytes() == before
