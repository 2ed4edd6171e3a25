"""Measures one call's peak memory, from the allocator's own records."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch.profiler import ProfilerActivity, profile

# The profiler announces each start and stop on stderr unless its log level is raised.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a call allocated.

    Attributes:
        peak: the most that was allocated at one moment, above what was held before the call.
        retained: what the call allocated and didn't free.
    """

    peak: int
    retained: int


def measure_step(step: Callable[[], object], device: torch.device | str = "cpu") -> StepMemory:
    """Runs `step` once and measures its memory.

    Call a training step once before measuring it, so that optimizer states, which stay allocated
    between steps, exist already. On the CPU, freeing memory from before the call isn't counted.

    Args:
        step: takes no arguments; allocations of all threads count.
        device: whose memory is measured: the CPU's, from the allocator's events as the profiler
            records them, or a CUDA device's, from PyTorch's caching allocator.

    Raises:
        ValueError: neither a CPU nor a CUDA device.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return _measure_cuda(step, device)
    if device.type != "cpu":
        raise ValueError(f"memory can be measured on cpu and cuda devices, not on {device.type}")
    return _measure_cpu(step)


def _measure_cpu(step: Callable[[], object]) -> StepMemory:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    # The public event list drops allocations outside operators; the raw one has them all.
    results = profiler.profiler.kineto_results
    changes = sorted(
        (event.start_ns(), event.nbytes())
        for event in results.events()
        if event.name() == "[memory]" and event.device_type() == torch.profiler.DeviceType.CPU
    )
    levels = list(accumulate((nbytes for _, nbytes in changes), initial=0))
    return StepMemory(peak=max(levels), retained=levels[-1])


def _measure_cuda(step: Callable[[], object], device: torch.device) -> StepMemory:
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device)
    return StepMemory(peak - before, torch.cuda.memory_allocated(device) - before)
