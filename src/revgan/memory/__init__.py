"""What a training step costs: measured peaks of allocated memory."""

from revgan.memory.measure import StepMemory, format_bytes, measure_step

__all__ = ["StepMemory", "format_bytes", "measure_step"]
