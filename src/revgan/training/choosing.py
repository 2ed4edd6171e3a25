"""Chooses for `generator.memory auto`: the fastest way to train within a budget."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console

from revgan.environment import counted
from revgan.errors import UserError
from revgan.memory import (
    StepPrediction,
    format_bytes,
    free_budget,
    largest_fitting,
    parse_bytes,
)
from revgan.networks import GeneratorConfig
from revgan.networks.axes import in_words, shown
from revgan.networks.config import Memory
from revgan.training.config import RunConfig
from revgan.training.largest import largest_size
from revgan.training.prediction import Workload, predict_training
from revgan.training.processes import together

SLABS = 2, 4, 8, 16
"""What auto tries, fastest first: with each, less is held at once, and more is computed twice."""


@dataclass(frozen=True)
class Choice:
    """How training uses memory.

    Attributes:
        generator: the generator's configuration, with its memory mode decided.
        prediction: what a step needs.
    """

    generator: GeneratorConfig
    prediction: StepPrediction

    def __str__(self) -> str:
        """For example "reversible with 12 of 30 blocks stored"."""
        return self.generator.use_of_memory


def choose_memory(workload: Workload, budget: int) -> Choice:
    """Chooses the fastest way to train within a budget.

    It tries, as far as the training can use them: naive; reversible; lean; and, unless the
    generator's `slabs` rules them out, lean with more and more `SLABS`. Of the first that fits, as
    many blocks are stored as fit. Those without slabs come first, as they train in the same bits.

    Args:
        workload: the training; its generator's memory mode doesn't matter.
        budget: bytes for everything that training keeps on the device.

    Raises:
        UserError: nothing fits.
    """
    slabs = workload.config.generator.slabs
    naive = _choice(workload, memory="naive", stored_blocks=0, slabs=0)
    if naive.prediction.total <= budget:
        return naive
    if workload.config.memory_modes == ("naive",):
        raise _nothing_fits(workload, naive, budget)
    reversible = _choice(workload, memory="reversible", stored_blocks=0, slabs=0)
    if reversible.prediction.total <= budget:
        return _store_blocks(workload, budget, reversible, naive)
    least = None
    for count in (0, *(SLABS if slabs is None or slabs > 1 else ())):
        lean = _choice(workload, memory="lean", stored_blocks=0, slabs=count)
        if lean.prediction.total <= budget:
            return _store_blocks(workload, budget, lean)
        if least is not None and lean.prediction.total == least.prediction.total:
            break  # what is largest by now isn't cut into slabs
        # More slabs may need more than fewer: they share rows, which are kept.
        if least is None or lean.prediction.total < least.prediction.total:
            least = lean
    assert least is not None
    raise _nothing_fits(workload, least, budget)


def _nothing_fits(workload: Workload, least: Choice, budget: int) -> UserError:
    same = replace(workload, config=replace(workload.config, generator=least.generator))
    side, needed = largest_size(same, budget), format_bytes(least.prediction.total)
    crop = side and shown(workload.crop_of(side))
    return UserError(
        f"training at size {in_words(workload.sizes)} needs {needed} even with generator.memory "
        f"{least}, but only {format_bytes(budget)} are available; "
        + ("set losses.consensus_weight 0, or " if workload.config.losses.consensus_weight else "")
        + (f"lower data.crop to {crop}" if crop else "no size fits: lower the networks' widths")
    )


def _choice(workload: Workload, **changes: Any) -> Choice:
    changed = workload.with_generator(**changes)
    return Choice(changed.config.generator, predict_training(changed))


def _store_blocks(
    workload: Workload, budget: int, none: Choice, every: Choice | None = None
) -> Choice:
    """As many stored blocks as fit.

    Args:
        workload: the training.
        budget: bytes.
        none: the mode, without stored blocks, which fits.
        every: what needs as much as storing all of them.
    """
    depth, mode = none.generator.depth, none.generator

    def choice(stored: int) -> Choice:
        return _choice(workload, memory=mode.memory, slabs=mode.slabs, stored_blocks=stored)

    choices = {depth: every or choice(depth), 0: none}

    def need(stored: int) -> int:
        choices[stored] = choice(stored)
        return choices[stored].prediction.total

    known = {stored: choice.prediction.total for stored, choice in choices.items()}
    stored = largest_fitting(need, budget, known, least=0, limit=depth)
    return choices[stored or 0]


def _process_budget(config: RunConfig, accelerator: Accelerator) -> int:
    """Bytes per process, from the given budget or the free memory; the least of all processes.

    Processes on CUDA have one device each; others share their machine's memory.
    """
    device, given = accelerator.device, config.runtime.memory_budget
    budget = free_budget(device) if given is None else parse_bytes(given) or 0
    if device.type != "cuda":
        # torchrun and accelerate launch set it; num_processes counts those of all machines.
        budget //= counted("LOCAL_WORLD_SIZE", accelerator.num_processes, 1)
    with together():
        return int(accelerator.gather(torch.tensor([budget], device=device)).min())


def decide_memory(
    config: RunConfig, channels: tuple[int, int], accelerator: Accelerator, console: Console
) -> RunConfig:
    """Replaces `generator.memory` auto with what the planner finds, and says so.

    The budget has then had its effect, and is dropped: a resumed run takes what was found.

    Args:
        config: of the run.
        channels: of A and B.
        accelerator: the training's; all processes use the smallest budget.
        console: for one line of output.

    Raises:
        UserError: nothing fits.
    """
    if config.generator.memory != "auto":
        return config
    if config.generator.core == "ode":  # can't be predicted
        modes = config.memory_modes
        memory: Memory = "reversible" if "reversible" in modes else "naive"
        if accelerator.is_main_process:
            console.print(f"memory auto: {memory}, unplanned, as the core is an ODE")
        return replace(config, generator=replace(config.generator, memory=memory))
    budget = _process_budget(config, accelerator)
    size, kind = config.data.crop, accelerator.device.type
    workload = Workload(config, size, config.data.spatial_dims, channels, kind)
    choice = choose_memory(workload, budget)
    if accelerator.is_main_process:
        needed = format_bytes(choice.prediction.total)
        console.print(f"memory auto: {choice}, {needed} of {format_bytes(budget)}", soft_wrap=True)
    runtime = replace(config.runtime, memory_budget=None)
    return replace(config, generator=choice.generator, runtime=runtime)
