"""The training loop: from a configuration and a data set to a trained model in a run folder."""

import math
from contextlib import ExitStack
from dataclasses import dataclass

from rich.console import Console

from revgan.data.sampling import TrainingSamples
from revgan.data.sets import DataSet
from revgan.errors import Stopped, UserError
from revgan.load import heed
from revgan.training.batches import Batches
from revgan.training.choosing import decide_memory
from revgan.training.config import RunConfig
from revgan.training.interrupt import StopRequest
from revgan.training.journal import Journal
from revgan.training.lock import trained_alone
from revgan.training.processes import LostProcessError, first_told
from revgan.training.record import DataRecord
from revgan.training.runs import RunFolder
from revgan.training.setup import load_resumed, make_accelerator, make_trainer
from revgan.training.trackers import quiet_writers
from revgan.training.transfer import start_from_model


@dataclass(frozen=True)
class Outcome:
    """How training ended.

    Attributes:
        steps: steps done.
        total: steps planned.
        signal: the signal that stopped it early, or None.
    """

    steps: int
    total: int
    signal: int | None

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.steps >= self.total


def train(
    config: RunConfig,
    data: DataSet,
    run: RunFolder,
    *,
    resume: bool,
    console: Console,
    record: DataRecord | None = None,
) -> Outcome:
    """Trains, or continues from the latest checkpoint, until done or asked to stop.

    In both cases, the run folder gets a checkpoint and the model of the last step; also after an
    error in the data or in another process.

    Args:
        config: the run's.
        data: its data set.
        run: its folder.
        resume: whether to continue it.
        console: for the user.
        record: of the data, to be kept in the folder.

    Raises:
        UserError: the device is missing, the disk is full, training diverged, an image or another
            process is lost, another training is in the folder, or the checkpoint belongs to other
            networks.
        Stopped: a signal came before the first step, in which case a new run leaves no folder; or a
            second Ctrl-C came.
    """
    with StopRequest(config.training.max_hours) as stop, quiet_writers(), ExitStack() as alone:
        accelerator = make_accelerator(config.runtime, run)
        if accelerator.is_main_process:
            alone.enter_context(trained_alone(run.root))
            if not resume:
                run.require_none()  # another process may have made one meanwhile
        samples = TrainingSamples(
            data, config.data, paired=config.paired, seed=config.training.seed
        )
        total = total_steps(config, samples.epoch_length, accelerator.num_processes)
        config = decide_memory(config, data.channels, accelerator, console)
        trainer = make_trainer(config, config.data.spatial_dims, data.channels, accelerator, total)
        step = load_resumed(trainer, config, run) if resume else 0
        if not resume and config.training.pretrained is not None:
            start_from_model(trainer, config.training.pretrained, console)
        journal = Journal(config, data, run, trainer, console, record)
        if step >= total:
            console.print(f"All {step} steps are done; raise --training.steps to continue")
            journal.save_again(step)
            return Outcome(step, total, None)

        first = step
        with journal.opened(first), Batches(samples, config, trainer, first) as batches:
            batch, failure = batches.next(), batches.failure
            stop.begin()
            try:
                stopping = stop.agreed(accelerator, failed=failure is not None)
                while batch is not None and not stopping:
                    heed()
                    trainer.constancy.asked = journal.logs(step + 1)
                    losses = trainer.step(batch, step)
                    step += 1
                    done, batch = batch, batches.next()
                    failure = batches.failure or trainer.skips.excess
                    stopping = stop.agreed(accelerator, failed=failure is not None or stop.late)
                    journal.write(step, losses, done, stopping=stopping)
                if stopping:
                    failure = first_told(failure)
            except LostProcessError as error:
                raise UserError(f"{error}; {journal.rescue(step)}") from error
            if failure is not None:
                raise UserError(f"{failure}; {journal.remedy}")
            if stop.signal is not None and step == first:
                raise Stopped(stop.signal)
        return Outcome(step, total, stop.signal)


def total_steps(config: RunConfig, epoch_length: int, processes: int) -> int:
    """The number of steps of the whole training."""
    if config.training.steps is not None:
        return config.training.steps
    images = config.training.epochs * epoch_length
    return math.ceil(images / (config.training.samples * processes))
