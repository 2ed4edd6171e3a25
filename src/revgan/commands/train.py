"""`revgan train`: train a model on a folder of images, or go on with a run."""

import os
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from revgan.data.cache_limit import LIMIT, cache_limit
from revgan.data.image_sources import IMAGES
from revgan.data.preparation import Preparation
from revgan.data.sets import DataSet, open_data_set
from revgan.data.volume_cache import VOLUMES
from revgan.errors import UserError
from revgan.memory import format_bytes
from revgan.training.best import Best
from revgan.training.config import RunConfig
from revgan.training.loop import Outcome, train
from revgan.training.planning import free_budget
from revgan.training.runs import RunFolder
from revgan.training.trackers import require_trackers


def new_run(config: RunConfig, root: Path | None) -> RunFolder:
    """The folder of a new run, by default named after data and objective.

    Raises:
        UserError: the folder holds a run, or something else, already.
    """
    root = root or Path("runs") / f"{Path(config.data.path).name}-{config.objective}"
    if RunFolder(root).config.exists():
        raise UserError(
            f"{root} holds a run already; go on with it by --resume {root}, or name another "
            "folder with --run"
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"{root} is in the way; name a new or empty folder with --run")
    for parent in root.parents:
        if parent.is_file():
            raise UserError(f"{parent} is a file; name a folder elsewhere with --run")
    return RunFolder(root)


def run_training(config: RunConfig, run: RunFolder, *, resume: bool, console: Console) -> Outcome:
    """Checks the data, trains, and says what came of it.

    Raises:
        UserError: something the user can mend is wrong with data, device, trackers, disk or
            checkpoint.
    """
    require_trackers(config.runtime)  # images may take minutes to check
    data = checked_data(config, console, run.model if resume else None)
    console.print(_description(config, data), soft_wrap=True)
    if told := _kept(config, data):
        console.print(told, soft_wrap=True)
    outcome = train(config, data, run, resume=resume, console=console)
    if outcome.finished:
        best = Best.read(run.best)
        kept = f"; the best by {best.by}, of step {best.step}, is {run.best}" if best else ""
        console.print(
            f"Trained {outcome.steps} steps; the model is {run.model}{kept}", soft_wrap=True
        )
    else:
        console.print(
            f"Stopped at step {outcome.steps} of {outcome.total}, with a checkpoint; go on with: "
            f"revgan train --resume {run.root}",
            soft_wrap=True,
        )
    return outcome


def checked_data(config: RunConfig, console: Console, model: Path | None = None) -> DataSet:
    """Opens the data set of a configuration behind a progress bar.

    Args:
        config: of the run.
        console: for the progress bar.
        model: the folder of a model whose mapping of intensities is used, if it has one; without
            it, one is fitted to the training volumes.

    Raises:
        UserError: what is wrong with which file.
    """
    preparation = Preparation.read(model) if model is not None else None
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
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
            # Each process of a machine keeps images of its own.
            memory=free_budget(torch.device("cpu")) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)),
        )


def _kept(config: RunConfig, data: DataSet) -> str | None:
    """What decoded images, or volumes, take of memory or disk."""
    if config.data.cache == "memory":
        return f"Decoded images take {format_bytes(data.kept)} of memory"
    if config.data.cache == "disk":
        what, cache = "Decoded images", IMAGES
    elif config.data.spatial_dims == 3:
        what, cache = "Prepared volumes", VOLUMES
    else:
        return None
    return (
        f"{what}, of this and other runs, take {format_bytes(cache.size())} in {cache.folder}, of "
        f"{format_bytes(cache_limit())} that they may ({LIMIT}, in GB); when no training runs, "
        "they may be removed"
    )


def _description(config: RunConfig, data: DataSet) -> str:
    generator = config.generator
    continuous = " of continuous depth" if generator.core == "ode" else ""
    name = f"{config.objective} {config.model_name}{continuous}"
    what = "volumes" if config.data.spatial_dims == 3 else "images"
    own = data.a.val != data.a.test
    validation = f", {len(data.a.val)} and {len(data.b.val)} for validation" if own else ""
    return (
        f"{name}, width {generator.width}, depth {generator.depth}, memory {generator.memory}; "
        f"{len(data.a.train)} {what} of A, {len(data.b.train)} of B, {len(data.a.test)} and "
        f"{len(data.b.test)} held out for the test{validation}"
    )
