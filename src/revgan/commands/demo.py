"""`revgan demo`: train on a built-in set, translate the held-out part, write a report."""

from functools import partial
from itertools import count
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace
from rich.console import Console

from revgan.errors import visible
from revgan.options import (
    Parser,
    add_folder_option,
    add_run_options,
    check_startable,
    run_config,
    start_from,
)
from revgan.text import shell_word

Dataset = Literal["earth", "earth-labels", "brain", "brain-super-resolution"]

PRESETS: dict[Dataset, str] = {
    "earth": "demo",
    "earth-labels": "demo",
    "brain": "demo-brain",
    "brain-super-resolution": "demo-brain",
}
"""The preset for each set."""


def add_options(parser: Parser) -> None:
    """The options of a run, which start from the set's preset."""
    parser.description = "Train on a built-in sample set and write a report."
    add_folder_option(parser)
    add_run_options(parser)
    parser.add_argument(
        "--dataset",
        type=Dataset,
        default="earth",
        help="earth: satellite image (A) and map (B); earth-labels: satellite image (A) and label "
        "map of the land cover (B); brain: T1 (A) and grey matter (B) in 3D; "
        "brain-super-resolution: T1 at half resolution (A) and T1 (B)",
    )
    parser.start = partial(_start, parser)


def _start(parser: Parser, options: Namespace) -> None:
    preset = PRESETS[options.dataset] if options.preset is None else options.preset
    start_from(parser, preset, values={"data.path": options.dataset})


def run(options: Namespace, console: Console) -> int:
    """Trains and evaluates; ends with the report's path, or with how to get a report."""
    from revgan.evaluation.runs import TITLES, run_evaluation
    from revgan.evaluation.tables import rows_to_rich
    from revgan.training.runs import new_run
    from revgan.training.session import run_training

    config = check_startable(run_config(options))
    folder = new_run(config, Path(options.run) if options.run else _unused(Path("runs") / "demo"))
    outcome = run_training(config, folder, resume=False, console=console)
    if outcome.finished:
        evaluation = run_evaluation(config, folder, console)
        for title, rows in evaluation.titled().items():
            if title != TITLES["round_trip"]:
                console.print(rows_to_rich(rows, title, evaluation.items))
        console.print(f"The report: {visible(folder.report)}", soft_wrap=True)
    else:  # an interrupted training isn't evaluated
        command = f"revgan evaluate {shell_word(folder.root)}"
        console.print(f"and then, for the report: {command}", soft_wrap=True)
    return 128 + outcome.signal if outcome.signal else 0


def _unused(root: Path) -> Path:
    """The folder, or runs/demo-2 and so on if it is taken."""
    if not root.exists():
        return root
    numbered = (root.with_name(f"{root.name}-{number}") for number in count(2))
    return next(path for path in numbered if not path.exists())
