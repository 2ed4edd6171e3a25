"""What a training step costs in memory: measured, and predicted without running it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from revgan.memory.sizes import format_bytes, parse_bytes

if TYPE_CHECKING:
    from revgan.memory.fit import free_memory, largest_fitting
    from revgan.memory.measure import StepMemory, measure_step
    from revgan.memory.predict import StepPrediction, predict_step

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

_HOMES = {
    "StepMemory": "measure",
    "StepPrediction": "predict",
    "free_memory": "fit",
    "largest_fitting": "fit",
    "measure_step": "measure",
    "predict_step": "predict",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # Imported on first use: sizes in bytes, and with them the help, do without PyTorch.
        if name in _HOMES:
            return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
