"""The results of `revgan benchmark`: a recording with tables for a terminal, and a plot."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields
from datetime import date
from itertools import groupby
from typing import Any, Literal, get_args

from rich import box
from rich.table import Table

from revgan.benchmark.cases import Case, VariantName
from revgan.benchmark.measuring import MeasuredStep
from revgan.benchmark.recording import Recording, markdown_table
from revgan.figures import Panel, Points, line_chart, save_figure

HEADINGS = (
    "depth",
    "variant",
    "ms per step",
    "peak MiB",
    "core MiB",
    "GMAC",
    "float64 error",
    "naive error",
)

LEGEND = """\
Time is the median of a training step, with the first and third quartile. Peak memory is above what
is held between steps. Core memory is what one forward pass of the core leaves for the backward
pass. GMAC are 10^9 multiply-accumulates of a step's convolutions. Errors are relative L2 distances
of the generator's gradient (all weights) from the one in float64, and from the one of the naive
variant in the same precision, both with every activation stored. cyclegan is another model: two
ResNet generators of the same width and depth. slabs is lean with 8 slabs.
"""


class StepResults(Recording[MeasuredStep]):
    """What is in a folder: `results.json`, `table.md`, and the plot as PNG and SVG."""

    maker = "revgan benchmark"

    def of(self, case: Case) -> list[MeasuredStep]:
        """What is there of a case."""
        return [row for row in self.rows if row.case == case]

    def replace(self, case: Case, rows: Sequence[MeasuredStep]) -> None:
        """Takes a case's rows in, in place of those that are there, and writes every file."""
        today = date.today().isoformat()
        dated = [dataclasses.replace(row, date=today) for row in rows]
        self.rows = [row for row in self.rows if row.case != case] + dated
        self.rows.sort(key=_order)
        self._write()
        figure = line_chart(
            [_panels(*group) for group in _groups(self.rows)], get_args(VariantName)
        )
        for suffix in ("png", "svg"):
            save_figure(figure, self.folder / f"plot.{suffix}")

    def tables(self) -> Iterator[Table]:
        """A table for a terminal per objective, size and width."""
        for title, rows in _groups(self.rows):
            table = Table(title=title, caption="\n".join(_failures(rows)), caption_justify="left")
            table.box, table.padding, table.show_edge = box.SIMPLE, (0, 1, 0, 0), False
            for heading in HEADINGS:  # in narrow columns, so that each row is one line
                justify: Literal["left", "right"] = "left" if heading == "variant" else "right"
                table.add_column("\n".join(heading.rsplit(" ", 1)), justify=justify)
            for row in rows:
                table.add_row(*_cells(row))
            yield table

    def _entry(self, row: MeasuredStep) -> dict[str, Any]:
        entry = asdict(row)
        case: dict[str, Any] = entry.pop("case")
        if case["preset"] == "default":  # as in files from before there was a choice
            del case["preset"]
        return case | entry

    def _row(self, entry: dict[str, Any]) -> MeasuredStep:
        entry = {"preset": "default", **entry}
        case = {field.name: entry[field.name] for field in fields(Case)}
        measured = {name: value for name, value in entry.items() if name not in case}
        return MeasuredStep(Case(**case), **measured)

    def _markdown(self) -> str:
        sections = [LEGEND]
        for title, group in _groups(self.rows):
            table = markdown_table(HEADINGS, list(map(_cells, group)), left={"variant"})
            failures = [f"- {failure}" for failure in _failures(group)]
            sections.append("\n".join([f"### {title}", "", table, "", *failures, ""]))
        return "\n".join(sections)


def _order(row: MeasuredStep) -> tuple[Any, ...]:
    case, place = row.case, get_args(VariantName).index(row.variant)
    sizes = case.size, case.width, case.preset, case.depth
    return case.spatial_dims, case.objective, *sizes, place


def _groups(rows: Sequence[MeasuredStep]) -> Iterator[tuple[str, list[MeasuredStep]]]:
    """Rows that differ only in depth and variant, and what they have in common."""
    for title, group in groupby(rows, key=lambda row: row.case.title):
        yield title, list(group)


def _panels(title: str, rows: Sequence[MeasuredStep]) -> list[Panel]:
    depth = "depth (reversible blocks)"
    mib = _lines(rows, lambda row: row.peak_bytes and row.peak_bytes / 2**20)
    seconds = _lines(rows, lambda row: row.median_s)
    return [
        Panel(title, depth, "peak memory of a step (MiB)", mib),
        Panel(title, depth, "time per step (s)", seconds),
    ]


def _lines(
    rows: Sequence[MeasuredStep], value: Callable[[MeasuredStep], float | None]
) -> dict[str, Points]:
    """What was measured of each variant, over depth."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        y = value(row)
        if y is not None:
            lines.setdefault(row.variant, []).append((row.case.depth, y))
    return dict(lines)


def _cells(row: MeasuredStep) -> list[str]:
    """What a table shows of a row, in the order of `HEADINGS`."""
    sizes = [bytes_ and bytes_ / 2**20 for bytes_ in (row.peak_bytes, row.core_bytes)]
    errors = ("-" if e is None else f"{e:.2g}" for e in (row.gradient_error, row.naive_error))
    amounts = ("-" if amount is None else _three_digits(amount) for amount in (*sizes, row.gmac))
    return [str(row.case.depth), row.variant, _time(row), *amounts, *errors]


def _three_digits(amount: float) -> str:
    """With three digits at least, and no exponent, as columns of numbers are read."""
    return f"{amount:.0f}" if amount >= 100 else f"{amount:.3g}"


def _time(row: MeasuredStep) -> str:
    if row.failure is not None:
        return "failed"
    median, q1, q3 = (_three_digits(1000 * (s or 0)) for s in (row.median_s, row.q1_s, row.q3_s))
    return f"{median} ({q1}-{q3})"


def _failures(rows: Sequence[MeasuredStep]) -> list[str]:
    """Why variants failed."""
    return [f"{r.variant}, depth {r.case.depth}: {r.failure}" for r in rows if r.failure]
