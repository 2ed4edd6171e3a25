"""Shows the scores of runs: in the terminal, in files, and to programs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from revgan.evaluation.comparison import compare
from revgan.evaluation.runs import Evaluation
from revgan.evaluation.table_files import format_tables
from revgan.evaluation.tables import rows_to_json, rows_to_rich
from revgan.files import write_text


def show_scores(
    evaluations: Mapping[str, Evaluation],
    console: Console,
    *,
    files: Sequence[Path] = (),
    as_json: bool = False,
    named: bool = False,
    notes: Sequence[str] = (),
) -> None:
    """Prints and writes the scores of runs; those of several runs in common tables.

    Args:
        evaluations: by the runs' names.
        console: for tables and other messages.
        files: the files to write tables to, each in the format of its suffix.
        as_json: whether to print JSON to stdout instead of tables.
        named: whether tables show the name of a single run too, as where the user chose it.
        notes: sentences on runs that were joined.

    Raises:
        UserError: runs were tested on different images.
        OSError: a file can't be written.
    """
    (first, *others) = evaluations.values()
    tables = compare(evaluations) if others or named else first.titled()
    note = " ".join([*notes, first.said_of_scores])
    for path in files:
        write_text(path, format_tables(path, tables, note))
    if as_json:
        content = {title: rows_to_json(rows) for title, rows in tables.items()}
        print(json.dumps(content, indent=2) if others else first.to_json())
        return
    if not first.tables["test"]:
        console.print(
            "testA and testB aren't aligned, so only round trips and whole sets can be scored. "
            "They say whether translations can be undone and resemble the other domain; none says "
            "whether a translation is right.",
            soft_wrap=True,
        )
    for title, rows in tables.items():
        if rows:
            console.print(rows_to_rich(rows, title, first.items))
    console.print(note, soft_wrap=True)
    for path in files:
        console.print(f"Wrote {path}", soft_wrap=True)
