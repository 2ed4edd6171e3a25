"""`revgan benchmark` at work: measures what a folder lacks, and writes after each case."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console

from revgan.benchmark.cases import PACKAGES, Case, VariantName, installed_variants
from revgan.benchmark.measuring import measure_case
from revgan.benchmark.paper_measuring import measure_paper_case
from revgan.benchmark.paper_results import PaperResults
from revgan.benchmark.paper_tables import Mode, TableNumber, paper_rows
from revgan.benchmark.recording import current_conditions
from revgan.benchmark.results import StepResults
from revgan.training import RuntimeConfig


def benchmark_steps(
    cases: Sequence[Case],
    variants: Collection[VariantName],
    runtime: RuntimeConfig,
    repeats: int,
    folder: Path,
    command: str,
    console: Console,
) -> None:
    """Measures variants side by side, and prints the tables.

    The variants of a case are measured in one sitting. If one is missing, all are measured
    again.

    Args:
        cases: what is trained.
        variants: ways to train; all must be installed.
        runtime: device, cpu or cuda, and precision.
        repeats: timed steps per variant.
        folder: for the results.
        command: the command line, which is noted beside the results.
        console: for progress and tables.

    Raises:
        UserError: the folder holds results of another machine, other versions or settings.
    """
    packages = [name for name in installed_variants() if name in PACKAGES]
    conditions = current_conditions(runtime, packages, repeats=repeats)
    results = StepResults(folder, conditions, command)
    for number, case in enumerate(cases, start=1):
        measured = {row.variant for row in results.of(case)}
        if measured.issuperset(variants):
            continue
        console.print(f"{number} of {len(cases)}: {case.title}, depth {case.depth}")
        all_variants = measured.union(variants)
        names = [name for name in get_args(VariantName) if name in all_variants]
        results.replace(case, measure_case(case, names, runtime, repeats))
    for table in results.tables():
        console.print(table)
    console.print(
        f"Wrote results.json, table.md, plot.png and plot.svg to {folder}", soft_wrap=True
    )


def benchmark_paper(
    tables: Sequence[TableNumber],
    modes: Sequence[Mode],
    runtime: RuntimeConfig,
    warmup: int,
    samples: int,
    folder: Path,
    command: str,
    console: Console,
) -> None:
    """Measures rows of the paper's tables, and prints them beside the paper's numbers.

    Args:
        tables: which.
        modes: how to train, besides naive.
        runtime: device, cpu or cuda, and precision.
        warmup: samples before those that are measured.
        samples: samples that are measured.
        folder: for the results.
        command: the command line, which is noted beside the results.
        console: for progress and tables.

    Raises:
        UserError: the folder holds results of another machine, other versions or settings.
    """
    conditions = current_conditions(runtime, warmup=warmup, samples=samples)
    results = PaperResults(folder, conditions, runtime.device, command)
    # Tables share rows.
    cases = dict.fromkeys(row.case for table in tables for row in paper_rows(table))
    runs = [(case, mode) for case in cases for mode in case.modes(modes)]
    missing = [run for run in runs if not results.has(*run)]
    for number, (case, mode) in enumerate(missing, start=1):
        console.print(f"{number} of {len(missing)}: {case.title}, {mode}", soft_wrap=True)
        results.add(measure_paper_case(case, mode, runtime, warmup, samples))
    for table in results.tables(tables, console.width):
        console.print(table, "")
    console.print(f"{results.legend}\n")
    console.print(f"Wrote results.json and table.md to {folder}", soft_wrap=True)
