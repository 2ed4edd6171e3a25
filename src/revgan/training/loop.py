"""The training loop: from a configuration and a data set to a trained model in a run folder."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from torch.utils.data import DataLoader

from revgan.data.sampling import Steps, TrainingSamples
from revgan.data.sets import DataSet
from revgan.training.choosing import decide_memory
from revgan.training.config import RunConfig
from revgan.training.interrupt import StopRequest, leave_signals_to_parent
from revgan.training.journal import Journal
from revgan.training.objectives import Batch
from revgan.training.runs import RunFolder
from revgan.training.setup import load_resumed, make_accelerator, make_trainer
from revgan.training.step import Trainer
from revgan.training.trackers import quiet_writers


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
    config: RunConfig, data: DataSet, run: RunFolder, *, resume: bool, console: Console
) -> Outcome:
    """Trains, or goes on from the latest checkpoint, until done or asked to stop.

    Either way the run folder ends with a checkpoint and the model of the last step.

    Raises:
        UserError: the device is missing, the disk is full, a loss is not finite, or the checkpoint
            belongs to other networks.
        KeyboardInterrupt: a signal came before the first step, which leaves no folder of a new run,
            or a second Ctrl-C came.
    """
    with StopRequest() as stop, quiet_writers():
        accelerator = make_accelerator(config.runtime, run)
        samples = TrainingSamples(
            data, config.data, paired=config.paired, seed=config.training.seed
        )
        total = total_steps(config, samples.epoch_length, accelerator.num_processes)
        planned = decide_memory(config, data.channels, accelerator, console)
        trainer = make_trainer(planned, config.data.spatial_dims, data.channels, accelerator, total)
        step = load_resumed(trainer, config, run) if resume else 0
        journal = Journal(config, data, run, trainer, console)
        if step >= total:
            console.print(f"All {step} steps are done; a larger --training.steps goes on")
            journal.save_model()  # in case no space was left for it
            return Outcome(step, total, None)

        with journal.opened(step):
            if stop.signal is not None:
                raise KeyboardInterrupt  # before the first step, there is nothing to keep
            for batch in _batches(samples, config, trainer, step):
                losses = trainer.step(batch, step)
                step += 1
                stopping = stop.agreed(accelerator)
                journal.write(step, losses, stopping=stopping)
                if stopping:
                    break
        return Outcome(step, total, stop.signal)


def total_steps(config: RunConfig, epoch_length: int, processes: int) -> int:
    """Steps of the whole training."""
    if config.training.steps is not None:
        return config.training.steps
    images = config.training.epochs * epoch_length
    return math.ceil(images / (config.training.batch_size * processes))


def _batches(
    samples: TrainingSamples, config: RunConfig, trainer: Trainer, first: int
) -> Iterator[Batch]:
    """This process's share of the batches from step `first` to the last, on its device."""
    accelerator, workers = trainer.accelerator, config.runtime.workers
    device = accelerator.device
    if workers is None:
        workers = 0 if device.type == "cpu" else min(4, os.cpu_count() or 1)
    steps = Steps(
        first,
        trainer.total_steps,
        config.training.batch_size,
        accelerator.process_index,
        accelerator.num_processes,
    )
    loader = DataLoader(
        samples,
        batch_sampler=steps,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=leave_signals_to_parent,
    )
    for a, b in loader:
        yield Batch(a.to(device, non_blocking=True), b.to(device, non_blocking=True))
