"""Score tables as files: Markdown, CSV, JSON and LaTeX."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

from revgan.errors import visible
from revgan.evaluation.tables import (
    COLUMNS,
    Tables,
    arrows,
    columns,
    headings,
    rows_to_json,
    table_cells,
)
from revgan.text import csv_cell, markdown


def _markdown(tables: Tables, note: str) -> str:
    parts = []
    for title, rows in tables.items():
        heads = ["direction", "method", *headings(rows), "count"]
        lines = [heads, ["---", "---", *["---:"] * (len(heads) - 2)]]
        for row, cells in zip(rows, table_cells(rows), strict=True):
            scores = [
                f"**{cell.text}** {cell.details}" if cell.best else cell.whole for cell in cells
            ]
            named = [arrows(row.direction, "→"), row.method]
            lines.append([*map(markdown, named), *scores, str(row.count)])
        body = "\n".join(f"| {' | '.join(cell.strip() for cell in line)} |" for line in lines)
        parts.append(f"**{title}**\n\n{body}\n")
    said = f"In brackets: 95% intervals, bootstrapped over the images. {BOLD} {note}".rstrip()
    return "\n".join([*parts, f"{said}\n"])


def _csv(tables: Tables, note: str) -> str:
    keys = [key for key in COLUMNS for rows in tables.values() if key in columns(rows)]
    known = {row.kind for rows in tables.values() for row in rows}
    ends = ("", "_low", "_high", "_p") if "difference" in known else ("", "_low", "_high")
    lacking = {
        key
        for rows in tables.values()
        for row in rows
        for key, score in row.scores.items()
        if score.left_out
    }
    scores = [
        f"{key}{end}"
        for key in dict.fromkeys(keys)
        for end in (*ends, *(["_undefined"] if key in lacking else []))
    ]
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
                + (rf" {{\scriptsize {cell.details}}}" if cell.details else "")
                for cell in cells
            ]
            route = arrows(row.direction, r"$\to$")
            body.append(" & ".join([route, _escape_latex(row.method), *scores, str(row.count)]))
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


BOLD = "Bold: better than all others of its direction, by the 95% interval of the difference."
"""What the marks of `table_cells` mean."""


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


def _escape(text: str, special: str) -> str:
    return "".join(f"\\{c}" if c in special else c for c in text)


def _escape_latex(text: str) -> str:
    return (
        _escape(visible(text).replace("\\", "/"), "&%$#_{}").replace("~", " ").replace("^", r"\^{}")
    )
