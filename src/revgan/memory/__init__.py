"""What a training step costs in memory: measured, and predicted without running it."""

from revgan.memory.fit import free_memory, largest_fitting
from revgan.memory.measure import StepMemory, measure_step
from revgan.memory.predict import StepPrediction, predict_step
from revgan.memory.sizes import format_bytes, parse_bytes

__all__ = [
    "StepMemory",
    "StepPrediction",
    "format_bytes",
    "free_memory",
    "largest_fitting",
    "measure_step",
    "parse_bytes",
    "predict_step",
]
