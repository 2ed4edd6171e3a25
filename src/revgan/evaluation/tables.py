"""Score tables: for terminals, reports, papers and programs."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from revgan.scores.intervals import LEVEL, Estimate, difference
from revgan.scores.metrics import Kind


@dataclass(frozen=True)
class Row:
    """One line of a score table.

    Attributes:
        direction: the domains passed through: "AtoB", "BtoA", or a round trip such as "AtoBtoA".
        method: the name of what made the scored images.
        scores: the scores, by the keys of `COLUMNS`.
        count: the number of images.
        kind: the method's kind: a model; a reference that needs no model, which models should beat;
            or a ceiling, which they can hardly reach; or the difference of two models.
    """

    direction: str
    method: str
    scores: Mapping[str, Estimate]
    count: int
    kind: Kind | Literal["difference"] = "model"

    @property
    def part(self) -> str:
        """What of the scans is scored, such as a tissue; "" for all of them."""
        return self.method.partition(": ")[2]


def add_row(rows: list[Row], row: Row) -> None:
    """Adds a row, or its scores to the row of the same method and direction."""
    for place, other in enumerate(rows):
        if (other.direction, other.method) == (row.direction, row.method):
            rows[place] = replace(other, scores={**other.scores, **row.scores})
            return
    rows.append(row)


@dataclass(frozen=True)
class Cell:
    """A score as shown in a table.

    Attributes:
        text: the score.
        interval: its 95% interval in brackets, or "".
        best: whether the test images say that it is better than that of every other method of its
            direction, ceilings aside: the 95% interval of each difference leaves out 0. Of a
            difference, whether its own interval does.
        p: of a difference, such as "p 0.012".
        left_out: how many images have no such score, such as "1 undefined".
    """

    text: str
    interval: str = ""
    best: bool = False
    p: str = ""
    left_out: str = ""

    @property
    def details(self) -> str:
        """What stands beside the score: its interval, p, and how many images have none."""
        return ", ".join(filter(None, (self.interval, self.p, self.left_out)))

    @property
    def whole(self) -> str:
        """Score, interval and p."""
        return f"{self.text} {self.details}".rstrip()


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

    @property
    def lower_is_better(self) -> bool:
        """Whether of two values above 0 the lower one is better."""
        return self.rank(1) > self.rank(0)

    def digits_for(self, values: Sequence[float]) -> int:
        """Digits after the decimal point for several values: at least two that count."""
        largest = max(map(abs, values))
        if not self.units or largest == 0 or not math.isfinite(largest):
            return self.digits
        return max(self.digits, 1 - math.floor(math.log10(largest)))


LONG = 16
"""Longer intervals are broken in the terminal, where columns would cut off their ends."""

UNDEFINED = "undefined"
"""Stands where there can't be a score."""


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

    A direction's only row gets no mark, and no row does where the best can't be told apart from the
    next, see `Cell.best`.
    """
    keys = columns(rows)
    return [[_cell(row, key, rows) for key in keys] for row in rows]


def _cell(row: Row, key: str, rows: Sequence[Row]) -> Cell:
    if key not in row.scores:
        return Cell("")
    score = row.scores[key]
    left_out = f"{score.left_out} {UNDEFINED}" if score.left_out else ""
    if math.isnan(score.value):
        return Cell(UNDEFINED, left_out="" if score.left_out == row.count else left_out)
    beside = [other for other in rows if other.direction == row.direction and key in other.scores]
    digits = COLUMNS[key].digits_for([other.scores[key].value for other in beside])
    sign = "+" if row.kind == "difference" else ""
    text, interval, best, p = f"{score.value:{sign}.{digits}f}", "", False, ""
    if score.low is not None and score.high is not None:
        interval = f"[{score.low:{sign}.{digits}f}, {score.high:{sign}.{digits}f}]"
    if row.kind == "difference":
        best = _holds(score)
        p = "" if score.p is None else f"p {score.p:.3f}"
    elif row.kind != "ceiling":
        rivals = [
            other
            for other in beside
            if other is not row and other.kind != "ceiling" and other.part == row.part
        ]
        best = bool(rivals) and all(_better(row, other, key) for other in rivals)
    return Cell(text, interval, best, p, left_out)


def _better(row: Row, other: Row, key: str) -> bool:
    """Whether the test images say that a row's score is better than another's."""
    if row.count != other.count:
        return False
    ahead = difference(*(_ranked(one.scores[key], COLUMNS[key]) for one in (other, row)))
    return ahead.value > 0 and _holds(ahead)


def _ranked(score: Estimate, column: Column) -> Estimate:
    if score.draws is None:
        return score
    draws = score.draws.clone().apply_(column.rank)
    return replace(score, value=column.rank(score.value), draws=draws)


def _holds(apart: Estimate) -> bool:
    """Whether a difference is one: its 95% interval leaves out 0, and p agrees."""
    if apart.low is None or apart.high is None or apart.p is None:
        return False
    return apart.low * apart.high > 0 and apart.p <= LEVEL


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
    lines = list(zip(rows, table_cells(rows), strict=True))
    longest = max((len(cell.interval) for _, cells in lines for cell in cells), default=0)
    # Else the ends would be cut off.
    between = ".." if len(heads) <= 3 and longest <= LONG else "..\n"
    direction = None
    for row, cells in lines:
        if row.direction != direction:
            direction = row.direction
            table.add_section()
            table.add_row(Text(arrows(direction, "→"), "bold"))
        scores = []
        for cell in cells:
            score = Text(cell.text, "bold" if cell.best else "")
            if cell.interval:
                ends = cell.interval.strip("[]").replace(", ", between)
                score.append(f"\n{ends}", "not bold dim")
            for further in filter(None, (cell.p, cell.left_out)):
                score.append(f"\n{further}", "not bold dim")
            scores.append(score)
        table.add_row(Text(row.method), *scores, str(row.count))
    return table


def rows_to_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows as flat dicts: direction, method, count, and each score as KEY, KEY_low and KEY_high.

    Differences have KEY_p too. Where images have no such score, KEY_undefined says how many; KEY is
    None if none has.
    """
    return [
        {"direction": row.direction, "method": row.method, **_flat(row), "count": row.count}
        for row in rows
    ]


def _flat(row: Row) -> dict[str, float | None]:
    flat: dict[str, float | None] = {}
    for key, score in row.scores.items():
        if score.left_out:
            flat[f"{key}_undefined"] = score.left_out
        if math.isnan(score.value):
            flat[key] = None  # JSON has no NaN
            continue
        flat[key] = score.value
        if score.low is not None and score.high is not None:
            flat |= {f"{key}_low": score.low, f"{key}_high": score.high}
        if score.p is not None:
            flat[f"{key}_p"] = score.p
    return flat


Tables = Mapping[str, Sequence[Row]]
"""Rows by their tables' titles."""


def arrows(direction: str, arrow: str) -> str:
    """A direction with an arrow for each `to`, such as A → B."""
    return f" {arrow} ".join(direction.split("to"))
