"""Trainings whose memory is predicted, and what their steps really take."""

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from revgan.memory import measure_step
from revgan.networks import DiscriminatorConfig, GeneratorConfig
from revgan.training.batch import Batch
from revgan.training.config import LossConfig, RunConfig, RuntimeConfig, TrainingConfig
from revgan.training.prediction import Workload
from revgan.training.setup import make_trainer

TOLERANCE = 0.03
"""By how much a predicted peak may be off.

Allocations are counted byte by byte. What is not known exactly is the scratch memory of oneDNN's
kernels: some 10 KiB each, and weights padded to blocks of 8 or 16 channels. At the small sizes of
these tests it is up to 2% of a step, and less the larger a step is.
"""

known_kernels = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="the kernels of other CPUs are not known",
)


def workload(
    objective="unpaired",
    memory="naive",
    stored_blocks=0,
    width=16,
    depth=4,
    judge=8,
    batch_size=1,
    size=64,
    precision="float32",
    consensus=0.0,
    variant=None,
    **options,
) -> Workload:
    config = RunConfig(
        objective=objective,
        generator=GeneratorConfig(
            width=width, depth=depth, memory=memory, stored_blocks=stored_blocks, **variant or {}
        ),
        discriminator=DiscriminatorConfig(width=judge),
        losses=LossConfig(pool_size=4, consensus_weight=consensus),
        training=TrainingConfig(batch_size=batch_size),
        runtime=RuntimeConfig(device="cpu", precision=precision),
    )
    return Workload(config, size, **options)


def measured(work: Workload) -> int:
    """The peak of a real step, above what is held between steps."""
    AcceleratorState._reset_state()
    accelerator = Accelerator(cpu=True, mixed_precision=work.precision)
    trainer = make_trainer(work.config, work.spatial_dims, work.channels, accelerator, 2)
    shape = [work.size] * work.spatial_dims
    batch_size = work.config.training.batch_size
    batch = Batch(*(torch.rand(batch_size, c, *shape) * 2 - 1 for c in work.channels))
    trainer.step(batch, 0)  # brings the optimizers' states to life
    return measure_step(lambda: trainer.step(batch, 1)).peak
