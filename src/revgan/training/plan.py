"""Predicts how much memory a configuration needs, and what fits, before anything runs."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import Any, Literal

import torch
import yaml
from rich.console import Console
from rich.table import Table

from revgan.data.config import DataConfig
from revgan.errors import UsageError, UserError, one_line
from revgan.inference.planning import Translation, predict_translation
from revgan.memory import LARGEST_SIZE, StepPrediction, format_bytes, free_budget, parse_bytes
from revgan.networks import GeneratorConfig
from revgan.networks.axes import PerAxis
from revgan.networks.pretrained import ARCHITECTURE, read_architecture
from revgan.text import shell_word
from revgan.training.choosing import choose_memory
from revgan.training.config import RunConfig
from revgan.training.largest import (
    LARGEST_BATCH,
    LARGEST_DEPTH,
    largest_batch,
    largest_depth,
    largest_size,
)
from revgan.training.prediction import (
    Workload,
    device_type,
    predict_training,
)
from revgan.training.runs import RunFolder

PLANNED_SLABS = 8
"""More save little: of 512 x 512 pixels, 8 slabs take off 42% of a step, and 16 slabs 44%."""


@dataclass(frozen=True)
class Domains:
    """What the networks depend on besides a run's configuration.

    Attributes:
        spatial_dims: 2 for images, 3 for volumes.
        channels: of A and B.
    """

    spatial_dims: Literal[2, 3]
    channels: tuple[int, int]


@dataclass(frozen=True)
class Largest:
    """The largest value of each that fits the budget, with the others as configured; None if none
    fits.

    Attributes:
        memory: the memory mode that this is for, and its slabs.
        size: of training images, the longest side where they aren't squares or cubes.
        depth: of the generator, if it has blocks.
        batch_size: the training batch.
        translated_size: of images to translate in one pass.
    """

    memory: str
    size: int | None
    depth: int | None
    batch_size: int | None
    translated_size: int | None


@dataclass(frozen=True)
class Plan:
    """The answers of `revgan plan`.

    Attributes:
        workload: the training in question.
        training: what a training step needs, by memory mode, and in lean with slabs if they help.
        translation: what translating a whole image needs.
        budget: bytes on the device; None if there is no such device to ask.
        auto: what generator.memory auto chooses within the budget, in words.
        largest: what fits the budget.
    """

    workload: Workload
    training: dict[str, StepPrediction]
    translation: StepPrediction
    budget: int | None
    auto: str | None
    largest: Largest | None

    def to_json(self) -> str:
        """Everything, in bytes."""
        workload, config = self.workload, self.workload.config
        content = {
            "objective": config.objective,
            "device": workload.device_type,
            "precision": workload.precision,
            "spatial_dims": workload.spatial_dims,
            "channels": workload.channels,
            "size": workload.size,
            "batch_size": config.training.batch_size,
            "generator": asdict(config.generator),
            "discriminator": asdict(config.discriminator),
            "training": {mode: _bytes(needed) for mode, needed in self.training.items()},
            "translation": _bytes(self.translation),
            "budget": self.budget,
            "auto": self.auto,
            "largest": asdict(self.largest) if self.largest else None,
        }
        return json.dumps(content, indent=2)


def planned_domains(
    config: RunConfig,
    run: RunFolder | None,
    spatial_dims: Literal[2, 3] | None,
    channels: tuple[int, int] | None,
) -> Domains:
    """The domains for `revgan plan`.

    Args:
        config: the options.
        run: the run whose model decides, if it has one.
        spatial_dims: from an option; by default the model's, else the configuration's.
        channels: from an option; by default the model's, else the configuration's, else 3 for
            images and 1 for volumes.

    Raises:
        UserError: the model's config.yaml can't be read.
    """
    model = _model_domains(run) if run is not None else None
    if model is None:
        dims = spatial_dims or config.data.spatial_dims
        usual = 3 if dims == 2 else 1
        model = Domains(dims, (config.data.channels_a or usual, config.data.channels_b or usual))
    return Domains(spatial_dims or model.spatial_dims, channels or model.channels)


def _model_domains(run: RunFolder) -> Domains | None:
    """The domains of a run's model; None if it has none yet."""
    path = run.model / ARCHITECTURE
    if not path.is_file():
        return None
    try:
        _, model = read_architecture(path)
        channels = model["in_channels"], model["out_channels"]
        return Domains(model["spatial_dims"], channels)
    except (ValueError, KeyError, yaml.YAMLError) as error:
        raise UserError(
            f"{path} can't be read ({one_line(error)}); plan with "
            f"--config {shell_word(run.config)} instead of the run"
        ) from error


def planned_workload(config: RunConfig, domains: Domains, size: PerAxis | None) -> Workload:
    """The training that `revgan plan`'s options describe.

    Raises:
        UsageError: size or channels are out of range.
    """
    dims, data = domains.spatial_dims, config.data
    if size is not None or dims != data.spatial_dims:
        crop = data.crop if size is None else size
        try:
            config = replace(config, data=DataConfig(spatial_dims=dims, crop=crop))
        except ValueError as error:  # "crop must ..." or "data.crop must ..."
            name = "data.crop" if size is None else "--size"
            raise UsageError(f"{name} {str(error).partition('crop ')[2]}") from error
    if min(domains.channels) < 1:
        raise UsageError(f"--channels must be 1 or more, not {min(domains.channels)}")
    return Workload(config, config.data.crop, dims, domains.channels, device_type(config.runtime))


def make_plan(workload: Workload, tell: Callable[[str], None] = lambda _: None) -> Plan:
    """Predicts the step in each memory mode, and in slabs, and searches for what fits.

    Args:
        workload: the training in question.
        tell: called before each step of the plan with its description and number.
    """
    budget = plan_budget(workload)
    ways = _ways(workload)
    steps = count(1)
    total = len(ways) + (6 if budget else 1)

    def next_is(what: str) -> None:
        tell(f"{what} ({next(steps)} of {total})")

    training: dict[str, StepPrediction] = {}
    for way, trained in ways.items():
        next_is(f"predicting a step in {way}")
        needed = predict_training(trained)
        if not _in_slabs(trained.config.generator) or needed.total < training["lean"].total:
            training[way] = needed
    next_is("predicting a translation")
    translation = predict_translation(_translation(workload), workload.size)
    if not budget:
        return Plan(workload, training, translation, budget, None, None)
    next_is("choosing the memory mode")
    auto = _auto(workload, budget)
    generator = workload.config.generator
    leanest = list(training)[-1]
    way = leanest if generator.memory == "auto" else _way(generator)
    largest = _largest(way, ways[way], budget, next_is)
    return Plan(workload, training, translation, budget, auto, largest)


def plan_budget(workload: Workload) -> int | None:
    """The given budget, else the device's free memory; None if there is no such device."""
    given = workload.config.runtime.memory_budget
    if given is not None:
        return parse_bytes(given)
    kind = workload.device_type
    if kind == "cuda" and not torch.cuda.is_available():
        return None
    return free_budget(torch.device(kind))


def _ways(workload: Workload) -> dict[str, Workload]:
    """The workload in each memory mode, and at last in slabs, if it may have them."""
    generator, modes = workload.config.generator, workload.config.memory_modes
    ways = [
        workload.with_generator(
            memory=mode,
            stored_blocks=generator.stored_blocks if mode == generator.memory else 0,
            slabs=0,
        )
        for mode in modes
    ]
    if "lean" in modes and (generator.slabs is None or _in_slabs(generator)):
        ways.append(ways[-1].with_generator(slabs=generator.slabs or PLANNED_SLABS))
    return {_way(way.config.generator): way for way in ways}


def _way(generator: GeneratorConfig) -> str:
    """The memory mode, and slabs."""
    return replace(generator, stored_blocks=0).use_of_memory


def _in_slabs(generator: GeneratorConfig) -> bool:
    return generator.slabs is not None and generator.slabs > 1


def _translation(workload: Workload) -> Translation:
    """A translation with the training's generator, on the training's device."""
    # The same for all of a plan, so that predictions are found again.
    config = replace(workload.config.generator, memory="naive", stored_blocks=0, slabs=0)
    return Translation(config, workload.spatial_dims, workload.channels, workload.device_type)


def _auto(workload: Workload, budget: int) -> str:
    try:
        return str(choose_memory(workload, budget))
    except UserError:
        return "nothing fits"


def _largest(way: str, trained: Workload, budget: int, next_is: Callable[[str], None]) -> Largest:
    """What fits of a training; `way` says how it uses memory."""
    next_is("searching the largest size")
    size = largest_size(trained, budget)
    depth = None
    if trained.config.generator.has_blocks:
        next_is("searching the largest depth")
        depth = largest_depth(trained, budget)
    next_is("searching the largest batch")
    batch_size = largest_batch(trained, budget)
    next_is("searching the largest size to translate")
    translated = _translation(trained).largest(budget, trained.side, trained.crop_of)
    return Largest(way, size, depth, batch_size, translated)


def print_plan(plan: Plan, console: Console) -> None:
    """Prints tables of what is needed and what fits."""
    config, workload = plan.workload.config, plan.workload
    shape = " x ".join(map(str, workload.sizes))
    console.print(
        f"{config.objective} {config.model_name}, {config.generator.size}, "
        f"{config.training.batch_size} x {shape}, "
        f"{'float32' if workload.precision == 'no' else workload.precision} on "
        f"{workload.device_type}",
        soft_wrap=True,
    )
    console.print(_needs(plan))
    step = next(iter(plan.training.values()))
    images = step.held - step.parameters - step.optimizer_states
    pools = " and image pools" if workload.device_type == "cpu" else ""
    console.print(f"Activations include {format_bytes(images)} of images: batch{pools}.")
    if plan.budget is None:
        console.print("There is no such device here, so give --memory-budget to see what fits")
    elif plan.largest is not None:
        console.print(f"Within {format_bytes(plan.budget)}:")
        console.print(_fits(plan, plan.largest))
    if workload.device_type == "cuda":
        console.print("On a GPU, the workspace of cuDNN's convolutions comes on top.")


def _needs(plan: Plan) -> Table:
    table = Table("training", *(name.replace("_", "\n") for name in _PARTS), "total")
    rows = [*plan.training.items(), ("translation", plan.translation)]
    for name, needed in rows:
        if name == "translation":
            table.add_section()
        parts = (getattr(needed, part) for part in _PARTS)
        table.add_row(
            name.replace(" with ", ", "), *map(format_bytes, parts), format_bytes(needed.total)
        )
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _fits(plan: Plan, largest: Largest) -> Table:
    table = Table("", "at most", show_header=False)
    size = "size" if len(set(plan.workload.sizes)) == 1 else "longest side"
    depth = f"depth, training in {largest.memory}"
    limits = {
        f"{size}, training in {largest.memory}": (
            largest.size,
            LARGEST_SIZE[plan.workload.spatial_dims],
        ),
        depth: (largest.depth, LARGEST_DEPTH),
        f"batch, training in {largest.memory}": (largest.batch_size, LARGEST_BATCH),
        f"{size}, translation in one pass": (
            largest.translated_size,
            LARGEST_SIZE[plan.workload.spatial_dims],
        ),
    }
    if not plan.workload.config.generator.has_blocks:
        limits.pop(depth)
    table.add_row("generator.memory auto takes", plan.auto)
    for what, (value, limit) in limits.items():
        text = "none" if value is None else f"{value} or more" if value >= limit else str(value)
        table.add_row(f"largest {what}", text)
    return table


_PARTS = ("parameters", "gradients", "optimizer_states", "activations")


def _bytes(needed: StepPrediction) -> dict[str, Any]:
    return {part: getattr(needed, part) for part in _PARTS} | {"total": needed.total}
