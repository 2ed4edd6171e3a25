"""Measures rows of the paper's tables as the paper did (Section 2): by training.

After a warm-up, memory and time are recorded over a number of samples.
"""

import gc
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import count

import torch
from accelerate import Accelerator

from revgan.benchmark.measuring import step_seconds
from revgan.benchmark.paper_tables import Mode, PaperCase, is_joint
from revgan.benchmark.peers import make_joint_step
from revgan.benchmark.variants import random_batch
from revgan.errors import out_of_memory
from revgan.memory import measure_step
from revgan.training import Batch, RuntimeConfig, Trainer, make_accelerator, make_trainer

MEMORY_STEPS = 3
"""Steps in which the CPU's peak is measured: not the timed ones, which its profiler would slow, and
only a few, because the peak hardly differs."""

Step = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a sample."""

    mean: float
    sd: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """That of two values or more."""
        return cls(statistics.fmean(values), statistics.stdev(values))


@dataclass(frozen=True)
class MemoryUse:
    """Memory of a training, in bytes.

    Attributes:
        model_bytes: what is held between steps: weights, buffers and optimizer states.
        activation_bytes: what a step takes beyond that at its peak.
    """

    model_bytes: int
    activation_bytes: Spread


@dataclass(frozen=True)
class TrainingCost:
    """What a training took.

    Attributes:
        parameters: of the generators of both directions.
        seconds: of a step, which is one sample of each domain.
        allocator: memory that PyTorch's allocator gave out.
        driver: memory in use on the whole GPU, as nvidia-smi shows it: between steps with PyTorch's
            cache emptied, and in training with the cache; None on the CPU.
    """

    parameters: int
    seconds: Spread
    allocator: MemoryUse
    driver: MemoryUse | None


@dataclass(frozen=True)
class Measurement:
    """A case measured in one mode.

    Attributes:
        case: what was trained.
        mode: how.
        figures: what it took; None if it failed.
        failure: why it failed.
        date: when it was measured, as YYYY-MM-DD.
    """

    case: PaperCase
    mode: Mode
    figures: TrainingCost | None
    failure: str | None
    date: str


def measure_paper_case(
    case: PaperCase, mode: Mode, runtime: RuntimeConfig, warmup: int, samples: int
) -> Measurement:
    """Trains fresh networks on random images, the same in each step, and measures the steps.

    Args:
        case: what is trained.
        mode: how.
        runtime: device and precision.
        warmup: steps before the first that counts, at least 1.
        samples: steps that count, at least 2.

    Returns:
        What was measured, or a failure if the device's memory is not enough.
    """
    accelerator = make_accelerator(runtime)
    _release_memory(accelerator.device)
    figures, failure = None, None
    try:
        figures = _measure(case, mode, accelerator, warmup, samples)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        failure = "out of memory"
    return Measurement(case, mode, figures, failure, date.today().isoformat())


def _measure(
    case: PaperCase, mode: Mode, accelerator: Accelerator, warmup: int, samples: int
) -> TrainingCost:
    device = accelerator.device
    batch = random_batch((1, 3, case.size, case.size), device)
    started: list[tuple[Trainer, Step]] = []
    built = measure_step(lambda: started.append(_start(case, mode, accelerator, batch)), device)
    [(trainer, step)] = started
    first = measure_step(step, device)  # brings the optimizers' states to life
    # The older fakes of the unpaired objective are neither weights nor activations.
    model_bytes = built.retained + first.retained - _pooled_bytes(trainer, device)
    for _ in range(warmup - 1):
        step()

    seconds, peaks, in_use = _sample(step, device, samples)
    driver = None
    if in_use:
        _release_memory(device)
        driver_model = _driver_bytes(device)
        driver = MemoryUse(driver_model, Spread.of([used - driver_model for used in in_use]))
    return TrainingCost(
        parameters=sum(weight.numel() for weight in trainer.players.generator.parameters()),
        seconds=Spread.of(seconds),
        allocator=MemoryUse(model_bytes, Spread.of(peaks)),
        driver=driver,
    )


def _start(
    case: PaperCase, mode: Mode, accelerator: Accelerator, batch: Batch
) -> tuple[Trainer, Step]:
    config = case.config(mode)
    trainer = make_trainer(config, 2, (3, 3), accelerator, total=10**9)
    if is_joint(mode):
        return trainer, make_joint_step(trainer.players, config, accelerator, batch)
    numbers = count()
    return trainer, lambda: trainer.step(batch, next(numbers))


def _pooled_bytes(trainer: Trainer, device: torch.device) -> int:
    """What the image pools hold in the device's memory; they lie in main memory."""
    if device.type != "cpu":
        return 0
    pools = trainer.objective.pools.values()
    return sum(image.nbytes for pool in pools for image in pool.images)


def _sample(
    step: Step, device: torch.device, samples: int
) -> tuple[list[float], list[int], list[int]]:
    """Seconds of each step, peaks of its memory, and on a GPU what its driver has in use after."""
    seconds: list[float] = []
    peaks: list[int] = []
    in_use: list[int] = []

    def timed() -> None:
        seconds.append(step_seconds(step, device))

    for _ in range(samples):
        if device.type == "cuda":  # whose allocator counts anyway
            peaks.append(measure_step(timed, device).peak)
            in_use.append(_driver_bytes(device))
        else:
            timed()
    if not peaks:
        peaks = [measure_step(step, device).peak for _ in range(MEMORY_STEPS)]
    return seconds, peaks, in_use


def _driver_bytes(device: torch.device) -> int:
    """What is in use on the whole GPU, as nvidia-smi shows it."""
    free, total = torch.cuda.mem_get_info(device)
    return total - free


def _release_memory(device: torch.device) -> None:
    """Frees what nothing uses any more, and PyTorch's cache of free memory on a GPU."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
