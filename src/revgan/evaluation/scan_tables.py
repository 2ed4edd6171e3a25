"""The scores of single scans as tables of a report: a row each, from the best to the worst."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from revgan.directions import DIRECTIONS, Direction
from revgan.evaluation.scans import ScanRow, ScanTables
from revgan.evaluation.tables import COLUMNS, UNDEFINED, Column
from revgan.scores.agreement import Agreement

RANKING = ("test_inside_masks", "test")
"""The tables that may rank scans, the most telling first."""


@dataclass(frozen=True)
class ScanCell:
    """A score of a scan.

    Attributes:
        text: as shown; "" if it wasn't taken.
        rank: sorts cells of a column, the best first; None for those without a value, which come
            last.
    """

    text: str
    rank: float | None


@dataclass(frozen=True)
class ScanLine:
    """A scan, or a part of one.

    Attributes:
        scan: its name.
        part: what of it was scored, such as a tissue; "" for all of it.
        cells: in the order of the table's headings.
    """

    scan: str
    part: str
    cells: Sequence[ScanCell]


@dataclass(frozen=True)
class ScanTable:
    """The scores of a direction's test scans.

    Attributes:
        title: what they are.
        headings: of the scores.
        orders: of their values from the best to the worst, "ascending" or "descending".
        lines: sorted by the score that `ranked_by` names, the best first.
        ranked_by: the place of that score among the headings; None if no scan has one.
        parts: whether lines are of parts of scans.
    """

    title: str
    headings: Sequence[str]
    orders: Sequence[str]
    lines: Sequence[ScanLine]
    ranked_by: int | None
    parts: bool


def scan_table(title: str, scores: Iterable[ScanRow], ranked_by: str) -> ScanTable | None:
    """Makes a table of rows, of which those of references and ceilings are left out.

    Args:
        title: the table's.
        scores: of one direction.
        ranked_by: the key of the score that sorts lines; a table without it takes its first.

    Returns:
        None if there is no row of a model.
    """
    rows = [row for row in scores if row.kind == "model" and row.scores]
    keys = [key for key in COLUMNS if any(key in row.scores for row in rows)]
    if not keys:
        return None
    digits = {key: _digits(COLUMNS[key], [row.scores for row in rows], key) for key in keys}
    best = keys.index(ranked_by) if ranked_by in keys else 0
    lines = [
        ScanLine(
            row.scan,
            row.method.partition(": ")[2],
            [_cell(row.scores, key, digits[key]) for key in keys],
        )
        for row in rows
    ]
    lines.sort(key=lambda line: _order(line.cells[best]))
    known = any(line.cells[best].rank is not None for line in lines)
    return ScanTable(
        title,
        [COLUMNS[key].heading for key in keys],
        ["ascending" if COLUMNS[key].lower_is_better else "descending" for key in keys],
        lines,
        best if known else None,
        any(line.part for line in lines),
    )


def tables_of_scans(
    scans: ScanTables,
    titles: Mapping[str, str],
    agreements: Mapping[Direction, Agreement],
    ranked_by: str,
) -> dict[str, list[ScanTable]]:
    """The tables of each direction, that which ranks scans first.

    Args:
        scans: by the keys of `titles`.
        titles: in order.
        agreements: whose mean differences become the first table's bias.
        ranked_by: see `scan_table`.
    """
    first = [key for key in (*RANKING, *titles) if scans.get(key)]
    found: dict[str, list[ScanTable]] = {}
    for key in dict.fromkeys(first):
        for direction in DIRECTIONS:
            rows = [row for row in scans[key] if row.direction.startswith(direction)]
            if key == first[0] and direction in agreements:
                biases = {scan.scan: scan.difference for scan in agreements[direction].scans}
                rows = [_with_bias(row, biases.get(row.scan)) for row in rows]
            table = scan_table(titles[key], rows, ranked_by)
            if table is not None:
                found.setdefault(direction, []).append(table)
    return found


def _with_bias(row: ScanRow, bias: float | None) -> ScanRow:
    return row if bias is None else replace(row, scores={**row.scores, "bias": bias})


def _order(cell: ScanCell) -> tuple[bool, float]:
    return cell.rank is None, cell.rank or 0.0


def _digits(column: Column, scores: Sequence[Mapping[str, float]], key: str) -> int:
    values = [each[key] for each in scores if math.isfinite(each.get(key, math.nan))]
    return column.digits_for(values or [0])


def _cell(scores: Mapping[str, float], key: str, digits: int) -> ScanCell:
    if key not in scores:
        return ScanCell("", None)
    value = scores[key]
    if not math.isfinite(value):
        return ScanCell(UNDEFINED, None)
    return ScanCell(f"{value:.{digits}f}", COLUMNS[key].rank(value))
