"""Predicts the memory that a training step needs, without running it.

Nothing here is a formula for the networks: the real training step runs under fake tensors
(`revgan.memory.predict_step`), on the CPU whatever the device will be.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, cast

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import Optimizer

from revgan.directions import DOMAINS
from revgan.inference.planning import require_predictable
from revgan.memory import StepPrediction, predict_step
from revgan.networks.axes import PerAxis, per_axis
from revgan.networks.cutting import unlike_slabs
from revgan.training.batch import Batch
from revgan.training.config import RunConfig, RuntimeConfig
from revgan.training.pool import ImagePool
from revgan.training.setup import make_trainer, mixed_precision
from revgan.training.skips import Skips


@dataclass(frozen=True)
class Workload:
    """A training whose memory is to be predicted.

    Attributes:
        config: of the run.
        size: side of the training images or volumes, or one per axis, instead of
            `config.data.crop`.
        spatial_dims: 2 for images, 3 for volumes.
        channels: of A and B.
        device_type: "cpu", "cuda" or "mps".
    """

    config: RunConfig
    size: PerAxis
    spatial_dims: Literal[2, 3] = 2
    channels: tuple[int, int] = (3, 3)
    device_type: str = "cpu"

    def with_generator(self, **changes: Any) -> "Workload":
        """The same workload with changes to the generator."""
        generator = replace(self.config.generator, **changes)
        return replace(self, config=replace(self.config, generator=generator))

    def with_batch(self, batch_size: int) -> "Workload":
        """The same workload with another batch size."""
        training = replace(self.config.training, batch_size=batch_size)
        return replace(self, config=replace(self.config, training=training))

    def images(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """A batch of each domain."""
        a, b = (torch.empty(batch_size, c, *self.sizes) for c in self.channels)
        return a, b

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sides along each axis."""
        return per_axis(self.size, self.spatial_dims)

    @property
    def side(self) -> int:
        """The longest of them."""
        return max(self.sizes)

    def with_side(self, side: int) -> "Workload":
        """The same workload with another longest side."""
        return replace(self, size=self.crop_of(side))

    def crop_of(self, side: int) -> PerAxis:
        """The sizes with another longest side.

        Thin axes, of half the longest one or less, keep theirs, as scans have no more to give; the
        others keep their proportions, rounded to what the networks take.
        """
        longest, config = self.side, self.config
        if isinstance(self.size, int) or set(self.sizes) == {longest}:
            return side
        return tuple(
            size if 2 * size <= longest else max(least, size * side // longest // step * step)
            for size, step, least in zip(
                self.sizes, config.size_multiples, config.min_sizes, strict=True
            )
        )

    @property
    def precision(self) -> str:
        """The training precision, as named by `mixed_precision`."""
        return mixed_precision(self.config.runtime.precision, cuda=self.device_type == "cuda")


@lru_cache
def predict_training(workload: Workload) -> StepPrediction:
    """What one training step needs with full image pools; `generator.memory` must not be "auto".

    Raises:
        UserError: it can't be predicted.
    """
    require_predictable(workload.config.generator)
    with unlike_slabs():
        return predict_step(
            lambda: _training_step(workload), cpu_kernels=workload.device_type == "cpu"
        )


def _training_step(workload: Workload) -> Callable[[], object]:
    accelerator = cast(Accelerator, _StandIn(bf16=workload.precision != "no"))
    trainer = make_trainer(
        workload.config, workload.spatial_dims, workload.channels, accelerator, total=2, load=False
    )
    trainer.skips = Skips()  # fake gradients have no values to look at
    batch = _batch(workload)
    for domain, pool in zip(DOMAINS, trainer.objective.pools.values(), strict=False):
        seen = None if batch.gaps is None else batch.gaps.seen(domain)
        shown = batch.marked(domain, batch.of(domain), seen)
        _fill(pool, shown, on_device=workload.device_type == "cpu")
    return lambda: trainer.step(batch, 0)


def _batch(workload: Workload) -> Batch:
    """All samples of a step, and their masks if the training has any."""
    a, b = workload.images(workload.config.training.samples)
    if not workload.config.data.train_mask:
        return Batch(a, b)
    fill = torch.zeros(1, *[1] * workload.spatial_dims)
    everywhere = torch.ones(len(a), 1, *workload.sizes, dtype=torch.bool)
    return Batch.with_gaps(a, b, fill, fill, (everywhere, everywhere.clone()))


def _fill(pool: ImagePool, batch: Tensor, *, on_device: bool) -> None:
    """Fills a pool except for one batch, since which images it exchanges is random.

    A pool is in main memory, so it takes no GPU memory.
    """
    if pool.size:
        pool.size = max(pool.size, len(batch)) if on_device else len(batch)
        pool.images = [torch.empty_like(batch[0]) for _ in range(pool.size - len(batch))]


class _StandIn:
    """Replaces the accelerator under fake tensors: one process, on the CPU."""

    device = torch.device("cpu")
    num_processes = 1
    process_index = 0

    def __init__(self, bf16: bool) -> None:
        self._bf16 = bf16

    def autocast(self) -> AbstractContextManager[None]:
        """Computes in bf16 if configured; fp16 takes the same memory."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self._bf16)

    def backward(self, loss: Tensor) -> None:
        """Backpropagates."""
        loss.backward()

    def prepare_optimizer(self, optimizer: Optimizer) -> Optimizer:
        """Creates the optimizer's states, as a first step would."""
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.grad = torch.zeros_like(weight)
        optimizer.step()
        optimizer.zero_grad()
        return optimizer


def device_type(runtime: RuntimeConfig) -> str:
    """The kind of device that training would run on, whether it is available or not."""
    if runtime.device != "auto":
        return runtime.device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
