"""`revgan runs`: list runs with their steps, scores and sizes."""

from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from revgan.options import Parser


def add_options(parser: Parser) -> None:
    """Where the runs are."""
    parser.description = "List runs, the latest first, with their steps, scores and sizes."
    parser.add_argument(
        "folder", nargs="?", default="runs", help="the folder that has them; by default runs"
    )


def run(options: Namespace, console: Console) -> int:
    """Prints a table of runs."""
    from revgan.evaluation.listing import listed, table

    console.print(table(listed(Path(options.folder))))
    return 0
