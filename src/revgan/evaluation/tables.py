"""Score tables: for terminals, reports, papers and programs."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from revgan.errors import visible
from revgan.scores.intervals import Estimate
from revgan.scores.metrics import Kind
from revgan.text import csv_cell, markdown


@dataclass(frozen=True)
class Row:
    """One line of a score table.

    Attributes:
        direction: the domains passed through: "AtoB", "BtoA", or a round trip such as "AtoBtoA".
        method: the name of what made the scored images.
        scores: the scores, by the keys of `COLUMNS`.
        count: the number of images.
        kind: the method's kind: a model; a reference that needs no model, which models should beat;
            or a ceiling, which they can hardly reach.
    """

    direction: str
    method: str
    scores: Mapping[str, Estimate]
    count: int
    kind: Kind = "model"


@dataclass(frozen=True)
class Cell:
    """A score as shown in a table.

    Attributes:
        text: the score.
        interval: its 95% interval in brackets, or "".
        best: whether no other method of its direction has a better one, ceilings aside.
    """

    text: str
    interval: str = ""
    best: bool = False

    @property
    def whole(self) -> str:
        """Score and interval."""
        return f"{self.text} {self.interval}".rstrip()


@dataclass(frozen=True)
class Column:
    """How a score is shown.

    Attributes:
        heading: its name.
        rank: sorts values; the lowest rank is best.
        digits: after the decimal point; of scores in the files' units, at least so many.
        units: whether it is in the units of the truth's files.
    """

    heading: str
    rank: Callable[[float], float]
    digits: int
    units: bool = False

    def digits_for(self, values: Sequence[float]) -> int:
        """Digits after the decimal point for several values: at least two that count."""
        largest = max(map(abs, values))
        if not self.units or largest == 0 or not math.isfinite(largest):
            return self.digits
        return max(self.digits, 1 - math.floor(math.log10(largest)))


def _lower(value: float) -> float:
    return value


def _higher(value: float) -> float:
    return -value


def _distance(value: float) -> float:
    """Ranks an unbiased estimate, which is below 0 only by chance: those count as 0."""
    return max(value, 0.0)


COLUMNS = {
    "mae": Column("MAE", _lower, 1, units=True),
    "bias": Column("bias", abs, 1, units=True),
    "psnr": Column("PSNR (dB)", _higher, 2),
    "ssim": Column("SSIM", _higher, 3),
    "ms_ssim": Column("MS-SSIM", _higher, 3),
    "dice": Column("Dice", _higher, 3),
    "hd95": Column("HD95 (mm)", _lower, 1),
    "pixel_accuracy": Column("pixel accuracy", _higher, 3),
    "class_accuracy": Column("class accuracy", _higher, 3),
    "class_iou": Column("class IoU", _higher, 3),
    "lpips": Column("LPIPS", _lower, 3),
    "kid_random": Column("KID, random features", _distance, 4),
    "kid_segmenter": Column("KID, segmenter's features", _distance, 4),
    "kid": Column("KID, Inception", _distance, 4),
    "fid": Column("FID, Inception", _lower, 1),
}
"""All scores, by their key in JSON."""


def columns(rows: Iterable[Row]) -> list[str]:
    """The keys of the scores in these rows, in the order of `COLUMNS`."""
    present = {key for row in rows for key in row.scores}
    return [key for key in COLUMNS if key in present]


def headings(rows: Iterable[Row]) -> list[str]:
    """The headings for `table_cells`."""
    return [COLUMNS[key].heading for key in columns(rows)]


def table_cells(rows: Sequence[Row]) -> list[list[Cell]]:
    """Each row's scores as text, in the order of `columns`, with the best of each direction marked.

    A direction's only row gets no mark.
    """
    keys = columns(rows)
    return [[_cell(row, key, rows) for key in keys] for row in rows]


def _cell(row: Row, key: str, rows: Sequence[Row]) -> Cell:
    if key not in row.scores:
        return Cell("")
    score, rank = row.scores[key], COLUMNS[key].rank
    beside = [other for other in rows if other.direction == row.direction and key in other.scores]
    digits = COLUMNS[key].digits_for([other.scores[key].value for other in beside])
    rivals = [rank(other.scores[key].value) for other in beside if other.kind != "ceiling"]
    contest = row.kind != "ceiling" and len(rivals) > 1
    best = contest and rank(score.value) == min(rivals)
    interval = ""
    if score.low is not None and score.high is not None:
        interval = f"[{score.low:.{digits}f}, {score.high:.{digits}f}]"
    return Cell(f"{score.value:.{digits}f}", interval, best)


def rows_to_rich(rows: Sequence[Row], title: str | None = None, what: str = "images") -> Table:
    """The table for a terminal of 80 columns, with the best of each direction in bold.

    Args:
        rows: grouped by direction.
        title: the text above the table.
        what: what the rows' counts count.
    """
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("", overflow="fold")  # names of runs often differ only at the end
    heads = headings(rows)
    for heading in (*heads, what):
        table.add_column(heading, justify="right")
    between = ".." if len(heads) <= 3 else "..\n"  # else the ends would be cut off
    direction = None
    for row, cells in zip(rows, table_cells(rows), strict=True):
        if row.direction != direction:
            direction = row.direction
            table.add_section()
            table.add_row(Text(_arrows(direction, "→"), "bold"))
        scores = []
        for cell in cells:
            score = Text(cell.text, "bold" if cell.best else "")
            if cell.interval:
                ends = cell.interval.strip("[]").replace(", ", between)
                score.append(f"\n{ends}", "not bold dim")
            scores.append(score)
        table.add_row(Text(row.method), *scores, str(row.count))
    return table


def rows_to_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows as flat dicts: direction, method, count, and each score as KEY, KEY_low and KEY_high."""
    return [
        {"direction": row.direction, "method": row.method, **_flat(row), "count": row.count}
        for row in rows
    ]


def rows_from_json(content: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The rows that `rows_to_json` described; scores that this version doesn't know are left out.

    Raises:
        KeyError, TypeError: it described none.
    """
    return [
        Row(
            line["direction"],
            line["method"],
            {
                key: Estimate(line[key], line.get(f"{key}_low"), line.get(f"{key}_high"))
                for key in COLUMNS
                if key in line
            },
            line["count"],
        )
        for line in content
    ]


def _flat(row: Row) -> dict[str, float]:
    flat: dict[str, float] = {}
    for key, score in row.scores.items():
        flat[key] = score.value
        if score.low is not None and score.high is not None:
            flat |= {f"{key}_low": score.low, f"{key}_high": score.high}
    return flat


Tables = Mapping[str, Sequence[Row]]
"""Rows by their tables' titles."""


def _markdown(tables: Tables, note: str) -> str:
    parts = []
    for title, rows in tables.items():
        heads = ["direction", "method", *headings(rows), "count"]
        lines = [heads, ["---", "---", *["---:"] * (len(heads) - 2)]]
        for row, cells in zip(rows, table_cells(rows), strict=True):
            scores = [
                f"**{cell.text}** {cell.interval}" if cell.best else cell.whole for cell in cells
            ]
            named = [_arrows(row.direction, "→"), row.method]
            lines.append([*map(markdown, named), *scores, str(row.count)])
        body = "\n".join(f"| {' | '.join(cell.strip() for cell in line)} |" for line in lines)
        parts.append(f"**{title}**\n\n{body}\n")
    said = f"In brackets: 95% intervals, bootstrapped over the images. {note}".rstrip()
    return "\n".join([*parts, f"{said}\n"])


def _csv(tables: Tables, note: str) -> str:
    keys = [key for key in COLUMNS for rows in tables.values() if key in columns(rows)]
    scores = [f"{key}{end}" for key in dict.fromkeys(keys) for end in ("", "_low", "_high")]
    text = io.StringIO()
    fields = ["table", "direction", "method", *scores, "count"]
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    for title, rows in tables.items():
        for line in rows_to_json(rows):
            writer.writerow({"table": title, **line, "method": csv_cell(line["method"])})
    return text.getvalue()


def _json(tables: Tables, note: str) -> str:
    return (
        json.dumps({title: rows_to_json(rows) for title, rows in tables.items()}, indent=2) + "\n"
    )


def _latex(tables: Tables, note: str) -> str:
    """LaTeX tables for the package booktabs."""
    parts = []
    for title, rows in tables.items():
        heads = ["direction", "method", *headings(rows), "$n$"]
        body = []
        for row, cells in zip(rows, table_cells(rows), strict=True):
            scores = [
                (rf"\textbf{{{cell.text}}}" if cell.best else cell.text)
                + (rf" {{\scriptsize {cell.interval}}}" if cell.interval else "")
                for cell in cells
            ]
            arrows = _arrows(row.direction, r"$\to$")
            body.append(" & ".join([arrows, _escape_latex(row.method), *scores, str(row.count)]))
        lines = [rf"{line} \\" for line in body]
        parts.append(
            "\n".join(
                [
                    f"% {title}; in brackets: 95% bootstrap intervals over the images",
                    rf"\begin{{tabular}}{{ll{'r' * (len(heads) - 2)}}}",
                    r"\toprule",
                    " & ".join(heads) + r" \\",
                    r"\midrule",
                    *lines,
                    r"\bottomrule",
                    r"\end{tabular}",
                ]
            )
        )
    if note:
        parts.append(f"% {note}")
    return "\n\n".join(parts) + "\n"


FORMATS: dict[str, Callable[[Tables, str], str]] = {
    ".md": _markdown,
    ".csv": _csv,
    ".json": _json,
    ".tex": _latex,
}
"""The functions that format tables, by the file's suffix."""


def format_tables(path: Path, tables: Tables, note: str = "") -> str:
    """Formats tables as the text of a file with this suffix, one of `FORMATS`.

    Args:
        path: the file.
        tables: what goes into it.
        note: a sentence for those who read Markdown or LaTeX.
    """
    return FORMATS[path.suffix.lower()](tables, note)


def _arrows(direction: str, arrow: str) -> str:
    return f" {arrow} ".join(direction.split("to"))


def _escape(text: str, special: str) -> str:
    return "".join(f"\\{c}" if c in special else c for c in text)


def _escape_latex(text: str) -> str:
    return (
        _escape(visible(text).replace("\\", "/"), "&%$#_{}").replace("~", " ").replace("^", r"\^{}")
    )
