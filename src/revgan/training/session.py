"""Runs one training, from its configuration to its model, and reports on it."""

from rich.console import Console

from revgan.data import cache
from revgan.data.sets import DataSet
from revgan.environment import usable_cores
from revgan.errors import visible
from revgan.memory import format_bytes
from revgan.networks.config import PER_AXIS
from revgan.text import shell_word
from revgan.training.best import Best
from revgan.training.config import RunConfig
from revgan.training.data import checked_data
from revgan.training.loop import Outcome, train
from revgan.training.record import DataRecord
from revgan.training.runs import RunFolder
from revgan.training.trackers import require_trackers


def run_training(
    config: RunConfig,
    run: RunFolder,
    *,
    resume: bool,
    console: Console,
    accept_new_data: bool = False,
) -> Outcome:
    """Checks the data, trains, and reports the outcome.

    Args:
        config: the run's.
        run: its folder.
        resume: whether to continue it.
        console: for the user.
        accept_new_data: whether a run may continue on other data than it began with.

    Raises:
        UserError: something that the user can fix is wrong with data, device, trackers, disk or
            checkpoint.
    """
    require_trackers(config.runtime)  # before the images, whose check may take minutes
    data = checked_data(config, console, run.model if resume else None)
    record = DataRecord.of(data, console)
    before = DataRecord.read(run.data) if resume and not accept_new_data else None
    if before is not None:
        before.require_same(record, run.root)
    console.print(_description(config, data), soft_wrap=True)
    for told in _fitted(config), _kept(config, data), _crowded(config):
        if told:
            console.print(told, soft_wrap=True)
    outcome = train(config, data, run, resume=resume, console=console, record=record)
    if outcome.finished:
        best = Best.read(run.best)
        where = visible(run.best)
        kept = f"; the best by {best.by}, of step {best.step}, is {where}" if best else ""
        console.print(
            f"Trained {outcome.steps} steps; the model is {visible(run.model)}{kept}",
            soft_wrap=True,
        )
    else:
        hours = config.training.max_hours
        after = "" if outcome.signal or hours is None else f" after {hours:g} hours"
        console.print(
            f"Stopped{after} at step {outcome.steps} of {outcome.total}, with a checkpoint; "
            f"continue with: revgan train --resume {shell_word(run.root)}",
            soft_wrap=True,
        )
    return outcome


def _kept(config: RunConfig, data: DataSet) -> str | None:
    """How much memory or disk space prepared scans take."""
    what = f"Prepared {data.kind.many}"
    if config.data.kept == "memory":
        return f"{what} take {format_bytes(data.kept)} of memory"
    if config.data.kept == "none":
        return None
    return (
        f"{what}, of this and other runs, take {format_bytes(cache.size())} in {cache.folder()}, "
        f"with a limit of {format_bytes(cache.limit())} ({cache.LIMIT}, in GB); they can be "
        "deleted at any time"
    )


def _crowded(config: RunConfig) -> str | None:
    """That workers are more than the cores."""
    workers, cores = config.runtime.workers or 0, len(usable_cores())
    if workers <= cores:
        return None
    return (
        f"runtime.workers {workers} is more than the cores that this process may use, {cores}; "
        "workers and training take turns on them, so fewer may be faster"
    )


def _fitted(config: RunConfig) -> str | None:
    """Which options of the networks differ by axis, as for thin crops."""
    values = {
        f"{name}.{field}": getattr(getattr(config, name), field)
        for name, names in PER_AXIS.items()
        for field in names
    }
    uneven = [f"{name} {list(value)}" for name, value in values.items() if isinstance(value, tuple)]
    if not uneven:
        return None
    return f"For crops of {config.data.crop_text}, the networks have {' and '.join(uneven)}"


def _description(config: RunConfig, data: DataSet) -> str:
    generator = config.generator
    continuous = " of continuous depth" if generator.core == "ode" else ""
    name = f"{config.objective} {config.model_name}{continuous}"
    own = data.a.val != data.a.test
    validation = f", {len(data.a.val)} and {len(data.b.val)} for validation" if own else ""
    return (
        f"{name}, {generator.size}, memory {generator.use_of_memory}; "
        f"{len(data.a.train)} {data.kind.many} of A, {len(data.b.train)} of B, "
        f"{len(data.a.test)} and {len(data.b.test)} held out for the test{validation}"
    )
