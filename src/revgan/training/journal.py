"""Writes what training produces: metrics, scores, pictures, checkpoints, models; and decides when.

Files go into the run folder, scalars and pictures to the trackers, and a line to the terminal. With
several processes, only the main one writes.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from torch import Tensor

from revgan.data.sets import DataSet
from revgan.errors import UserError, notice
from revgan.files import flush, write_text, writing
from revgan.networks.pretrained import save_generator
from revgan.text import shell_word
from revgan.training.batch import Batch
from revgan.training.best import BestModel, forget_best_after
from revgan.training.checkpoint import (
    counted,
    forget_checkpoints_after,
    how_to_go_on,
    not_written,
    save_checkpoint,
)
from revgan.training.config import RunConfig
from revgan.training.display import Clock, Display
from revgan.training.previews import save_pictures
from revgan.training.processes import together
from revgan.training.record import DataRecord
from revgan.training.runs import RunFolder, json_line
from revgan.training.step import Trainer
from revgan.training.trackers import log_configuration
from revgan.training.validation import flat, means, validate

METRICS = "metrics"
"""What checkpoints call the number of lines in metrics.jsonl."""


class Journal:
    """Writes what a run's options ask for after each step.

    Args:
        config: says what to write how often.
        data: what to score and show.
        run: the folder for files.
        trainer: the trainer whose state to save.
        console: for the user.
        record: of the data, to be kept in the folder.
    """

    def __init__(
        self,
        config: RunConfig,
        data: DataSet,
        run: RunFolder,
        trainer: Trainer,
        console: Console,
        record: DataRecord | None = None,
    ) -> None:
        self.config = config
        self.data = data
        self.folder = run
        self.trainer = trainer
        self.accelerator = trainer.accelerator
        self.console = console
        self._record_of_data = record
        self._good: Batch | None = None  # of the last step that wasn't skipped
        self._lines = 0  # of metrics.jsonl

    @contextmanager
    def opened(self, first: int) -> Iterator[None]:
        """Within, `write` can be called; removes a new run's files if nothing to keep came.

        Args:
            first: steps done before; files from later steps are removed.

        Raises:
            UserError: a file can't be written.
        """
        every, accelerator, run = self.config.training, self.accelerator, self.folder
        fresh = accelerator.is_main_process and not run.config.exists()
        try:
            if accelerator.is_main_process:
                self._begin(first)
            repeated = {"tensorboard": {"purge_step": first}} if first else {}
            accelerator.init_trackers(run.root.name, init_kwargs=repeated)
            log_configuration(accelerator, self.config)
            split: Literal["val", "test"] = "test" if self.data.a.val == self.data.a.test else "val"
            self._best = BestModel(run.best, every.best_by, split, self.data.preparation)
            self._first = first
            self._clock = Clock(every.samples * accelerator.num_processes, first)
            total = self.trainer.total_steps
            try:
                with Display(self.console, first, total) as self._display:
                    yield
            finally:
                with writing(run.tensorboard):
                    accelerator.end_training()
        except OSError as error:
            raise not_written(error, Path(error.filename or run.root), run.checkpoints) from error
        finally:
            if fresh and not run.history() and not any(run.checkpoints.glob("step-*")):
                run.clear()

    def _begin(self, first: int) -> None:
        run = self.folder
        run.samples.mkdir(parents=True, exist_ok=True)
        write_text(run.config, self.config.to_yaml())
        if self.data.preparation is not None:
            self.data.preparation.write(run.model)
        if self._record_of_data is not None:
            self._record_of_data.write(run.data)
        run.sweep()
        written = counted(run.checkpoints, first, METRICS).get("lines") if first else None
        self._lines = run.forget_after(first, None if written is None else int(written))
        forget_best_after(run.best, first)
        forget_checkpoints_after(run.checkpoints, first)

    def write(self, step: int, losses: dict[str, Tensor], batch: Batch, *, stopping: bool) -> None:
        """Writes what is due.

        Every process calls this, after every step.

        Args:
            step: steps done.
            losses: the step's, by name, from before the weights changed.
            batch: the step's.
            stopping: whether it was the last step, although more were planned.

        Raises:
            UserError: training diverged; nothing from this step is saved.
            LostProcessError: another process of the training is gone.
            OSError: a file can't be written.
        """
        every, last = self.config.training, step == self.trainer.total_steps
        log = self.logs(step)
        scored = every.validate_every is not None and bool(self.data.a.val)
        score = scored and (last or step % (every.validate_every or 1) == 0)
        save = last or stopping or step % every.checkpoint_every == 0
        show = step % every.sample_every == 0
        values: dict[str, float | None] = {}
        if not self.trainer.skips.now:
            self._good = batch
        if log or score or show or save:
            self._require_folder()
            values = self._checked(step, losses, batch, weights=score or show or save, kept=save)
        self._display.advance(step)
        if not self.accelerator.is_main_process:
            return
        if log:
            self._log(step, values)
        if score:
            self._score(step)
        if show:
            self._show(step)
        if save:
            self._save(step)

    def logs(self, step: int) -> bool:
        """Whether losses are written after so many steps."""
        return step == self.trainer.total_steps or step % self.config.training.log_every == 0

    def _require_folder(self) -> None:
        if self.accelerator.is_main_process and not self.folder.config.exists():
            raise UserError(
                f"the run folder {self.folder.root} was removed or moved while the run was "
                "trained; continue it where it is now, or train again"
            )

    def _checked(
        self, step: int, losses: dict[str, Tensor], batch: Batch, *, weights: bool, kept: bool
    ) -> dict[str, float | None]:
        """The losses as numbers, averaged over processes; None for a skipped step.

        Args:
            step: steps done.
            losses: the step's, from before the weights changed.
            batch: the step's.
            weights: whether the new weights must be finite too, and moments, averages and pools.
            kept: whether the losses after the step must be finite too, since weights may be finite
                but useless.

        Raises:
            UserError: something isn't finite.
        """
        skipped = self.trainer.skips.now
        numbers = {} if skipped else {f"the loss {name}": loss for name, loss in losses.items()}
        if weights:
            numbers["the norm of weights and moments"] = self.trainer.norm()
        if kept and self._good is not None:
            after = self.trainer.losses(self._good)
            numbers |= {f"the loss {name} after the step": loss for name, loss in after.items()}
        if numbers:
            with together():
                averages = self.accelerator.reduce(torch.stack(list(numbers.values())), "mean")
            values = averages.tolist()
            for what, value in zip(numbers, values, strict=True):
                if not math.isfinite(value):
                    raise self._diverged(step, f"{what} is {value}", batch)
        return dict.fromkeys(losses) if skipped else dict(zip(losses, values, strict=False))

    def _diverged(self, step: int, what: str, batch: Batch) -> UserError:
        if not all(images.isfinite().all() for images in (batch.a, batch.b)):
            return UserError(
                f"the images of step {step} contain infinite values or NaN; repair their files, or "
                f"skip such steps with --training.on_nan 'skip 10'; {self.remedy}"
            )
        return UserError(
            f"{what} at step {step}; lower --optimizer.lr, or use --runtime.precision float32; "
            f"{self.remedy}"
        )

    @property
    def remedy(self) -> str:
        """How to continue the run after an error."""
        return how_to_go_on(self.folder.checkpoints)

    def rescue(self, step: int) -> str:
        """Saves the state after `step` steps, if complete, when another process is lost.

        Returns how to continue the run.
        """
        whole = self.trainer.between_steps and step > self._first
        if self.accelerator.is_main_process and whole and bool(self.trainer.norm().isfinite()):
            self._save(step)
        if self.accelerator.is_main_process:
            return self.remedy
        # The main process, if it is the lost one, wrote nothing now; else it may be about to.
        run = self.folder.checkpoints.parent
        return (
            f"revgan train --resume {shell_word(run)} continues from the last checkpoint, if there "
            "is one"
        )

    def _log(self, step: int, losses: dict[str, float | None]) -> None:
        for sentence in self.trainer.constancy.told(step):
            notice(sentence)
        speed, skips = self._clock.images_per_second(step), self.trainer.skips
        self._display.show(step, losses, speed, skips.total)
        learning_rate = self.trainer.learning_rate(step - 1)
        told: dict[str, float] = {"skipped": skips.total} if skips.limit else {}
        told |= {"lr": learning_rate, "images_per_s": round(speed, 3)}
        scalars = {f"losses/{name}": value for name, value in losses.items() if value is not None}
        self._record({"step": step, **losses, **told}, scalars | told)

    def _score(self, step: int) -> None:
        model = self.trainer.model
        scores = validate(model, self.data, self.config, self.accelerator)
        # By round trips, a generator that leaves its input unchanged would be the best; and pairs
        # that are a guess don't say which one is.
        known = self.data.val_aligned and not self.data.guessed
        with writing(self.folder.best):
            best = known and self._best.offer(model, step, means(scores))
        self._display.show_scores(step, scores, best=best)
        values = flat(scores)
        self._record(
            {"step": step, **values},
            {f"validation/{name}": value for name, value in values.items()},
        )

    def _record(self, line: dict[str, Any], scalars: dict[str, float]) -> None:
        """Adds a line to metrics.jsonl, and sends its scalars to the trackers."""
        metrics = self.folder.metrics
        with writing(metrics), metrics.open("a", encoding="utf-8") as file:
            file.write(json_line(line))
        self._lines += 1
        with writing(self.folder.tensorboard):
            self.accelerator.log(scalars, step=line["step"])

    def _show(self, step: int) -> None:
        model, data, folder = self.trainer.model, self.data, self.folder
        save_pictures(model, data, self.config.data, folder, self.accelerator, step)

    def _save(self, step: int) -> None:
        metrics = self.folder.metrics
        if self._lines and metrics.exists():
            with writing(metrics):
                flush(metrics)  # so that no power cut takes lines that the checkpoint counts
        save_checkpoint(
            self.folder.checkpoints,
            step,
            self.trainer.state(),
            {**self.trainer.counts(), METRICS: {"lines": self._lines}},
            self.config.training.keep_checkpoints,
        )
        self.save_model()

    def save_again(self, step: int) -> None:
        """Writes the model of a run that has done all its steps.

        It may have been killed while it wrote that, or have found no space on the disk.

        Args:
            step: steps done.
        """
        if self.accelerator.is_main_process:
            self.folder.sweep()
            forget_checkpoints_after(self.folder.checkpoints, step)
        self.save_model()

    def save_model(self) -> None:
        """Writes the current generator, from the main process."""
        if self.accelerator.is_main_process:
            with writing(self.folder.model):
                save_generator(self.trainer.model, self.folder.model)
