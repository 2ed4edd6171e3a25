"""Objectives, the training step and loop, schedules, checkpoints, and the memory plan."""

from typing import TYPE_CHECKING

from revgan.faces import face

if TYPE_CHECKING:
    from revgan.training.batch import Batch
    from revgan.training.best import Best
    from revgan.training.config import (
        Device,
        LossConfig,
        ObjectiveKind,
        OptimizerConfig,
        RunConfig,
        RuntimeConfig,
        TrainingConfig,
        preset_names,
        preset_path,
    )
    from revgan.training.data import checked_data
    from revgan.training.loop import Outcome, train
    from revgan.training.objectives import Players, build_objective
    from revgan.training.prediction import Workload, predict_training
    from revgan.training.runs import RunFolder, existing_run, new_run
    from revgan.training.setup import make_accelerator, make_trainer
    from revgan.training.step import Trainer
    from revgan.training.trackers import require_trackers

__all__ = [
    "Batch",
    "Best",
    "Device",
    "LossConfig",
    "ObjectiveKind",
    "OptimizerConfig",
    "Outcome",
    "Players",
    "RunConfig",
    "RunFolder",
    "RuntimeConfig",
    "Trainer",
    "TrainingConfig",
    "Workload",
    "build_objective",
    "checked_data",
    "existing_run",
    "make_accelerator",
    "make_trainer",
    "new_run",
    "predict_training",
    "preset_names",
    "preset_path",
    "require_trackers",
    "train",
]

_HOMES = {
    "Best": "best",
    "Device": "config",
    "LossConfig": "config",
    "ObjectiveKind": "config",
    "OptimizerConfig": "config",
    "RunConfig": "config",
    "RuntimeConfig": "config",
    "TrainingConfig": "config",
    "preset_names": "config",
    "preset_path": "config",
    "checked_data": "data",
    "Outcome": "loop",
    "train": "loop",
    "Batch": "batch",
    "Players": "objectives",
    "build_objective": "objectives",
    "RunFolder": "runs",
    "existing_run": "runs",
    "new_run": "runs",
    "make_accelerator": "setup",
    "make_trainer": "setup",
    "Trainer": "step",
    "require_trackers": "trackers",
    "Workload": "prediction",
    "predict_training": "prediction",
}

if not TYPE_CHECKING:
    # Imported on first use: configurations and help don't need accelerate.
    __getattr__ = face(__name__, _HOMES)
