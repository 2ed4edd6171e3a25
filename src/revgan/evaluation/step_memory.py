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

_peaks: dict[Workload, int] = {}
"""What was measured: runs that differ in data or seed alone, as in `revgan demo --compare`, share
it."""


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
    config = _step_alone(config)
    spatial_dims, crop = config.data.spatial_dims, config.data.crop
    workload = Workload(config, crop, spatial_dims, data.channels, device.type)
    depth, budget = config.generator.depth, free_budget(device)
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
            if ours not in _peaks:
                _peaks[ours] = _peak(ours, accelerator)
            measured[mode] = _peaks[ours]
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


def _step_alone(config: RunConfig) -> RunConfig:
    """Without what changes nothing about a step's memory, so that runs share what is known of it.

    Another network's memory isn't what is compared, and its class needs trust.
    """
    return replace(
        config,
        losses=replace(config.losses, feature_weight=0.0, feature_network=None, feature_class=None),
        data=replace(config.data, path=""),
        training=replace(config.training, seed=0, steps=None, pretrained=None),
    )


def _peak(workload: Workload, accelerator: Accelerator) -> int:
    """Bytes of the second step, above what is held between steps."""
    config, spatial_dims, device = workload.config, workload.spatial_dims, accelerator.device
    empty = workload.images(config.training.samples)
    batch = Batch(*(torch.rand_like(images, device=device) * 2 - 1 for images in empty))
    trainer = make_trainer(config, spatial_dims, workload.channels, accelerator, total=2)
    trainer.step(batch, 0)  # creates the optimizers' states
    return measure_step(lambda: trainer.step(batch, 1), device).peak
