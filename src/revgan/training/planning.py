"""The planner: what fits into a device's memory, and how training makes the best of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console

from revgan.errors import UserError
from revgan.memory import (
    StepPrediction,
    format_bytes,
    free_memory,
    largest_fitting,
    parse_bytes,
)
from revgan.networks import GeneratorConfig, PatchDiscriminator, RevGenerator
from revgan.training.config import RunConfig
from revgan.training.workload import Workload, predict_training

MARGIN = {"cpu": 0.1, "mps": 0.1, "cuda": 0.15}
"""Share of the free memory that is left alone where no budget is given.

The allocators lose some to rounding and gaps, and other programs may want theirs; on a GPU, cuDNN's
workspace, which can't be predicted, comes on top.
"""

LARGEST_SIZE = {2: 16384, 3: 1024}
LARGEST_DEPTH = 64
LARGEST_BATCH = 32
"""Where the searches for what fits end, as each try takes seconds."""


@dataclass(frozen=True)
class Choice:
    """How training will use memory.

    Attributes:
        generator: the generator's configuration, with its memory mode decided.
        prediction: what a step needs.
    """

    generator: GeneratorConfig
    prediction: StepPrediction

    def __str__(self) -> str:
        """Such as: reversible with 12 of 30 blocks stored."""
        stored, depth = self.generator.stored_blocks, self.generator.depth
        return self.generator.memory + (
            f" with {stored} of {depth} blocks stored" if stored else ""
        )


def choose_memory(workload: Workload, budget: int) -> Choice:
    """The fastest way to train within a budget.

    In this order: naive; reversible with as many blocks stored as fit; reversible; lean.

    Args:
        workload: the training; what its generator says of memory does not matter.
        budget: bytes for all that training keeps on the device.

    Raises:
        UserError: not even lean fits.
    """
    naive = _choice(workload, memory="naive", stored_blocks=0)
    if naive.prediction.total <= budget:
        return naive
    reversible = _choice(workload, memory="reversible", stored_blocks=0)
    if reversible.prediction.total <= budget:
        return _store_blocks(workload, budget, reversible, naive)
    lean = _choice(workload, memory="lean", stored_blocks=0)
    if lean.prediction.total <= budget:
        return lean
    size = largest_size(workload.with_generator(memory="lean", stored_blocks=0), budget)
    raise UserError(
        f"training at size {workload.size} needs {format_bytes(lean.prediction.total)} even with "
        f"generator.memory lean, and there are {format_bytes(budget)}; "
        + (f"lower data.crop to {size}" if size else "no size fits: lower the networks' widths")
    )


def _choice(workload: Workload, **changes: Any) -> Choice:
    changed = workload.with_generator(**changes)
    return Choice(changed.config.generator, predict_training(changed))


def _store_blocks(workload: Workload, budget: int, none: Choice, naive: Choice) -> Choice:
    """Reversible with as many blocks stored as fit, where naive does not: less than all."""
    depth = workload.config.generator.depth
    choices = {0: none}

    def need(stored: int) -> int:
        choices[stored] = _choice(workload, memory="reversible", stored_blocks=stored)
        return choices[stored].prediction.total

    known = {0: none.prediction.total, depth: naive.prediction.total}
    stored = largest_fitting(need, budget, known, least=0, limit=depth)
    return choices[stored or 0]


def largest_size(
    workload: Workload,
    budget: int,
    predict: Callable[[Workload], StepPrediction] = predict_training,
) -> int | None:
    """The largest size of square images, or cubic volumes, within a budget; None if none is.

    Args:
        workload: the training.
        budget: bytes on the device.
        predict: `predict_training` or `predict_translation`.
    """
    start = predict(workload)
    return largest_fitting(
        lambda size: predict(replace(workload, size=size)).total,
        budget,
        {workload.size: start.total},
        fixed=start.total - start.activations,
        power=workload.spatial_dims,
        step=RevGenerator.size_multiple,
        least=PatchDiscriminator.min_size,
        limit=LARGEST_SIZE[workload.spatial_dims],
    )


def largest_depth(workload: Workload, budget: int) -> int | None:
    """The largest depth of the generator within a budget, up to `LARGEST_DEPTH`."""
    stored = workload.config.generator.stored_blocks

    def need(depth: int) -> int:
        deeper = workload.with_generator(depth=depth, stored_blocks=min(stored, depth))
        return predict_training(deeper).total

    return largest_fitting(
        need,
        budget,
        {workload.config.generator.depth: predict_training(workload).total},
        least=0,
        limit=LARGEST_DEPTH,
    )


def largest_batch(workload: Workload, budget: int) -> int | None:
    """The largest batch within a budget, up to `LARGEST_BATCH`."""
    start = predict_training(workload)
    return largest_fitting(
        lambda batch_size: predict_training(workload.with_batch(batch_size)).total,
        budget,
        {workload.config.training.batch_size: start.total},
        fixed=start.total - start.activations,
        limit=LARGEST_BATCH,
    )


def free_budget(device: torch.device, sharing: int = 1) -> int:
    """Bytes that training may take of a device's free memory, less a margin (`MARGIN`).

    Args:
        device: which one.
        sharing: processes on this machine; all but those on CUDA share one memory.
    """
    free = free_memory(device) * (1 - MARGIN[device.type])
    return int(free if device.type == "cuda" else free / sharing)


def decide_memory(
    config: RunConfig, channels: tuple[int, int], accelerator: Accelerator, console: Console
) -> RunConfig:
    """Replaces `generator.memory` auto by what the planner finds, and says so.

    Args:
        config: of the run.
        channels: of A and B.
        accelerator: of the training; all its processes decide by the smallest free memory.
        console: for one line.

    Raises:
        UserError: nothing fits.
    """
    if config.generator.memory != "auto":
        return config
    if config.runtime.memory_budget is not None:
        budget = parse_bytes(config.runtime.memory_budget) or 0
    else:
        free = free_budget(accelerator.device, sharing=accelerator.num_processes)
        budget = int(accelerator.gather(torch.tensor([free], device=accelerator.device)).min())
    size, kind = config.data.crop, accelerator.device.type
    choice = choose_memory(Workload(config, size, channels=channels, device_type=kind), budget)
    if accelerator.is_main_process:
        needed = format_bytes(choice.prediction.total)
        console.print(f"memory auto: {choice}, {needed} of {format_bytes(budget)}", soft_wrap=True)
    return replace(config, generator=choice.generator)
