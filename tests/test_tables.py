"""Score tables: on the terminal, and in files for papers and programs."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from revgan.evaluation.table_files import FORMATS, format_tables
from revgan.evaluation.tables import Row, headings, rows_to_json, rows_to_rich, table_cells
from revgan.scores.intervals import RESAMPLES, Estimate, difference
from revgan.text import PlainConsole

SPREAD = torch.linspace(-1, 1, RESAMPLES, dtype=torch.float64)
"""What resamples do to a score, to a tenth of it here."""


def known(value, low=None, high=None, spread=0.01):
    """A score of ten subjects."""
    draws = value * (1 + spread * SPREAD)
    return Estimate(value, low, high, subjects=10, draws=draws)


def row(direction, method, mae, psnr, ssim, kind="model"):
    scores = {"ssim": known(ssim), "mae": known(mae), "psnr": known(psnr, psnr - 1, 40)}
    return Row(direction, method, scores, 4, kind)


ROWS = [
    row("AtoB", "RevGAN", 5.0, 30.0, 0.8),
    row("AtoB", "input unchanged", 9.0, 31.0, 0.7, "reference"),
    row("BtoA", "run_1 [a|b] 5%", 50.0, 3.0, 0.1),
]


def test_the_best_of_each_direction_is_marked():
    cells = table_cells(ROWS)
    assert [[cell.best for cell in line] for line in cells] == [
        [True, False, True],
        [False, True, False],
        [False, False, False],
    ]
    assert [cell.text for cell in cells[0]] == ["5.0", "30.00", "0.800"]
    assert [cell.interval for cell in cells[0]] == ["", "[29.00, 40.00]", ""]


@pytest.mark.parametrize(
    ("one", "other", "marks"),
    [
        (known(5.0), known(5.1), [True, False]),  # both vary with the images, their difference less
        (known(5.0), Estimate(5.1, 5.0, 5.2), [False, False]),
        (known(5.0), known(5.1, spread=0.5), [False, False]),
        (known(5.0), replace(known(5.1), subjects=5), [False, False]),  # 2^-4 is above 5%
    ],
)
def test_the_best_is_marked_only_where_the_interval_of_the_difference_says_so(one, other, marks):
    rows = [Row("AtoB", name, {"mae": score}, 4) for name, score in (("x", one), ("y", other))]
    assert [cell.best for (cell,) in table_cells(rows)] == marks


def test_differences_have_signs_p_and_a_mark_where_their_interval_leaves_out_0():
    scores = {
        "mae": difference(known(5.25), known(5.0)),
        "psnr": difference(known(20.0), known(20.1, spread=0.5)),
    }
    rows = [Row("AtoB", "y - x", scores, 4, "difference")]
    mae, psnr = table_cells(rows)[0]
    assert (mae.text, mae.p, mae.best) == ("+0.25", "p 0.002", True)
    assert (psnr.text, psnr.best) == ("-0.10", False)
    text = format_tables(Path("x.md"), {"Truth: differences": rows})
    assert f"**+0.25** {mae.interval}, p 0.002 |" in text
    (line,) = csv.DictReader(io.StringIO(format_tables(Path("x.csv"), {"Truth": rows})))
    assert float(line["mae_p"]) == 2**-9


def test_a_ceiling_competes_with_nobody():
    rows = [*ROWS[:2], row("AtoB", "real photos", 1.0, 99.0, 1.0, "ceiling")]
    marks = [[cell.best for cell in line] for line in table_cells(rows)]
    assert marks == [[True, False, True], [False, True, False], [False, False, False]]


def test_kids_below_0_are_equally_good():
    kids = (-0.2, 0.0, -0.01, 0.1)
    rows = [Row("AtoB", f"{kid}", {"kid_random": known(kid)}, 4) for kid in kids]
    assert not any(cell.best for (cell,) in table_cells(rows))
    assert [cell.best for (cell,) in table_cells(rows[2:])] == [True, False]


def test_columns_are_those_that_rows_have_and_gaps_stay_empty():
    rows = [*ROWS, Row("AtoB", "other", {"kid_random": Estimate(-0.00012)}, 4)]
    assert headings(rows) == ["MAE", "PSNR (dB)", "SSIM", "KID, random features"]
    assert [cell.text for cell in table_cells(rows)[3]] == ["", "", "", "-0.0001"]


def test_the_terminal_table_fits_80_columns_and_shows_every_row():
    console = PlainConsole(width=80, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(rows_to_rich(ROWS, "Distance to the truth"))
    shown = capture.get()
    assert shown.count("A → B") == shown.count("B → A") == 1
    assert "29.00..40.00" in shown
    assert "run_1 [a|b] 5%" in shown
    assert "\x1b[1m5.0\x1b[0m" in shown.replace(" ", "")
    assert all(heading in shown for heading in headings(ROWS))


def test_long_names_and_four_scores_are_not_cut_off_at_80_columns():
    scores = {
        key: Estimate(value, value - 0.1, value + 0.1)
        for key, value in {"mae": 115.9, "psnr": 16.9, "ssim": 0.8, "lpips": 0.2}.items()
    }
    name = "cityscapes-paired-width56-seed1"
    console = PlainConsole(width=80, force_terminal=True)
    with console.capture() as capture:
        console.print(rows_to_rich([Row("AtoB", name, scores, 500)]))
    shown = capture.get()
    assert "…" not in shown
    lines = [line.split("│") for line in shown.splitlines() if line.count("│") > 2]
    assert name in "".join(line[1].strip() for line in lines)
    for end in ("115.8", "116.0", "16.80", "17.00", "0.700", "0.900", "0.100", "0.300"):
        assert end in shown


def test_intervals_of_large_counts_are_not_cut_off_at_80_columns():
    scores = {"mae": Estimate(28705.8, 28693.4, 28718.2), "psnr": Estimate(-22.67, -22.68, -22.66)}
    scores["ssim"] = Estimate(-0.0004, -0.0005, -0.0003)
    console = PlainConsole(width=80, force_terminal=True)
    with console.capture() as capture:
        console.print(rows_to_rich([Row("AtoB", "mean training colour", scores, 2)]))
    shown = capture.get()
    assert "…" not in shown
    assert all(end in shown for end in ("28693.4..", "28718.2", "-22.68..", "-22.66"))


def test_rows_survive_json():
    assert json.loads(json.dumps(rows_to_json(ROWS)))[0] == {
        "direction": "AtoB",
        "method": "RevGAN",
        "mae": 5.0,
        "psnr": 30.0,
        "psnr_low": 29.0,
        "psnr_high": 40.0,
        "ssim": 0.8,
        "count": 4,
    }


TABLES = {"Truth": ROWS, "Trips": [row("AtoBtoA", "RevGAN", 1.0, 40.0, 0.9)]}


def test_markdown_has_a_table_each_whose_cells_survive_special_characters():
    text = format_tables(Path("x.md"), TABLES)
    assert "**Truth**" in text
    assert "| A → B | RevGAN | **5.0** | 30.00 [29.00, 40.00] | **0.800** | 4 |" in text
    assert r"| B → A | run\_1 \[a\|b\] 5% |" in text
    assert "| A → B → A | RevGAN | 1.0 |" in text


def test_csv_reads_back_with_values_in_full():
    lines = list(csv.DictReader(io.StringIO(format_tables(Path("x.CSV"), TABLES))))
    assert [line["table"] for line in lines] == ["Truth"] * 3 + ["Trips"]
    assert lines[0]["psnr_low"] == "29.0"
    assert lines[2]["method"] == "run_1 [a|b] 5%"


def test_json_reads_back_as_rows_by_table():
    assert json.loads(format_tables(Path("x.json"), TABLES))["Truth"] == rows_to_json(ROWS)


def test_latex_is_escaped_and_closed():
    text = format_tables(Path("x.tex"), TABLES)
    assert text.count(r"\begin{tabular}{llrrrr}") == text.count(r"\end{tabular}") == 2
    assert r"A $\to$ B & RevGAN & \textbf{5.0} & 30.00 {\scriptsize [29.00, 40.00]}" in text
    assert r"run\_1 [a|b] 5\%" in text


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_holds_every_row(suffix):
    text = format_tables(Path(f"x{suffix}"), TABLES)
    assert text.count("RevGAN") == 2
