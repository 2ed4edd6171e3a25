"""The training loop: from a configuration and a data set to a trained model in a run folder."""

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader

from revgan.data.sampling import Steps, TrainingSamples
from revgan.data.sets import DataSet
from revgan.errors import UserError
from revgan.files import write_text
from revgan.networks.pretrained import save_generator
from revgan.training.best import BestModel, forget_best_after
from revgan.training.checkpoint import not_written, save_checkpoint, writing
from revgan.training.config import RunConfig
from revgan.training.display import Clock, Display, quiet_writers
from revgan.training.interrupt import StopRequest, leave_signals_to_parent
from revgan.training.objectives import Batch
from revgan.training.planning import decide_memory
from revgan.training.previews import save_pictures
from revgan.training.runs import RunFolder
from revgan.training.setup import build_trainer, load_resumed, make_accelerator, total_steps
from revgan.training.step import Trainer
from revgan.training.trackers import log_configuration
from revgan.training.validation import flat, means, validate


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
    planned = decide_memory(config, data.channels, accelerator, console)
    trainer = build_trainer(planned, data, accelerator, total)
    first = load_resumed(trainer, config, run) if resume else 0
    if first >= total:
        console.print(f"All {first} steps are done; a larger --training.steps goes on")
        _save_model(trainer, run)  # in case no space was left for it
        return Outcome(first, total, None)
    with _outputs(config, data, run, accelerator, first):
        return _Loop(config, data, run, trainer, samples, console).run(first, stop)


@contextmanager
def _outputs(
    config: RunConfig, data: DataSet, run: RunFolder, accelerator: Accelerator, first: int
) -> Iterator[None]:
    """Opens what a run writes, and closes it; removes a new folder that got nothing to keep."""
    fresh = accelerator.is_main_process and not run.root.exists()
    try:
        if accelerator.is_main_process:
            run.samples.mkdir(parents=True, exist_ok=True)
            write_text(run.config, config.to_yaml())
            if data.preparation is not None:
                data.preparation.write(run.model)
            run.forget_after(first)
            forget_best_after(run.best, first)
        repeated = {"tensorboard": {"purge_step": first}} if first else {}
        accelerator.init_trackers(run.root.name, init_kwargs=repeated)
        log_configuration(accelerator, config)
        try:
            yield
        finally:
            with writing(run.tensorboard):
                accelerator.end_training()
    except OSError as error:
        raise not_written(error, Path(error.filename or run.root), run.checkpoints) from error
    finally:
        if fresh and not run.history() and not any(run.checkpoints.glob("step-*")):
            shutil.rmtree(run.root, ignore_errors=True)


class _Loop:
    """The steps of a training, and what is written after which of them."""

    def __init__(
        self,
        config: RunConfig,
        data: DataSet,
        run: RunFolder,
        trainer: Trainer,
        samples: TrainingSamples,
        console: Console,
    ) -> None:
        self.config = config
        self.data = data
        self.folder = run
        self.trainer = trainer
        self.accelerator = trainer.accelerator
        self.samples = samples
        self.console = console
        split: Literal["val", "test"] = "test" if data.a.val == data.a.test else "val"
        by = config.training.best_by
        self.best = BestModel(run.best, by, split, data.preparation)

    def run(self, first: int, stop: StopRequest) -> Outcome:
        every, total, step = self.config.training, self.trainer.total_steps, first
        device = self.accelerator.device
        clock = Clock(every.batch_size * self.accelerator.num_processes, first)
        if stop.signal is not None:
            raise KeyboardInterrupt  # before the first step, there is nothing to keep
        with Display(self.console, first, total, every.sample_every) as display:
            for a, b in self._loader(first):
                batch = Batch(a.to(device, non_blocking=True), b.to(device, non_blocking=True))
                losses = self.trainer.step(batch, step)
                step += 1
                display.advance(step)
                stopping = self._agreed(stop.signal is not None)
                if step % every.log_every == 0 or step == total:
                    self._log(step, self._values(losses, step), clock, display)
                if self._scores_due(step):
                    self._values(losses, step)
                    self._validate(step, display)
                if step % every.sample_every == 0:
                    self._show(step)
                if stopping or step == total or step % every.checkpoint_every == 0:
                    self._values(losses, step)
                    self._save(step)
                if stopping:
                    break
        return Outcome(step, total, stop.signal)

    def _loader(self, first: int) -> DataLoader[tuple[Tensor, Tensor]]:
        accelerator, workers = self.accelerator, self.config.runtime.workers
        if workers is None:
            workers = 0 if accelerator.device.type == "cpu" else min(4, os.cpu_count() or 1)
        steps = Steps(
            first,
            self.trainer.total_steps,
            self.config.training.batch_size,
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

    def _values(self, losses: dict[str, Tensor], step: int) -> dict[str, float]:
        """The losses as numbers, averaged over processes.

        Raises:
            UserError: one is infinite or no number; nothing of this step should be kept.
        """
        means = self.accelerator.reduce(torch.stack(list(losses.values())), reduction="mean")
        values = dict(zip(losses, means.tolist(), strict=True))
        for name, value in values.items():
            if not math.isfinite(value):
                raise UserError(
                    f"the loss {name} is {value} at step {step}; lower --optimizer.lr or use "
                    "--runtime.precision float32, and resume from the last checkpoint"
                )
        return values

    def _log(self, step: int, values: dict[str, float], clock: Clock, display: Display) -> None:
        speed = clock.images_per_second(step)
        display.show(step, values, speed)
        if not self.accelerator.is_main_process:
            return
        learning_rate = self.trainer.learning_rate(step - 1)
        line: dict[str, Any] = {"step": step, **values}
        line |= {"lr": learning_rate, "images_per_s": round(speed, 3)}
        scalars = {f"losses/{name}": value for name, value in values.items()}
        self._record(line, scalars | {"lr": learning_rate, "images_per_s": speed})

    def _scores_due(self, step: int) -> bool:
        every = self.config.training.validate_every
        if every is None or not self.data.a.val:
            return False
        return step % every == 0 or step == self.trainer.total_steps

    def _validate(self, step: int, display: Display) -> None:
        if not self.accelerator.is_main_process:
            return
        model = self.trainer.model
        scores = validate(model, self.data, self.config, self.accelerator)
        # By round trips, a generator that leaves its input alone would be the best.
        with writing(self.folder.best):
            best = self.data.val_aligned and self.best.offer(model, step, means(scores))
        display.show_scores(step, scores, best=best)
        values = flat(scores)
        scalars = {f"validation/{name}": value for name, value in values.items()}
        self._record({"step": step, **values}, scalars)

    def _record(self, line: dict[str, Any], scalars: dict[str, float]) -> None:
        """Adds a line to metrics.jsonl, and tells the trackers its scalars."""
        metrics = self.folder.metrics
        with writing(metrics), metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        with writing(self.folder.tensorboard):
            self.accelerator.log(scalars, step=line["step"])

    def _show(self, step: int) -> None:
        if self.accelerator.is_main_process:
            save_pictures(
                self.trainer.model, self.data, self.config.data, self.folder, self.accelerator, step
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
            self.config.training.keep_checkpoints,
        )
        _save_model(self.trainer, self.folder)


def _save_model(trainer: Trainer, run: RunFolder) -> None:
    if trainer.accelerator.is_main_process:
        with writing(run.model):
            save_generator(trainer.model, run.model)
