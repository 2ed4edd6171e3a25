"""Rows of score tables from JSON, as `tables.rows_to_json` wrote them."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from revgan.evaluation.tables import COLUMNS, Row
from revgan.scores.intervals import Estimate


def rows_from_json(content: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The rows that `rows_to_json` described; scores that this version doesn't know are left out.

    Raises:
        KeyError, TypeError: it described none.
    """
    return [
        Row(
            _only(str, line["direction"]),
            _only(str, line["method"]),
            {
                key: Estimate(
                    math.nan if line[key] is None else _only(float, line[key]),
                    _only(float | None, line.get(f"{key}_low")),
                    _only(float | None, line.get(f"{key}_high")),
                    left_out=_only(int, line.get(f"{key}_undefined", 0)),
                )
                for key in COLUMNS
                if key in line
            },
            _only(int, line["count"]),
        )
        for line in content
    ]


def _only(kind: Any, value: Any) -> Any:
    """A value of JSON, if it is of a type; whole numbers are numbers, and truth values aren't.

    Raises:
        TypeError: it isn't.
    """
    known = kind | int if float in (kind, *get_args(kind)) else kind
    if isinstance(value, bool) or not isinstance(value, known):
        raise TypeError(f"{value!r} stands where something else belongs")
    return value
