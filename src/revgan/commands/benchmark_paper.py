"""`revgan benchmark paper`: the rows of the paper's Tables 2, 3 and 4, measured here."""

import shlex
from pathlib import Path
from typing import Literal, get_args

from jsonargparse import Namespace
from rich.console import Console

from revgan.benchmark.paper_measuring import measure_paper_case
from revgan.benchmark.paper_results import PaperResults
from revgan.benchmark.paper_tables import TableNumber, paper_rows
from revgan.benchmark.recording import current_conditions
from revgan.commands.benchmark import add_runtime_options, chosen_runtime
from revgan.commands.options import Parser
from revgan.environment import require_device
from revgan.errors import UsageError

ChosenMode = Literal["reversible", "lean", "joint", "joint-reversible"]


def benchmark_paper(arguments: list[str]) -> int:
    """Measures rows of the paper's tables, and prints them beside the paper's numbers."""
    parser = Parser(
        "benchmark paper",
        "Measure the rows of the paper's Tables 2, 3 and 4 as the paper did, by training, and "
        "print them beside the paper's numbers. What was interrupted goes on when it is started "
        "again.",
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    require_device(options.device, "--device")
    run_paper(options, shlex.join(["revgan", "benchmark", "paper", *arguments]), Console())
    return 0


def add_options(parser: Parser) -> None:
    """The command's options."""
    parser.add_argument(
        "--table",
        type=TableNumber,
        nargs="+",
        default=list(get_args(TableNumber)),
        help="which tables",
    )
    parser.add_argument(
        "--modes",
        type=ChosenMode,
        nargs="+",
        default=["reversible"],
        help="how to train, besides naive: reversible is the paper's memory saving, lean saves "
        "more; joint and joint-reversible backpropagate all losses at once, through plain layers, "
        "as the paper's code did without and with memory saving",
    )
    parser.add_argument(
        "--warmup", type=int, default=100, help="samples before those that are measured"
    )
    parser.add_argument("--samples", type=int, default=100, help="samples that are measured")
    add_runtime_options(parser)
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help="for the results; what is there already is not measured again; by default one in "
        "benchmark/, named after device and precision",
    )


def run_paper(options: Namespace, command: str, console: Console) -> None:
    """Measures what the folder lacks, and writes the results after each row and mode.

    Args:
        options: those of `add_options`.
        command: the command line, which is noted beside the results.
        console: for progress and tables.

    Raises:
        UserError: an option is out of its range, or the folder holds results of another machine,
            other versions or settings.
    """
    for name, least in (("warmup", 1), ("samples", 2)):
        if options[name] < least:
            raise UsageError(f"--{name} must be {least} or more, not {options[name]}")
    runtime = chosen_runtime(options)
    name = f"paper-{runtime.device}-{runtime.precision}"
    folder = Path(options.output or Path("benchmark") / name)
    conditions = current_conditions(runtime, warmup=options.warmup, samples=options.samples)
    results = PaperResults(folder, conditions, runtime.device, command)
    # Tables share rows.
    cases = dict.fromkeys(row.case for table in options.table for row in paper_rows(table))
    runs = [(case, mode) for case in cases for mode in case.modes(options.modes)]
    missing = [run for run in runs if not results.has(*run)]
    for number, (case, mode) in enumerate(missing, start=1):
        console.print(f"{number} of {len(missing)}: {case.title}, {mode}", soft_wrap=True)
        results.add(measure_paper_case(case, mode, runtime, options.warmup, options.samples))
    for table in results.tables(options.table, console.width):
        console.print(table, "")
    console.print(f"{results.legend}\n")
    console.print(f"Wrote results.json and table.md to {folder}", soft_wrap=True)
