"""Memory of a training step against size, depth and slabs, and the largest cube that fits a card.

    OMP_NUM_THREADS=1 python benchmarks/memory_curves.py

Memory is the planner's, unpaired at batch 1, for a GPU without the workspace of cuDNN's
convolutions, and with older fakes in main memory:

- size and largest: the preset volumes. Except in naive, its depth of 9 changes no activations, so
  steps with 2 blocks are predicted, and the weights of 7 added (`check` predicts all 9, too).
  Between predicted sizes, memory is a + b n^2 + c n^3: voxels, and the faces where slabs overlap;
- depth: images of 256 pixels, width 58;
- slabs: the same at depth 9, and the preset volumes at 128^3;
- time: a step in slabs over one in lean without, alternating, in seconds of the CPU and not of the
  clock, as the machine may be shared: images of 256 pixels, width 58, depth 9, and the preset
  volumes at 64^3 with 2 blocks.

Writes results/memory-curves.json row by row, and goes on with what is missing; then results/
memory-curves.md and docs/images/memory.svg.
"""

import argparse
import functools
import json
import statistics
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from conditions import RESULTS, conditions
from whole_volumes import MODES, preset

from revgan.benchmark.recording import markdown_table
from revgan.benchmark.variants import random_batch
from revgan.figures import Panel, line_chart, save_figure
from revgan.files import write_text
from revgan.memory.fit import CUDA_MARGIN
from revgan.networks import GeneratorConfig
from revgan.training import (
    LossConfig,
    RunConfig,
    RuntimeConfig,
    Workload,
    make_accelerator,
    make_trainer,
    predict_training,
)

FIGURE = Path(__file__).parent.parent / "docs" / "images" / "memory.svg"
SIZES = {"float32": (64, 128, 192, 256, 512), "bf16": (128, 256, 512)}
FITTED = (128, 256, 512)
DEPTHS = (3, 9, 18, 30)
SLABS = (0, 2, 4, 8, 16, 32)
TIMED_SLABS = (4, 8, 16)
CARDS = (8, 16, 24, 40, 80)
"""GiB."""
REPEATS = {2: 4, 3: 4}
"""Steps of each, the first of which doesn't count."""
MIB, GIB = 2**20, 2**30


def volumes(size, precision, changes, depth=2):
    """The preset volumes on a GPU."""
    config = replace(
        preset("unpaired", depth=depth, **changes), runtime=RuntimeConfig("cuda", precision)
    )
    return Workload(config, size, 3, (1, 1), "cuda")


def images(size, width, depth, changes):
    """Images by the networks of the preset default."""
    config = RunConfig(
        generator=GeneratorConfig(width=width, depth=depth, **changes),
        losses=LossConfig(pool_size=0),
        runtime=RuntimeConfig("cuda", "float32"),
    )
    return Workload(config, size, 2, (3, 3), "cuda")


@functools.cache
def more_weights():
    """What 7 more blocks add, whatever the size: parameters, their gradients and moments."""
    deep, short = (
        predict_training(volumes(24, "float32", MODES["naive"], depth)) for depth in (9, 2)
    )
    parameters = deep.parameters - short.parameters
    return 2 * parameters + deep.optimizer_states - short.optimizer_states


def of_size(size, precision, mode):
    """Bytes of a step of the preset volumes."""
    if mode == "naive":  # which stores what each block makes
        return predict_training(volumes(size, precision, MODES[mode], depth=9)).total
    return predict_training(volumes(size, precision, MODES[mode])).total + more_weights()


def check():
    """A size at which all 9 blocks are predicted, too."""
    exact = predict_training(volumes(128, "float32", MODES["lean, 8 slabs"], depth=9)).total
    return {"short": of_size(128, "float32", "lean, 8 slabs"), "whole": exact}


def seconds(dims, slabs):
    """CPU seconds of a step in slabs over those in lean without, and both medians."""
    runtime = RuntimeConfig("cpu", "float32")
    accelerator = make_accelerator(runtime)
    steps, found = {}, {0: [], slabs: []}
    for count in found:
        how = {"memory": "lean", "slabs": count}
        if dims == 2:
            config, shape = images(256, 58, 9, how).config, (1, 3, 256, 256)
        else:
            config, shape = preset("unpaired", depth=2, **how), (1, 1, 64, 64, 64)
        trainer = make_trainer(config, dims, (shape[1],) * 2, accelerator, total=10**6)
        batch = random_batch(shape, accelerator.device)
        steps[count] = lambda trainer=trainer, batch=batch: trainer.step(batch, 0)
    for number in range(REPEATS[dims]):
        for count, step in steps.items():
            start = time.process_time()
            step()
            if number:  # the first one makes kernels and moments
                found[count].append(time.process_time() - start)
    lean, cut = (statistics.median(found[count]) for count in (0, slabs))
    return {"ratio": cut / lean, "lean_s": lean, "slabs_s": cut}


def rows():
    """All rows by part and name, as functions that find them."""
    found = {"check": {"128": check}, "size": {}, "depth": {}, "slabs": {}, "time": {}}
    for precision, sizes in SIZES.items():
        for size, mode in product(sizes, MODES):
            found["size"][f"{size} {precision} {mode}"] = lambda *, a=(size, precision, mode): (
                of_size(*a)
            )
    for depth, mode in product(DEPTHS, list(MODES)[:4]):
        found["depth"][f"{depth} {mode}"] = lambda *, d=depth, m=mode: (
            predict_training(images(256, 58, d, MODES[m])).peak
        )
    for count in SLABS:
        how = {"memory": "lean", "slabs": count}
        found["slabs"][f"images {count}"] = lambda *, h=how: (
            predict_training(images(256, 58, 9, h)).peak
        )
        found["slabs"][f"volumes {count}"] = lambda *, h=how: (
            predict_training(volumes(128, "float32", h)).activations
        )
    for dims, count in product((2, 3), TIMED_SLABS):
        found["time"][f"{dims}D {count}"] = lambda *, d=dims, c=count: seconds(d, c)
    return found


def record(path, parts):
    """Finds what a file lacks, and returns all."""
    content = json.loads(path.read_text()) if path.exists() else {"parts": {}}
    for part, wanted in rows().items():
        kept = content["parts"].setdefault(part, {})
        for name, find in wanted.items():
            if part not in parts or name in kept:
                continue
            kept[name] = find()
            content |= {
                **conditions("OMP_NUM_THREADS=1 python benchmarks/memory_curves.py"),
            }
            write_text(path, json.dumps(content, indent=1) + "\n")
            print(part, name, kept[name], flush=True)
    return content["parts"]


def largest(parts, precision, mode, budget):
    """The largest side, a multiple of 2, whose step takes at most so many bytes."""
    at = np.array(FITTED, float)
    needs = np.array([parts["size"][f"{size} {precision} {mode}"] for size in FITTED], float)
    a, b, c = np.linalg.solve(np.stack([at**0, at**2, at**3], axis=1), needs)
    sides = np.arange(24, 2049, 2, dtype=float)
    fitting = sides[a + b * sides**2 + c * sides**3 <= budget]
    return int(fitting.max()) if len(fitting) else None


def cube_table(parts):
    """The largest cube by card, mode and precision: with the planner's margin, and without."""
    heads = ["mode", "precision", *(f"{card} GiB" for card in CARDS)]
    lines = []
    for precision, mode in product(SIZES, MODES):
        cells = []
        for card in CARDS:
            budgets = int(card * GIB * (1 - CUDA_MARGIN)), card * GIB
            with_margin, without = (largest(parts, precision, mode, each) for each in budgets)
            cells.append(f"{with_margin} ({without})")
        lines.append([mode, precision, *cells])
    return markdown_table(heads, lines, left={"mode", "precision"})


def figure(parts):
    """Four panels."""
    sizes = {
        mode: [
            (size, parts["size"][f"{size} float32 {mode}"] / GIB)
            for size in SIZES["float32"]
            if size <= 256
        ]
        for mode in MODES
    }
    depths = {
        mode: [(depth, parts["depth"][f"{depth} {mode}"] / MIB) for depth in DEPTHS]
        for mode in list(MODES)[:4]
    }
    slabs = {
        "images": [(n, parts["slabs"][f"images {n}"] / parts["slabs"]["images 0"]) for n in SLABS],
        "volumes": [
            (n, parts["slabs"][f"volumes {n}"] / parts["slabs"]["volumes 0"]) for n in SLABS
        ],
    }
    times = {
        name: [
            (0, 1.0),
            *(
                (n, parts["time"][f"{key} {n}"]["ratio"])
                for n in TIMED_SLABS
                if f"{key} {n}" in parts["time"]
            ),
        ]
        for name, key in (("images", "2D"), ("volumes", "3D"))
    }
    panels = [
        [
            Panel("Size: preset volumes", "side of the cube", "a step's memory (GiB)", sizes),
            Panel("Depth: 256 pixels, width 58", "depth", "peak memory of a step (MiB)", depths),
        ],
        [
            Panel("Slabs: memory", "slabs", "memory over that of lean", slabs),
            Panel("Slabs: time on a CPU", "slabs", "CPU seconds over those of lean", times),
        ],
    ]
    return line_chart(panels, [*MODES, *slabs])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ["check", "size", "depth", "slabs", "time"]
    parser.add_argument("--parts", nargs="+", choices=names, default=names)
    parser.add_argument("--output", type=Path, default=RESULTS / "memory-curves.json")
    parser.add_argument("--figure", type=Path, default=FIGURE)
    options = parser.parse_args(arguments)
    parts = record(options.output, options.parts)
    memory = {part: wanted for part, wanted in rows().items() if part != "time"}
    if any(name not in parts[part] for part, wanted in memory.items() for name in wanted):
        return
    write_text(options.output.with_suffix(".md"), cube_table(parts) + "\n")
    save_figure(figure(parts), options.figure)


if __name__ == "__main__":
    main()
