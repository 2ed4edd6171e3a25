"""`revgan benchmark`: ways to train the same RevGAN, measured side by side."""

from itertools import product
from pathlib import Path
from typing import Literal, get_args

import torch
from jsonargparse import Namespace
from rich.console import Console

from revgan.benchmark.measuring import measure_case
from revgan.benchmark.recording import current_conditions
from revgan.benchmark.results import StepResults
from revgan.benchmark.variants import PACKAGES, Case, VariantName, installed_variants
from revgan.commands.options import Parser
from revgan.errors import UsageError, UserError
from revgan.training.config import ObjectiveKind, RunConfig, RuntimeConfig


def add_runtime_options(parser: Parser) -> None:
    """Options for precision and device."""
    parser.add_argument(
        "--precision",
        type=Literal["float32", "bf16"],
        default="float32",
        help="of the arithmetic within the networks",
    )
    parser.add_argument(
        "--device",
        type=Literal["auto", "cpu", "cuda"],
        default="auto",
        help="where to run; auto takes a GPU if possible",
    )


def chosen_runtime(options: Namespace) -> RuntimeConfig:
    """Device, cpu or cuda, and precision."""
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return RuntimeConfig(device, options.precision)


def add_options(parser: Parser) -> None:
    """The command's options."""
    parser.add_argument(
        "--objective",
        type=ObjectiveKind,
        nargs="+",
        default=["unpaired"],
        help="whose losses: CycleGAN's (unpaired), pix2pix's (paired), or both",
    )
    parser.add_argument(
        "--spatial-dims", type=Literal[2, 3], default=2, help="2 for images, 3 for volumes"
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[128], help="positions along each spatial axis"
    )
    parser.add_argument(
        "--widths", type=int, nargs="+", default=[32], help="the generator's first channels"
    )
    parser.add_argument(
        "--depths", type=int, nargs="+", default=[6, 30], help="reversible blocks of the core"
    )
    parser.add_argument(
        "--variants",
        type=VariantName,
        nargs="+",
        default=installed_variants(),
        help="ways to train; by default all, but without packages that are not installed",
    )
    parser.add_argument("--repeats", type=int, default=10, help="timed steps per variant")
    add_runtime_options(parser)
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help="for the results; what is there already is not measured again; by default one in "
        "benchmark/, named after device and precision",
    )


def run_benchmark(options: Namespace, command: str, console: Console) -> None:
    """Measures what the folder lacks, and writes the results after each case.

    The variants of a case are measured in one sitting: where one is missing, all are measured anew.

    Args:
        options: those of `add_options`.
        command: the command line, which is noted beside the results.
        console: for progress and tables.

    Raises:
        UserError: an option is out of its range or names a package that is missing, or the folder
            holds results of another machine, other versions or settings.
    """
    _check(options)
    runtime = chosen_runtime(options)
    folder = Path(options.output or Path("benchmark") / f"{runtime.device}-{runtime.precision}")
    packages = [name for name in installed_variants() if name in PACKAGES]
    conditions = current_conditions(runtime, packages, repeats=options.repeats)
    results = StepResults(folder, conditions, command)
    cases = _cases(options)
    for number, case in enumerate(cases, start=1):
        measured = {row.variant for row in results.of(case)}
        if measured.issuperset(options.variants):
            continue
        console.print(f"{number} of {len(cases)}: {case.title}, depth {case.depth}")
        variants = [v for v in get_args(VariantName) if v in measured.union(options.variants)]
        results.replace(case, measure_case(case, variants, runtime, options.repeats))
    for table in results.tables():
        console.print(table)
    console.print(
        f"Wrote results.json, table.md, plot.png and plot.svg to {folder}", soft_wrap=True
    )


def _check(options: Namespace) -> None:
    multiple, least = RunConfig().size_multiple, RunConfig().min_size
    for size in options.sizes:
        if size % multiple or size < least:
            raise UsageError(f"--sizes must be multiples of {multiple} from {least} up, not {size}")
    smallest = {
        "--widths": (options.widths, 1),
        "--depths": (options.depths, 1),
        "--repeats": ([options.repeats], 2),
    }
    for name, (values, least) in smallest.items():
        if min(values) < least:
            raise UsageError(f"{name} must be {least} or more, not {min(values)}")
    for name in options.variants:
        if name not in installed_variants():
            raise UserError(
                f"--variants {name} needs a package that is not installed; get it with "
                f"pip install --no-deps {name}"
            )


def _cases(options: Namespace) -> list[Case]:
    """The grid that the options span, each case once."""
    grid = product(
        options.objective, [options.spatial_dims], options.sizes, options.widths, options.depths
    )
    return list(dict.fromkeys(Case(*values) for values in grid))
