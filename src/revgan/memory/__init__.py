"""The memory that a training step needs: measured, and predicted without running it."""

from typing import TYPE_CHECKING

from revgan.faces import face
from revgan.memory.sizes import format_bytes, parse_bytes

if TYPE_CHECKING:
    from revgan.memory.fit import (
        LARGEST_SIZE,
        free_budget,
        free_memory,
        largest_fitting,
        largest_side,
    )
    from revgan.memory.measure import StepMemory, measure_step
    from revgan.memory.predict import StepPrediction, predict_step

__all__ = [
    "LARGEST_SIZE",
    "StepMemory",
    "StepPrediction",
    "format_bytes",
    "free_budget",
    "free_memory",
    "largest_fitting",
    "largest_side",
    "measure_step",
    "parse_bytes",
    "predict_step",
]

_HOMES = {
    "LARGEST_SIZE": "fit",
    "StepMemory": "measure",
    "StepPrediction": "predict",
    "free_budget": "fit",
    "free_memory": "fit",
    "largest_fitting": "fit",
    "largest_side": "fit",
    "measure_step": "measure",
    "predict_step": "predict",
}

if not TYPE_CHECKING:
    # Imported on first use: sizes in bytes, and so the help, don't need PyTorch.
    __getattr__ = face(__name__, _HOMES)
