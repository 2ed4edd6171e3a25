"""The training loop: from a configuration and a data set to a trained model in a run folder."""

import json
import math
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import ProjectConfiguration
from PIL import Image
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader

from revgan.data.sampling import Steps, TrainingSamples, load_image
from revgan.data.sets import DataSet
from revgan.devices import require_device
from revgan.errors import UserError
from revgan.evaluation.figures import image_grid
from revgan.inference.translator import translate_padded
from revgan.networks import Direction, PatchDiscriminator, RevGenerator
from revgan.networks.pretrained import save_generator, write_text
from revgan.training.checkpoint import load_checkpoint, out_of_space, save_checkpoint, writing
from revgan.training.config import RunConfig, RuntimeConfig
from revgan.training.display import Display, quiet_writers
from revgan.training.interrupt import StopRequest, leave_signals_to_parent
from revgan.training.objectives import Batch, Objective, Players, build_objective
from revgan.training.runs import RunFolder
from revgan.training.step import Trainer, decay

_T = TypeVar("_T")

SAMPLE_COUNT = 4
"""Test images in each sample picture."""


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
    first = _resume(trainer, run) if resume else 0
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


def make_accelerator(runtime: RuntimeConfig, run: RunFolder | None = None) -> Accelerator:
    """Device, precision, processes and trackers.

    Raises:
        UserError: the device asked for is not there.
    """
    require_device(runtime.device, "runtime.device")
    cpu = runtime.device == "cpu"
    cuda = not cpu and torch.cuda.is_available()
    precision = {"float32": "no"}.get(runtime.precision, runtime.precision)
    if precision == "auto":
        precision = "bf16" if cuda and torch.cuda.is_bf16_supported() else "no"
    if precision == "fp16" and not cuda:
        raise UserError(
            "runtime.precision fp16 needs a CUDA device; use float32 or bf16 on this one"
        )
    AcceleratorState._reset_state()  # it would refuse a precision other than a former call's
    if run is None:
        return Accelerator(cpu=cpu, mixed_precision=precision)
    return Accelerator(
        cpu=cpu,
        mixed_precision=precision,
        log_with="tensorboard",
        project_config=ProjectConfiguration(
            project_dir=str(run.root), logging_dir=str(run.tensorboard)
        ),
    )


def total_steps(config: RunConfig, epoch_length: int, processes: int) -> int:
    """Steps of the whole training."""
    if config.training.steps is not None:
        return config.training.steps
    images = config.training.epochs * epoch_length
    return math.ceil(images / (config.training.batch_size * processes))


def build_trainer(
    config: RunConfig, data: DataSet, accelerator: Accelerator, total: int
) -> Trainer:
    """Fresh networks for the channels of a data set, on the device, with their optimizers."""
    torch.manual_seed(config.training.seed)
    objective = build_objective(config.objective, config.losses)
    channels_a, channels_b = data.a.format.channels, data.b.format.channels
    if config.objective == "unpaired" and channels_a != channels_b:
        _refuse_identity_loss(config, channels_a, channels_b)
    players = Players(
        generator=config.generator.build(2, channels_a, channels_b),
        judge_a=_judge(config, objective, channels_a, channels_b),
        judge_b=_judge(config, objective, channels_b, channels_a),
    )
    for network in (players.generator, players.judge_a, players.judge_b):
        network.to(accelerator.device)
    return Trainer(players, objective, config.optimizer, total, config.training.seed, accelerator)


def _refuse_identity_loss(config: RunConfig, channels_a: int, channels_b: int) -> None:
    if config.losses.identity_weight > 0:
        raise UserError(
            f"A and B have {channels_a} and {channels_b} channels, so an image can't be its own "
            "translation; set --losses.identity_weight 0"
        )


def _judge(config: RunConfig, objective: Objective, own: int, other: int) -> PatchDiscriminator:
    form, width = config.discriminator.form, config.discriminator.width
    return PatchDiscriminator(2, objective.judged_channels(own, other), width, form)


def _resume(trainer: Trainer, run: RunFolder) -> int:
    """Loads the latest checkpoint into the trainer; returns its step."""
    step, tensors, scaler = load_checkpoint(run.checkpoints)
    try:
        trainer.load_state(tensors)
    except (RuntimeError, KeyError) as error:
        raise UserError(
            f"the checkpoint of step {step} in {run.root} belongs to other networks than the "
            "configuration describes; resume without changing architecture or objective"
        ) from error
    if scaler and trainer.accelerator.scaler is not None:
        trainer.accelerator.scaler.load_state_dict(scaler)
    return step


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
            clock = _Clock(self.config.batch_size * self.accelerator.num_processes)
            for a, b in self._loader(first):
                batch = Batch(a.to(device, non_blocking=True), b.to(device, non_blocking=True))
                losses = self.trainer.step(batch, step)
                step += 1
                display.advance(step)
                if step % self.config.log_every == 0 or step == self.total:
                    self._log(step, losses, clock, display)
                if step % self.config.sample_every == 0:
                    self._sample(step)
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

    def _log(self, step: int, losses: dict[str, Tensor], clock: "_Clock", display: Display) -> None:
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

    def _sample(self, step: int) -> None:
        """Translates the first test images both ways, for TensorBoard and samples/."""
        if not self.accelerator.is_main_process:
            return
        grids = {}
        directions: tuple[Direction, Direction] = ("AtoB", "BtoA")
        for direction in directions:
            domain = self.data.a if direction == "AtoB" else self.data.b
            refs = spread(domain.test or domain.train, SAMPLE_COUNT)
            images = [load_image(ref, domain.format.channels, self.data_config) for ref in refs]
            grids[direction] = image_grid([self._there_and_back(x, direction) for x in images])
        for direction, grid in grids.items():
            pixels = (grid * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(self.folder.samples / f"step-{step:06d}-{direction}.png")
            self.accelerator.get_tracker("tensorboard").log_images(
                {f"{direction}: input, translation, round trip": pixels[np.newaxis]},
                step=step,
                dataformats="NHWC",
            )

    def _there_and_back(self, x: Tensor, direction: Direction) -> list[Tensor]:
        generator: RevGenerator = self.trainer.players.generator
        back: Direction = "BtoA" if direction == "AtoB" else "AtoB"
        x = x.to(self.accelerator.device)
        with self.accelerator.autocast():
            there = translate_padded(generator, x[None], direction)
            again = translate_padded(generator, there, back)
        return [image.float().cpu() for image in (x, there[0], again[0])]

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


class _Clock:
    """Images per second since the last question."""

    def __init__(self, images_per_step: int) -> None:
        self._images_per_step = images_per_step
        self._step: int | None = None
        self._time = time.perf_counter()

    def images_per_second(self, step: int) -> float:
        now = time.perf_counter()
        steps = step - self._step if self._step is not None else 1
        speed = steps * self._images_per_step / max(now - self._time, 1e-9)
        self._step, self._time = step, now
        return speed


def spread(items: Sequence[_T], count: int) -> list[_T]:
    """Up to `count` items, evenly spread over all."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]
