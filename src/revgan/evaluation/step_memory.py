"""Measures the memory of a run's training step in its modes, for its report."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from accelerate import Accelerator

from revgan.data.domains import DataSet
from revgan.data.formats import KINDS
from revgan.evaluation.report import MemoryComparison
from revgan.memory import free_budget, measure_step
from revgan.training.batch import Batch
from revgan.training.config import RunConfig
from revgan.training.prediction import Workload, predict_training
from revgan.training.setup import make_trainer


def compare_memory(
    config: RunConfig, data: DataSet, accelerator: Accelerator
) -> MemoryComparison | None:
    """Measures one training step in each memory mode that fits the free memory.

    Also predicts what the modes take at depth 1. In between, memory grows evenly, as all couplings
    of the core are alike.

    None if no mode fits, for models that have only one or whose memory can't be predicted, and on
    devices that can't be measured.
    """
    device = accelerator.device
    comparable = len(config.memory_modes) > 1 and config.generator.core != "ode"
    if device.type not in ("cpu", "cuda") or not comparable:
        return None
    # Another network's memory isn't what is compared, and its class needs trust.
    own = replace(config.losses, feature_weight=0.0, feature_network=None, feature_class=None)
    config = replace(config, losses=own)
    spatial_dims, crop = config.data.spatial_dims, config.data.crop
    workload = Workload(config, crop, spatial_dims, data.channels, device.type)
    depth, budget = config.generator.depth, free_budget(device)
    empty = workload.images(config.training.samples)
    batch = Batch(*(torch.rand_like(images, device=device) * 2 - 1 for images in empty))

    def peak(workload: Workload) -> int:
        trainer = make_trainer(workload.config, spatial_dims, data.channels, accelerator, total=2)
        trainer.step(batch, 0)  # creates the optimizers' states
        return measure_step(lambda: trainer.step(batch, 1), device).peak

    measured: dict[str, int] = {}
    over_depth: dict[str, Sequence[tuple[int, int]]] = {}
    for mode in config.memory_modes:
        ours = workload.with_generator(memory=mode, stored_blocks=0, slabs=0)
        predicted = {
            couplings: predict_training(ours.with_generator(depth=couplings))
            for couplings in sorted({1, depth})
        }
        over_depth[mode] = [(couplings, step.peak) for couplings, step in predicted.items()]
        if predicted[depth].total <= budget:
            measured[mode] = peak(ours)
    if not measured:
        return None
    precision = {"no": "float32"}.get(accelerator.mixed_precision, accelerator.mixed_precision)
    where = "the CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)
    sides = [config.training.samples, *workload.sizes]
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
