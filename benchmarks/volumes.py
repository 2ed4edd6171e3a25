"""How large a cube fits into 24 GB, and what depth costs, in 3D.

    python benchmarks/volumes.py

By the planner, for the preset volumes at width 32 and depth 16: the largest cube in each memory
mode. And measured, for cubes of 32 at width 8: what one forward pass of the core leaves for the
backward pass, over depth. Writes results/volumes-cpu.json and .md.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
from conditions import conditions

from revgan.memory import measure_step
from revgan.networks import RevGenerator

MODES = ("naive", "reversible", "lean")
SETTING = ["--preset=volumes", "--generator.width=32", "--generator.depth=16"]
PAPER_3D = {"downsamplings": 0, "first_kernel": 3, "last_kernel": 1, "identity_start": True}
MIB = 2**20


def planned(memory):
    """What `revgan plan` says of a mode, for float32 on the CPU."""
    command = [sys.executable, "-m", "revgan", "plan", *SETTING, "--json", "--memory-budget=24GB"]
    command += [f"--generator.memory={memory}", "--runtime.device=cpu"]
    plan = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {
        "memory": memory,
        "largest_cube": plan["largest"]["size"],
        "cube_of_64_bytes": plan["training"][memory]["total"],
    }


def retained(depth, memory):
    """Bytes that the core of the paper's 3D model keeps of a forward pass, output included."""
    net = RevGenerator(3, 1, 1, width=8, depth=depth, memory=memory, **PAPER_3D)
    x = torch.randn(1, 8, 32, 32, 32, requires_grad=True)
    graph = []
    return measure_step(lambda: graph.append(net.core(x.clone()))).retained


def main():
    plans = [planned(memory) for memory in MODES]
    modes = ("naive", "reversible")
    depths = [{"depth": d, **{m: retained(d, m) for m in modes}} for d in (4, 8, 16, 32, 64)]
    lines = ["| memory | largest cube in 24 GB | a cube of 64 takes |", "| --- | ---: | ---: |"]
    lines += [
        f"| {p['memory']} | {p['largest_cube']} | {p['cube_of_64_bytes'] / MIB:.0f} MiB |"
        for p in plans
    ]
    lines += ["", "| depth | naive | reversible |", "| ---: | ---: | ---: |"]
    lines += [
        f"| {r['depth']} | {r['naive'] / MIB:.1f} MiB | {r['reversible'] / MIB:.1f} MiB |"
        for r in depths
    ]
    content = {
        **conditions("python benchmarks/volumes.py"),
        "setting": SETTING,
        "plans": plans,
        "core": depths,
    }
    folder = Path(__file__).parent / "results"
    (folder / "volumes-cpu.json").write_text(json.dumps(content, indent=2) + "\n")
    (folder / "volumes-cpu.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
