"""What a training step costs: measured peaks of allocated memory."""

from revgan.memory.measure import StepMemory, measure_step
from revgan.memory.sizes import format_bytes, parse_bytes

__all__ = ["StepMemory", "format_bytes", "measure_step", "parse_bytes"]
