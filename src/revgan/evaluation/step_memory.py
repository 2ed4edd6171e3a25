"""Measures the memory of a run's training step in two modes, for its report."""

import torch
from accelerate import Accelerator

from revgan.data.domains import DataSet
from revgan.data.formats import KINDS
from revgan.evaluation.report import MemoryComparison
from revgan.memory import free_budget, measure_step
from revgan.training.config import RunConfig
from revgan.training.objectives import Batch
from revgan.training.prediction import Workload, predict_training
from revgan.training.setup import make_trainer


def compare_memory(
    config: RunConfig, data: DataSet, accelerator: Accelerator
) -> MemoryComparison | None:
    """Measures one training step in each memory mode that fits the free memory.

    Also predicts what the modes take at depth 1. In between, memory grows evenly, as all couplings
    of the core are alike.

    None if only naive is left, for models that have only one mode or whose memory can't be
    predicted, and on devices that can't be measured.
    """
    device = accelerator.device
    comparable = len(config.memory_modes) > 1 and config.generator.core != "ode"
    if device.type not in ("cpu", "cuda") or not comparable:
        return None
    spatial_dims, crop = config.data.spatial_dims, config.data.crop
    workload = Workload(config, crop, spatial_dims, data.channels, device.type)
    depth, budget = config.generator.depth, free_budget(device)
    empty = workload.images(config.training.batch_size)
    batch = Batch(*(torch.rand_like(images, device=device) * 2 - 1 for images in empty))

    def peak(workload: Workload) -> int:
        trainer = make_trainer(workload.config, spatial_dims, data.channels, accelerator, total=2)
        trainer.step(batch, 0)  # creates the optimizers' states
        return measure_step(lambda: trainer.step(batch, 1), device).peak

    measured, over_depth = {}, {}
    for mode in config.memory_modes:
        ours = workload.with_generator(memory=mode, stored_blocks=0, slabs=0)
        predicted = {
            couplings: predict_training(ours.with_generator(depth=couplings))
            for couplings in sorted({1, depth})
        }
        over_depth[mode] = [(couplings, step.peak) for couplings, step in predicted.items()]
        if predicted[depth].total <= budget:
            measured[mode] = peak(ours)
    if "reversible" not in measured:
        return None
    precision = {"no": "float32"}.get(accelerator.mixed_precision, accelerator.mixed_precision)
    where = "the CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)
    sides = [config.training.batch_size, *workload.sizes]
    size = f"{' x '.join(map(str, sides))} {KINDS[spatial_dims].elements}"
    return MemoryComparison(
        measured=measured,
        over_depth=over_depth,
        depth=depth,
        step=(
            f"One {config.objective} training step of this configuration, {size}, in {precision} "
            f"on {where}: the peak above the memory held between steps. Markers are measured at "
            f"depth {depth}; lines are predicted."
        ),
    )
