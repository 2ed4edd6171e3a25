"""Charts of measurements."""

import io

import numpy as np
import pytest
from PIL import Image

from revgan.figures.charts import Panel, line_chart, save_figure

PANELS = [
    Panel("memory", "depth", "MiB", {"naive": [(6, 200.0), (30, 700.0)], "lean": [(6, 40.0)]}),
    Panel("time", "depth", "s", {"lean": [(6, 0.4)]}),
]


def test_each_panel_shows_its_lines_from_zero_up():
    figure = line_chart([PANELS], ["naive", "lean"])
    memory, time = figure.axes
    assert [len(axes.lines) for axes in (memory, time)] == [2, 1]
    np.testing.assert_array_equal(memory.lines[0].get_xydata(), [(6, 200), (30, 700)])
    assert memory.get_ylim()[0] == time.get_ylim()[0] == 0
    assert memory.get_ylim()[1] > 700


def test_a_name_has_one_style_in_all_panels_and_one_entry_in_the_legend():
    figure = line_chart([PANELS], ["naive", "lean", "never measured"])
    memory, time = figure.axes
    assert memory.lines[1].get_color() == time.lines[0].get_color() != memory.lines[0].get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["naive", "lean"]


def test_a_panel_without_lines_stays_empty():
    (axes,) = line_chart([[Panel("memory", "depth", "MiB", {})]], ["naive"]).axes
    assert not axes.lines


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_suffix_names_the_format(tmp_path, suffix):
    path = tmp_path / f"plot.{suffix}"
    save_figure(line_chart([PANELS], ["naive", "lean"]), path)
    content = path.read_bytes()
    if suffix == "png":
        assert Image.open(io.BytesIO(content)).format == "PNG"
    else:
        assert b"<svg" in content
    assert list(tmp_path.iterdir()) == [path]
