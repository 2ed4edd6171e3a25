"""Opens the data set of a run, with a progress bar."""

from pathlib import Path

import torch
from rich.console import Console

from revgan.data.preparation import Preparation
from revgan.data.sets import DataSet, open_data_set
from revgan.environment import counted
from revgan.memory import free_budget
from revgan.progress import progress_bar
from revgan.training.config import RunConfig


def checked_data(config: RunConfig, console: Console, model: Path | None = None) -> DataSet:
    """Opens the data set of a configuration, with a progress bar.

    Args:
        config: of the run.
        console: for the progress bar.
        model: the folder of a model whose intensity mapping to use, if it has one; otherwise it is
            fitted to the training volumes.

    Raises:
        UserError: a file can't be used; the message says which and why.
    """
    preparation = Preparation.read(model) if model is not None else None
    with progress_bar(console) as bar:
        tasks = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        return open_data_set(
            config.data,
            paired=config.paired,
            progress=show,
            preparation=preparation,
            # Each process on a machine keeps its own images.
            memory=free_budget(torch.device("cpu")) // counted("LOCAL_WORLD_SIZE", 1, 1),
        )
