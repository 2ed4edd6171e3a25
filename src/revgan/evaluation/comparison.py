"""Scores of several runs on the same test, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from revgan.errors import UserError
from revgan.evaluation.runs import TITLES, Evaluation
from revgan.evaluation.tables import Row, Tables
from revgan.scores.intervals import difference


def require_same_test(evaluations: Mapping[str, Evaluation]) -> None:
    """Refuses runs that can't be compared.

    Raises:
        UserError: runs were tested on different images.
    """
    first_name, first = next(iter(evaluations.items()))
    for name, evaluation in evaluations.items():
        if evaluation.tested != first.tested:
            raise UserError(
                f"{first_name} and {name} have different test {first.items}, or the same at "
                "different sizes or channels, so their scores can't be compared; evaluate them one "
                "by one"
            )


def compare(evaluations: Mapping[str, Evaluation]) -> Tables:
    """Merges each table of several runs into one, and adds tables of their differences.

    Models' rows get the names of their runs. A row that is the same for all runs appears once; if
    runs differ in it, such as in the mean colour of their training images, each has its own.

    Args:
        evaluations: by the name of the run.

    Raises:
        UserError: see `require_same_test`.
    """
    require_same_test(evaluations)
    tables: dict[str, list[Row]] = {}
    for name, evaluation in evaluations.items():
        for title, rows in evaluation.titled().items():
            for row in rows:
                _compare(tables.setdefault(title, []), row, name)
    order = {"model": 0, "reference": 1, "ceiling": 2}
    compared: dict[str, list[Row]] = {}
    for title in TITLES.values():
        if title in tables:
            rows = sorted(tables[title], key=lambda row: (row.direction, order[row.kind]))
            compared[title] = rows
            if differences := _differences(rows):
                compared[f"{title}: differences"] = differences
    return compared


def _differences(rows: Sequence[Row]) -> list[Row]:
    """For each two models of a direction, the second minus the first, image by image."""
    models = [row for row in rows if row.kind == "model"]
    return [
        Row(
            one.direction,
            f"{other.method} - {one.method}",
            {
                key: difference(other.scores[key], one.scores[key])
                for key in one.scores
                if key in other.scores
            },
            one.count,
            "difference",
        )
        for one, other in combinations(models, 2)
        if (one.direction, one.part, one.count) == (other.direction, other.part, other.count)
    ]


def _compare(rows: list[Row], row: Row, run: str) -> None:
    if row.kind == "model":
        rows.append(replace(row, method=f"{run}: {row.part}" if row.part else run))
        return
    same = [r for r in rows if (r.direction, r.method) == (row.direction, row.method)]
    if not same:
        rows.append(row)
    elif same[0].scores != row.scores:
        rows.append(replace(row, method=f"{row.method} ({run})"))
