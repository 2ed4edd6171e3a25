"""Scores of single test scans: a line for each in scans.json and scans.csv."""

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from revgan.evaluation.tables import COLUMNS
from revgan.scores.metrics import Kind
from revgan.text import csv_cell


@dataclass(frozen=True)
class ScanRow:
    """The scores of one test scan.

    Attributes:
        direction: as in `tables.Row`.
        method: as in `tables.Row`.
        scan: the name of the scan that was translated.
        scores: by the keys of `tables.COLUMNS`; NaN where the scan has none.
        kind: as in `tables.Row`.
    """

    direction: str
    method: str
    scan: str
    scores: Mapping[str, float]
    kind: Kind = "model"


ScanTables = Mapping[str, list[ScanRow]]
"""Rows by their tables' keys in scores.json."""


def scans_to_json(tables: ScanTables) -> list[dict[str, Any]]:
    """A flat dict for each row: its table, direction, method and scan, and each score.

    A score that a scan doesn't have is None.
    """
    return [
        {"table": key, "direction": row.direction, "method": row.method, "scan": row.scan}
        | {name: value if math.isfinite(value) else None for name, value in row.scores.items()}
        for key, rows in tables.items()
        for row in rows
    ]


def scans_to_csv(tables: ScanTables) -> str:
    """The same as CSV; a score that a row doesn't have is empty."""
    present = {name for rows in tables.values() for row in rows for name in row.scores}
    fields = ["table", "direction", "method", "scan", *(key for key in COLUMNS if key in present)]
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    for line in scans_to_json(tables):
        named = {name: csv_cell(line[name]) for name in ("method", "scan")}
        writer.writerow(line | named)
    return text.getvalue()


def joined(rows: Iterable[ScanRow]) -> list[ScanRow]:
    """Rows, of which those of the same direction, method and scan become one."""
    found: dict[tuple[str, str, str], ScanRow] = {}
    for row in rows:
        key = row.direction, row.method, row.scan
        before = found.get(key)
        scores = row.scores if before is None else {**before.scores, **row.scores}
        found[key] = ScanRow(*key, scores, row.kind)
    return list(found.values())
