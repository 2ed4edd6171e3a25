"""`revgan plan`: predict a training's memory, and what fits, before anything runs."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace
from rich.console import Console

from revgan.errors import UsageError
from revgan.options import (
    Parser,
    add_class_trust,
    add_run_options,
    networks_of,
    run_config,
    start_from,
    trust_all,
    trust_given,
)
from revgan.text import PlainConsole

if TYPE_CHECKING:
    from revgan.training.runs import RunFolder


def add_options(parser: Parser) -> None:
    """The options of a run, which start from a preset or a given run, and the question."""
    parser.description = (
        "Predict the memory that training needs, and the largest size, depth and batch that fit, "
        "before anything runs."
    )
    add_run_options(parser)
    add_class_trust(parser)
    parser.add_argument("run_folder", nargs="?", help="a run folder whose options to use")
    parser.add_argument(
        "--spatial-dims",
        type=Literal[2, 3],
        help="images or volumes; by default the run's, else data.spatial_dims",
    )
    parser.add_argument(
        "--channels",
        type=int,
        nargs=2,
        metavar=("A", "B"),
        help="channels of the domains A and B; by default the run's, else 3 3, or 1 1 for volumes",
    )
    parser.add_argument(
        "--size",
        type=int | tuple[int, ...] | None,
        help="side of the training images, or one per axis; by default data.crop",
    )
    parser.add_argument("--json", action="store_true", help="print the plan in bytes, as JSON")
    parser.start = partial(_start, parser)


def _start(parser: Parser, options: Namespace) -> None:
    trust_given(parser)
    folder = _planned_run(options)
    if folder is not None and options.preset is not None:
        raise UsageError("a run folder has its own options; omit --preset")
    files = [] if folder is None else [folder.config]
    pretrained = None if files else options["training.pretrained"]
    start_from(parser, options.preset, *files, values=networks_of(pretrained), asked=options)


def run(options: Namespace, console: Console) -> int:
    """Makes the plan and prints it."""
    from revgan.training.plan import make_plan, planned_domains, planned_workload, print_plan

    trust_all(options)
    config, channels = run_config(options), options.channels
    folder = _planned_run(options)
    domains = planned_domains(config, folder, options.spatial_dims, channels and tuple(channels))
    workload = planned_workload(config, domains, options.size)
    if options.json:
        console = PlainConsole(stderr=True)
    with console.status("Planning") as status:
        plan = make_plan(workload, lambda what: status.update(f"Planning: {what}"))
    if options.json:
        print(plan.to_json())
    else:
        print_plan(plan, console)
    return 0


def _planned_run(options: Namespace) -> "RunFolder | None":
    if options.run_folder is None:
        return None
    from revgan.training.runs import existing_run

    return existing_run(Path(options.run_folder))
