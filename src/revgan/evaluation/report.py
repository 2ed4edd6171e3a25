"""The report of a training run: one self-contained HTML page."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from revgan.directions import Direction
from revgan.evaluation.agreement import AgreementView
from revgan.evaluation.cases import Case, Side
from revgan.evaluation.scales import SCALE_HEADINGS, Scales, scale_table
from revgan.evaluation.scan_tables import ScanTable
from revgan.evaluation.tables import COLUMNS, Cell, Row, columns, headings, table_cells
from revgan.evaluation.viewer import Viewer
from revgan.evaluation.windows import Window
from revgan.figures.differences import scale_colours
from revgan.figures.svg import loss_curves, memory_chart
from revgan.files import write_text
from revgan.scores.agreement import Agreement

ClassTable = Mapping[str, Mapping[str, float | None]]
"""Intersection over union by method and class; None if no pixel has the class or was taken for
it."""

HEADLINES = {
    "test_inside_masks": "Distance to the truth inside the masks",
    "test": "Distance to the truth",
    "round_trip": "Round trips, which say nothing of the translation in between",
}
"""The tables whose scores may stand at the top of a page, the most telling first."""


@dataclass(frozen=True)
class MemoryComparison:
    """Peak memory, in bytes, of one training step in several memory modes.

    Attributes:
        measured: by mode, of those that fit.
        over_depth: by mode, pairs of a depth of the core and the peak predicted for it.
        depth: of the run's core.
        step: sentences that say which step was measured, and on which device.
    """

    measured: Mapping[str, int]
    over_depth: Mapping[str, Sequence[tuple[int, int]]]
    depth: int
    step: str


@dataclass(frozen=True)
class ReportContent:
    """What a report shows. Texts are plain text: the page escapes them.

    Attributes:
        title: the page's heading.
        summary: a paragraph under it.
        cases: the test scans by direction, "AtoB" and "BtoA": all images, or all volumes.
        tables: score rows by key: "test", empty if the test images aren't aligned,
            "test_inside_masks", "labels", "segmenter", "distribution" and "round_trip". A key may
            be missing.
        configuration: the run's configuration, as YAML.
        versions: the software and hardware that the run depended on, see `library_versions`.
        scan_scores: by direction, the scores of each test scan that has any, by its name.
        ranked_by: the score that says which scans are the best and the worst.
        windows: by direction and side, those in which grey scans can be shown.
        scan_tables: by direction, the scores of each test scan, in tables.
        said_of_scores: a sentence on their units and data ranges.
        scales: of the domains with test scans.
        agreements: by direction, how translations agree with the truth.
        classes: by class, for the tables "labels" and "segmenter".
        items: what was tested, "images" or "volumes".
        history: lines of metrics.jsonl, see `loss_curves`.
        memory: peaks of a training step, if they were measured.
        domain_names: the names of A and B.
    """

    title: str
    summary: str
    cases: Mapping[str, Sequence[Case]]
    tables: Mapping[str, Sequence[Row]]
    configuration: str
    versions: Mapping[str, str]
    scan_scores: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    ranked_by: str = "psnr"
    windows: Mapping[str, Mapping[Side, Sequence[Window]]] = field(default_factory=dict)
    scan_tables: Mapping[str, Sequence[ScanTable]] = field(default_factory=dict)
    said_of_scores: str = ""
    scales: Scales = field(default_factory=dict)
    agreements: Mapping[Direction, Agreement] = field(default_factory=dict)
    classes: Mapping[str, ClassTable] = field(default_factory=dict)
    items: str = "images"
    history: Sequence[Mapping[str, float]] = ()
    memory: MemoryComparison | None = None
    domain_names: tuple[str, str] = ("A", "B")

    def direction_name(self, direction: str) -> str:
        """A direction in words: "AtoB" is "photo → map" if A is named photo and B map."""
        names = dict(zip("AB", self.domain_names, strict=True))
        return " → ".join(names[domain] for domain in direction.split("to"))

    @property
    def viewers(self) -> list[Viewer]:
        """What the page shows of each direction that has test scans."""
        return [
            Viewer(
                direction,
                cases,
                self.scan_scores.get(direction, {}),
                self.ranked_by,
                self.windows.get(direction, {}),
            )
            for direction, cases in self.cases.items()
            if cases
        ]


class Headline(NamedTuple):
    """A score at the top of a page.

    Attributes:
        heading: its name.
        cell: the model's.
        reference: what needs no training, and how well it does; "" for nothing.
    """

    heading: str
    cell: Cell
    reference: str


def write_report(path: Path, content: ReportContent) -> None:
    """Writes or replaces the page in one step, so that readers never see half a page.

    Raises:
        OSError: the file can't be written.
        ValueError: an example can't be shown, or the history has no losses.
    """
    write_text(path, _render(content))


def _render(content: ReportContent) -> str:
    environment = Environment(
        loader=PackageLoader("revgan.evaluation", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # A missing table counts as empty.
    environment.globals["tables"] = defaultdict(tuple, content.tables)
    environment.globals |= {
        "headings": headings,
        "cells": table_cells,
        "columns": COLUMNS,
        "scale_colours": scale_colours(),
        "numbers": {
            direction: {case.name: number for number, case in enumerate(cases)}
            for direction, cases in content.cases.items()
        },
        "scale_headings": SCALE_HEADINGS,
        "scale_lines": scale_table(content.scales),
        "style": _part("report.css"),
        "script": Markup("\n").join(
            _part(name) for name in ("windows.js", "viewer.js", "tables.js")
        ),
    }
    key, headlines = _headlines(content.tables)
    memory = content.memory
    return environment.get_template("report.html").render(
        content=content,
        viewers=content.viewers,
        headlines=headlines,
        headline_note=HEADLINES.get(key, ""),
        agreements={
            direction: AgreementView.of(agreement, direction, content.items)
            for direction, agreement in content.agreements.items()
        },
        curves=list(map(Markup, loss_curves(content.history))) if content.history else [],
        memory=Markup(memory_chart(memory.over_depth, memory.measured, memory.depth))
        if memory
        else None,
    )


def _part(name: str) -> Markup:
    """The page's style or script, which becomes part of it."""
    return Markup((files("revgan.evaluation") / "page" / name).read_text(encoding="utf-8"))


def _headlines(
    tables: Mapping[str, Sequence[Row]],
) -> tuple[str, dict[str, list[Headline]]]:
    """The model's scores by direction, and the key of the table that they are from."""
    key = next((key for key in HEADLINES if tables.get(key)), "")
    found = {}
    for direction, group in groupby(tables.get(key, ()), lambda row: row.direction):
        rows = list(group)
        cells = table_cells(rows)
        model = next(place for place, row in enumerate(rows) if row.kind == "model")
        found[direction] = [
            Headline(COLUMNS[score].heading, cells[model][column], _best_reference(rows, score))
            for column, score in enumerate(columns(rows))
            if score in rows[model].scores
        ]
    return key, found


def _best_reference(rows: Sequence[Row], score: str) -> str:
    known = [row for row in rows if row.kind == "reference" and score in row.scores]
    if not known:
        return ""
    best = min(known, key=lambda row: COLUMNS[score].rank(row.scores[score].value))
    cells = table_cells(rows)[rows.index(best)]
    return f"{best.method}: {cells[columns(rows).index(score)].text}"
