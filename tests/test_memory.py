"""Peaks of memory, counted from the allocator's events."""

import pytest
import torch
from accelerate import Accelerator

from revgan.memory import format_bytes, measure_step
from revgan.networks import PatchDiscriminator, RevGenerator
from revgan.reversible import AdditiveCoupling, ReversibleSequential
from revgan.training.batch import Batch
from revgan.training.config import LossConfig, OptimizerConfig
from revgan.training.objectives import Players, build_objective
from revgan.training.step import Trainer

MIB = 2**20


def test_peak_is_what_is_alive_at_once_and_retained_what_is_left():
    kept = []

    def step():
        a = torch.empty(MIB, dtype=torch.uint8)
        b = torch.empty(2 * MIB, dtype=torch.uint8)
        del a
        kept.append(torch.empty(MIB // 2, dtype=torch.uint8))
        del b
        torch.empty(MIB, dtype=torch.uint8)

    memory = measure_step(step)
    assert memory.peak == 3 * MIB
    assert memory.retained == MIB // 2


def test_other_devices_are_refused():
    with pytest.raises(ValueError, match="cpu and cuda"):
        measure_step(lambda: None, "meta")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_peak_on_cuda():
    memory = measure_step(lambda: torch.empty(MIB, dtype=torch.uint8, device="cuda"), "cuda")
    assert (memory.peak, memory.retained) == (MIB, 0)


def unpaired_step(depth: int, memory: str, size: int = 128):
    objective = build_objective("unpaired", LossConfig())
    players = Players(
        RevGenerator(width=32, depth=depth, memory=memory),
        PatchDiscriminator(),
        PatchDiscriminator(),
    )
    trainer = Trainer(players, objective, OptimizerConfig(), 10, 0, Accelerator(cpu=True))
    batch = Batch(*(torch.rand(1, 3, size, size) * 2 - 1 for _ in range(2)))
    trainer.step(batch, 0)  # optimizer states stay allocated between steps from now on
    return lambda: trainer.step(batch, 1)


@pytest.mark.parametrize(
    ("memory", "depth", "limit"),
    [("reversible", 6, 40), ("reversible", 30, 55), ("lean", 6, 33), ("lean", 30, 33)],
)
def test_an_unpaired_step_at_128_pixels_stays_below_its_limit(memory, depth, limit):
    # 38.5, 52.0, 31.2 and 31.8 MiB as measured; a tenth more would be an activation too many.
    assert measure_step(unpaired_step(depth, memory)).peak <= limit * MIB


@pytest.mark.parametrize("autocast", ["off", "forward", "forward and backward"])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_the_cores_activations_do_not_grow_with_depth(direction, autocast):
    def step(depth: int):
        def function():
            conv = torch.nn.Conv2d(8, 8, 3, padding=1).requires_grad_(False)
            torch.nn.init.normal_(conv.weight, std=0.02)  # 60 blocks of wilder ones leave the range
            return conv

        blocks = [AdditiveCoupling(function(), function()) for _ in range(depth)]
        core = ReversibleSequential(*blocks)
        x = torch.randn(1, 16, 64, 64, requires_grad=True)

        def run():
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast != "off"):
                y = core(x) if direction == "forward" else core.inverse(x)
                if autocast == "forward and backward":
                    y.sum().backward()
            if autocast != "forward and backward":
                y.sum().backward()

        run()  # the gradient of x stays allocated from now on
        return run

    peaks = [measure_step(step(depth)).peak for depth in (6, 12, 30, 60)]
    # Each step's node in the graph takes some hundred bytes: far below the 128 KiB of one half.
    assert max(peaks) <= min(peaks) + 25 * 2**10


@pytest.mark.parametrize(
    ("count", "text"),
    [(2**20, "1.0 MiB"), (220.4 * 2**20, "220 MiB"), (12 * 2**30, "12.0 GiB")],
)
def test_bytes_read_well(count, text):
    assert format_bytes(count) == text
