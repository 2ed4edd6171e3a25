"""`revgan benchmark` compares ways to train a RevGAN; `paper` measures the paper's tables."""

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from jsonargparse import Namespace
from rich.console import Console

from revgan.benchmark.cases import Case, VariantName, installed_variants
from revgan.benchmark.paper_tables import TableNumber
from revgan.environment import require_device
from revgan.errors import UsageError, UserError
from revgan.options import Parser
from revgan.training.config import ObjectiveKind, RunConfig, RuntimeConfig, preset_names

if TYPE_CHECKING:
    from collections.abc import Sequence

PAPER = "paper"

ChosenMode = Literal["reversible", "lean", "joint", "joint-reversible"]


def add_options(parser: Parser) -> None:
    """What to measure, how often, and where the results go."""
    parser.description = (
        "Measure ways to train the same RevGAN side by side: time, memory, arithmetic, and the "
        "gradient's error. Run the same command again to continue an interrupted benchmark."
    )
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
        "--preset",
        type=str,
        default="default",
        help="whose networks are trained, but for width and depth; volumes is for 3 dimensions",
    )
    parser.add_argument(
        "--variants",
        type=VariantName,
        nargs="+",
        default=installed_variants(),
        help="ways to train; by default all whose packages are installed",
    )
    parser.add_argument("--repeats", type=int, default=10, help="timed steps per variant")
    _add_common_options(parser)
    tables = Parser("benchmark paper")
    _add_paper_options(tables)
    parser.add_task(PAPER, tables, "the rows of the paper's Tables 2, 3 and 4")


def _add_paper_options(parser: Parser) -> None:
    parser.description = (
        "Measure the rows of the paper's Tables 2, 3 and 4 as the paper did, by training, and "
        "print them beside the paper's numbers. Run the same command again to continue an "
        "interrupted benchmark."
    )
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
        help=(
            "how to train, besides naive: reversible is the paper's memory saving, lean saves "
            "more; joint and joint-reversible backpropagate all losses at once through plain "
            "layers, as the paper's code did without and with memory saving"
        ),
    )
    parser.add_argument(
        "--warmup", type=int, default=100, help="samples to run before those that are measured"
    )
    parser.add_argument("--samples", type=int, default=100, help="samples to measure")
    _add_common_options(parser)


def _add_common_options(parser: Parser) -> None:
    parser.add_argument(
        "--precision",
        type=Literal["float32", "bf16"],
        default="float32",
        help="precision of the arithmetic within the networks",
    )
    parser.add_argument(
        "--device",
        type=Literal["auto", "cpu", "cuda"],
        default="auto",
        help="where to run; auto takes a GPU if possible",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help=(
            "folder for the results; what it holds already isn't measured again; by default a "
            "folder in benchmark/ named after device and precision"
        ),
    )


def run(options: Namespace, console: Console) -> int:
    """Measures what the folder lacks, and shows all results."""
    from revgan.benchmark.sessions import benchmark_paper, benchmark_steps

    command = options.command_line
    if options.task == PAPER:
        of_paper = options[PAPER]
        _check_least(of_paper, warmup=1, samples=2)
        runtime = _runtime(of_paper)
        folder = _folder(of_paper, f"paper-{runtime.device}-{runtime.precision}")
        counts = of_paper.warmup, of_paper.samples
        benchmark_paper(of_paper.table, of_paper.modes, runtime, *counts, folder, command, console)
        return 0
    _check_least(options, widths=1, depths=1, repeats=2)
    cases, variants = _cases(options), _variants(options)
    runtime = _runtime(options)
    folder = _folder(options, f"{runtime.device}-{runtime.precision}")
    benchmark_steps(cases, variants, runtime, options.repeats, folder, command, console)
    return 0


def _check_least(options: Namespace, **least: int) -> None:
    for name, at_least in least.items():
        value = options[name]
        smallest = min(value) if isinstance(value, list) else value
        if smallest < at_least:
            raise UsageError(f"--{name} must be {at_least} or more, not {smallest}")


def _runtime(options: Namespace) -> RuntimeConfig:
    """The device (cpu or cuda) and the precision."""
    import torch

    require_device(options.device, "--device")
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return RuntimeConfig(device, options.precision)


def _folder(options: Namespace, name: str) -> Path:
    folder = Path(options.output or Path("benchmark") / name)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, but the results are several; name a folder")
    return folder


def _variants(options: Namespace) -> "Sequence[VariantName]":
    variants: list[VariantName] = options.variants
    for name in variants:
        if name not in installed_variants():
            raise UserError(
                f"--variants {name} needs a package that is not installed: pip install --no-deps "
                f"{name}"
            )
    return variants


def _cases(options: Namespace) -> list[Case]:
    """The grid of cases that the options span, each case once."""
    if options.preset not in preset_names():
        known = ", ".join(preset_names())
        raise UsageError(f"--preset must be one of {known}, not {options.preset}")
    multiple, least = RunConfig().size_multiple, RunConfig().min_size
    for size in options.sizes:
        if size % multiple or size < least:
            raise UsageError(f"--sizes must be multiples of {multiple} from {least} up, not {size}")
    grid = product(
        options.objective,
        [options.spatial_dims],
        options.sizes,
        options.widths,
        options.depths,
        [options.preset],
    )
    return list(dict.fromkeys(Case(*values) for values in grid))
