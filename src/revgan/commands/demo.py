"""`revgan demo`: train on a built-in set, translate what was held out, write a report."""

from itertools import count
from pathlib import Path
from typing import Literal

from rich.console import Console

from revgan.commands.train import run_training
from revgan.evaluation.runs import TITLES, run_evaluation
from revgan.evaluation.tables import rows_to_rich
from revgan.training.config import RunConfig
from revgan.training.loop import Outcome
from revgan.training.runs import new_run

Dataset = Literal["earth", "earth-labels", "brain", "brain-super-resolution"]

PRESETS = {
    "earth": "demo",
    "earth-labels": "demo",
    "brain": "demo-brain",
    "brain-super-resolution": "demo-brain",
}
"""The preset that a set is trained with."""


def run_demo(config: RunConfig, root: Path | None, console: Console) -> Outcome:
    """Trains, evaluates, and ends with the path of the report, or with how to get there.

    Args:
        config: the preset of the set, with the user's changes.
        root: the run folder; by default runs/demo, or runs/demo-2 and so on.
        console: for everything that is said.
    """
    run = new_run(config, root or _unused(Path("runs") / "demo"))
    outcome = run_training(config, run, resume=False, console=console)
    if outcome.finished:
        evaluation = run_evaluation(config, run, console)
        for title, rows in evaluation.titled().items():
            if title != TITLES["round_trip"]:
                console.print(rows_to_rich(rows, title, evaluation.items))
        console.print(f"The report: {run.report}", soft_wrap=True)
    else:  # training that goes on evaluates nothing
        console.print(f"and then, for the report: revgan evaluate {run.root}", soft_wrap=True)
    return outcome


def _unused(root: Path) -> Path:
    if not root.exists():
        return root
    numbered = (root.with_name(f"{root.name}-{number}") for number in count(2))
    return next(path for path in numbered if not path.exists())
