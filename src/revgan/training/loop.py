"""The training loop: from a configuration and a data set to a trained model in a run folder."""

import json
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader

from revgan.data.sampling import Steps, TrainingSamples
from revgan.data.sets import DataSet
from revgan.errors import UserError
from revgan.networks.pretrained import save_generator, write_text
from revgan.training.checkpoint import out_of_space, save_checkpoint, writing
from revgan.training.config import RunConfig
from revgan.training.display import Clock, Display, quiet_writers
from revgan.training.interrupt import StopRequest, leave_signals_to_parent
from revgan.training.objectives import Batch
from revgan.training.pictures import save_pictures
from revgan.training.runs import RunFolder
from revgan.training.setup import build_trainer, load_resumed, make_accelerator, total_steps
from revgan.training.step import Trainer, decay


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
        UserError: the device is missing, the disk is full, or the checkpoint does not fit.
        KeyboardInterrupt: a signal came before the first step; a new run leaves no folder then.
    """
    with StopRequest() as stop, quiet_writers():
        return _train(config, data, run, stop, resume=resume, console=console)


def _train(
    config: RunConfig,
    data: DataSet,
    run: RunFolder,
    stop: StopRequest,
    *,
    resume: bool,
    console: Console,
) -> Outcome:
    accelerator = make_accelerator(config.runtime, run)
    samples = TrainingSamples(data, config.data, paired=config.paired, seed=config.training.seed)
    total = total_steps(config, samples.epoch_length, accelerator.num_processes)
    trainer = build_trainer(config, data, accelerator, total)
    first = load_resumed(trainer, run) if resume else 0
    fresh = accelerator.is_main_process and not run.root.exists()
    try:
        if first >= total:
            console.print(f"All {first} steps are done; a larger --training.steps goes on")
            _save_model(trainer, run)  # in case no space was left for it
            return Outcome(first, total, None)
        if accelerator.is_main_process:
            run.samples.mkdir(parents=True, exist_ok=True)
            write_text(run.config, config.to_yaml())
            run.forget_after(first)
        accelerator.init_trackers(
            run.root.name, init_kwargs={"tensorboard": {"purge_step": first}} if first else {}
        )
        try:
            loop = _Loop(config, data, run, accelerator, trainer, samples, total, console)
            return loop.run(first, stop)
        finally:
            with writing(run.tensorboard):
                accelerator.end_training()
    except OSError as error:
        raise out_of_space(error, Path(error.filename or run.root), run.checkpoints) from error
    finally:
        if fresh and not run.history() and not any(run.checkpoints.glob("step-*")):
            shutil.rmtree(run.root, ignore_errors=True)  # nothing to keep: it failed at the start


class _Loop:
    """The state of a running training, and what it does at which step."""

    def __init__(
        self,
        config: RunConfig,
        data: DataSet,
        run: RunFolder,
        accelerator: Accelerator,
        trainer: Trainer,
        samples: TrainingSamples,
        total: int,
        console: Console,
    ) -> None:
        self.config = config.training
        self.data_config = config.data
        self.data = data
        self.folder = run
        self.accelerator = accelerator
        self.trainer = trainer
        self.samples = samples
        self.workers = config.runtime.workers
        self.total = total
        self.console = console

    def run(self, first: int, stop: StopRequest) -> Outcome:
        step = first
        device = self.accelerator.device
        display = Display(self.console, first, self.total, self.config.sample_every)
        if stop.signal is not None:
            raise KeyboardInterrupt  # before the first step, there is nothing to keep
        with display:
            clock = Clock(self.config.batch_size * self.accelerator.num_processes)
            for a, b in self._loader(first):
                batch = Batch(a.to(device, non_blocking=True), b.to(device, non_blocking=True))
                losses = self.trainer.step(batch, step)
                step += 1
                display.advance(step)
                if step % self.config.log_every == 0 or step == self.total:
                    self._log(step, losses, clock, display)
                if step % self.config.sample_every == 0:
                    self._show(step)
                if self._agreed(stop.signal is not None):
                    break
                if step % self.config.checkpoint_every == 0:
                    self._save(step)
            # A signal that comes now must not cut the last checkpoint short.
            self._save(step)
        return Outcome(step, self.total, stop.signal)

    def _loader(self, first: int) -> DataLoader[tuple[Tensor, Tensor]]:
        accelerator = self.accelerator
        workers = self.workers
        if workers is None:
            workers = 0 if accelerator.device.type == "cpu" else min(4, os.cpu_count() or 1)
        steps = Steps(
            first,
            self.total,
            self.config.batch_size,
            accelerator.process_index,
            accelerator.num_processes,
        )
        return DataLoader(
            self.samples,
            batch_sampler=steps,
            num_workers=workers,
            pin_memory=accelerator.device.type == "cuda",
            worker_init_fn=leave_signals_to_parent,
        )

    def _agreed(self, stop: bool) -> bool:
        """Whether any process was asked to stop: then all do, after the same step."""
        if self.accelerator.num_processes == 1:
            return stop
        flag = torch.tensor(float(stop), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag) > 0)

    def _log(self, step: int, losses: dict[str, Tensor], clock: Clock, display: Display) -> None:
        values = {name: float(loss) for name, loss in losses.items()}
        if not all(math.isfinite(value) for value in values.values()):
            bad = next(name for name, value in values.items() if not math.isfinite(value))
            raise UserError(
                f"the loss {bad} is {values[bad]} at step {step}; lower --optimizer.lr or use "
                "--runtime.precision float32, and resume from the last checkpoint"
            )
        speed = clock.images_per_second(step)
        display.show(step, values, speed)
        if not self.accelerator.is_main_process:
            return
        learning_rate = self.trainer.config.lr * decay(step - 1, self.total)
        line: dict[str, Any] = {"step": step, **values}
        line |= {"lr": learning_rate, "images_per_s": round(speed, 3)}
        metrics = self.folder.metrics
        with writing(metrics), metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        scalars = {f"losses/{name}": value for name, value in values.items()}
        scalars |= {"lr": learning_rate, "images_per_s": speed}
        with writing(self.folder.tensorboard):
            self.accelerator.log(scalars, step=step)

    def _show(self, step: int) -> None:
        if self.accelerator.is_main_process:
            generator = self.trainer.players.generator
            save_pictures(
                generator, self.data, self.data_config, self.folder, self.accelerator, step
            )

    def _save(self, step: int) -> None:
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        save_checkpoint(
            self.folder.checkpoints,
            step,
            self.trainer.state(),
            scaler.state_dict() if scaler is not None else {},
            self.config.keep_checkpoints,
        )
        _save_model(self.trainer, self.folder)


def _save_model(trainer: Trainer, run: RunFolder) -> None:
    if trainer.accelerator.is_main_process:
        with writing(run.model):
            save_generator(trainer.players.generator, run.model)
