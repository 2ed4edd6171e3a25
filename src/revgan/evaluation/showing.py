"""Where the scores of runs go: the terminal, files, programs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from revgan.evaluation.comparison import compare
from revgan.evaluation.runs import Evaluation
from revgan.evaluation.tables import format_tables, rows_to_json, rows_to_rich
from revgan.files import write_text


def show_scores(
    evaluations: Mapping[str, Evaluation],
    console: Console,
    *,
    files: Sequence[Path] = (),
    as_json: bool = False,
    named: bool = False,
) -> None:
    """Prints and writes the scores of runs, by their names; those of several as compared.

    Args:
        evaluations: by the names of the runs.
        console: for tables, and for what else is said.
        files: to write tables to, each in the format of its suffix.
        as_json: print JSON to stdout rather than tables.
        named: the runs were given names, which tables then have for a single run, too.

    Raises:
        UserError: several runs were tested on other images.
        OSError: a file can't be written.
    """
    (first, *others) = evaluations.values()
    tables = compare(evaluations) if others or named else first.titled()
    for path in files:
        write_text(path, format_tables(path, tables))
    if as_json:
        content = {title: rows_to_json(rows) for title, rows in tables.items()}
        print(json.dumps(content, indent=2) if others else first.to_json())
        return
    if not first.tables["test"]:
        console.print(
            "What is in testA and testB is not aligned: only round trips, and sets as a whole, "
            "can be scored.",
            soft_wrap=True,
        )
    for title, rows in tables.items():
        if rows:
            console.print(rows_to_rich(rows, title, first.items))
    for path in files:
        console.print(f"Wrote {path}", soft_wrap=True)
