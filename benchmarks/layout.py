"""What the layout of the weights does to a training step: channels last, as we have it, or first.

    python benchmarks/layout.py

Both take turns, so that noise on the machine meets them alike. Writes results/layout-cpu.json.
"""

import json
import statistics
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from conditions import conditions

from revgan.networks import GeneratorConfig
from revgan.training.batch import Batch
from revgan.training.config import RunConfig
from revgan.training.setup import make_trainer

TURNS, STEPS = 6, 3
LAYOUTS = {"channels last": torch.channels_last, "channels first": torch.contiguous_format}


def make_step(size, depth, memory, layout):
    config = RunConfig(generator=GeneratorConfig(width=32, depth=depth, memory=memory))
    trainer = make_trainer(config, 2, (3, 3), Accelerator(cpu=True), total=1000)
    players = trainer.players
    for network in (players.generator, players.judge_a, players.judge_b):
        network.to(memory_format=layout)
    batch = Batch(*(torch.rand(1, 3, size, size) * 2 - 1 for _ in range(2)))
    return lambda: trainer.step(batch, 0)


def measure(size, depth, memory):
    steps = {name: make_step(size, depth, memory, layout) for name, layout in LAYOUTS.items()}
    seconds = {name: [] for name in steps}
    for _ in range(TURNS):
        for name, step in steps.items():
            step()
            for _ in range(STEPS):
                start = time.perf_counter()
                step()
                seconds[name].append(time.perf_counter() - start)
    medians = {name: round(statistics.median(times), 4) for name, times in seconds.items()}
    return {"size": size, "depth": depth, "memory": memory, "median_s": medians}


def main():
    rows = []
    for size, depth in ((128, 6), (128, 30)):
        for memory in ("naive", "reversible"):
            rows.append(measure(size, depth, memory))
            print(rows[-1], flush=True)
    result = {
        **conditions("python benchmarks/layout.py"),
        "what": "seconds per unpaired step, batch 1, width 32, float32",
        "rows": rows,
    }
    path = Path(__file__).parent / "results" / "layout-cpu.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
