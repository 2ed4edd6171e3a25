"""Memory and time of one training step, naive against reversible, on this machine.

    python benchmarks/step.py --output benchmarks/results/step-cpu.json

Both modes take turns, step by step, so that noise on the machine meets both alike. Memory is the
peak above what is held between steps; time is the median over the timed steps.
"""

import argparse
import json
import statistics
import time
from datetime import date
from pathlib import Path

import torch
from accelerate import Accelerator

from revgan.evaluation.report import library_versions
from revgan.memory import measure_step
from revgan.networks import PatchDiscriminator, RevGenerator
from revgan.training.config import OptimizerConfig
from revgan.training.objectives import Batch, LossConfig, Players, build_objective
from revgan.training.step import Trainer

MODES = ("naive", "reversible")


def make_step(objective, mode, size, width, depth, accelerator):
    torch.manual_seed(0)
    losses = build_objective(objective, LossConfig())
    judged = losses.judged_channels(3, 3)
    networks = (
        RevGenerator(width=width, depth=depth, memory=mode),
        PatchDiscriminator(in_channels=judged),
        PatchDiscriminator(in_channels=judged),
    )
    players = Players(*(network for network in networks))
    trainer = Trainer(players, losses, OptimizerConfig(), 1000, 0, accelerator)
    images = [torch.rand(1, 3, size, size, device=accelerator.device) * 2 - 1 for _ in range(2)]
    batch = Batch(*images)

    def step():
        trainer.step(batch, 0)
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize()

    return step


def measure(objective, size, width, depth, repeats, accelerator):
    steps = {mode: make_step(objective, mode, size, width, depth, accelerator) for mode in MODES}
    peaks, seconds = {}, {mode: [] for mode in MODES}
    for mode, step in steps.items():
        step()
        peaks[mode] = measure_step(step, accelerator.device).peak
    for _ in range(repeats):
        for mode, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[mode].append(time.perf_counter() - start)
    return [
        {
            "objective": objective,
            "size": size,
            "width": width,
            "depth": depth,
            "memory": mode,
            "peak_mib": round(peaks[mode] / 2**20, 1),
            "median_s": round(statistics.median(seconds[mode]), 4),
            "fastest_s": round(min(seconds[mode]), 4),
        }
        for mode in MODES
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128])
    parser.add_argument("--widths", type=int, nargs="+", default=[32])
    parser.add_argument("--depths", type=int, nargs="+", default=[6, 30])
    options = parser.parse_args()
    accelerator = Accelerator()
    rows = []
    for objective in ("unpaired", "paired"):
        for size in options.sizes:
            for width in options.widths:
                for depth in options.depths:
                    rows += measure(objective, size, width, depth, options.repeats, accelerator)
                    print(*rows[-2:], sep="\n", flush=True)
    result = {
        "command": "python benchmarks/step.py",
        "options": {key: value for key, value in vars(options).items() if key != "output"},
        "date": date.today().isoformat(),
        "versions": library_versions(),
        "rows": rows,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
