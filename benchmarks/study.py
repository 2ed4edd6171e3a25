"""What makes a good recipe: variants of one training on real tiles, screened and then confirmed.

    OMP_NUM_THREADS=1 python benchmarks/study.py screen
    OMP_NUM_THREADS=1 python benchmarks/study.py report

Satellite to relief map and back on the Earth's tiles of 256 pixels (`earth.LARGE`, about 7 km a
pixel), crops of 64, batch 1, width 32, depth 6. One run after the other, on one core; where a
process ends early, the next one goes on from the run's checkpoint. Each finished run leaves its
options, scores of the validation tiles and curve in results/study/, and is not trained again.
Choices are made by the validation tiles; the test tiles are scored once, for the report.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
from conditions import RESULTS, conditions
from earth_runs import folder_name, markdown

from revgan.data import formats
from revgan.data.datasets.earth import LARGE, write_earth
from revgan.environment import cache_folder

OUT = RESULTS / "study"
STEPS = 4000
AS_IT_WAS = [
    "--preset=released-code",
    "--data.resize=null",
    "--generator.downsampling_padding=reflect",
    "--generator.exact=true",
]
"""The preset `default` before this study changed it."""

COMMON = [
    *AS_IT_WAS,
    "--data.crop=64",
    "--generator.width=32",
    "--generator.depth=6",
    "--generator.memory=naive",
    "--runtime.device=cpu",
    "--training.validate_every=400",
    "--training.validation_images=27",
    "--training.checkpoint_every=400",
    "--training.sample_every=4000",
]
RECIPE = [
    "--generator.norm=none",
    "--generator.init=kaiming",
    "--generator.identity_start=true",
    "--generator.upsampling=bilinear",
    "--generator.tanh=false",
]
"""What made paired pictures better (docs/presets.md)."""

BATCHES = [
    "--training.batch_size=4",
    "--optimizer.lr=0.0005",
    "--training.ema=0.99",
    "--generator.identity_start=true",
    "--generator.upsampling=bilinear",
]

VARIANTS = {
    "as by default": [],
    "average of weights 0.999": ["--training.ema=0.999"],
    "average of weights 0.99": ["--training.ema=0.99"],
    "learning rate 0.0005": ["--optimizer.lr=0.0005"],
    "learning rate 0.001": ["--optimizer.lr=0.001"],
    "upsampling nearest": ["--generator.upsampling=nearest"],
    "upsampling bilinear": ["--generator.upsampling=bilinear"],
    "upsampling subpixel": ["--generator.upsampling=subpixel"],
    "core starts as identity": ["--generator.identity_start=true"],
    "core not exact": ["--generator.exact=false"],
    "L1 weight 300": ["--losses.l1_weight=300"],
    "batch 4, learning rate 0.0005": ["--training.batch_size=4", "--optimizer.lr=0.0005"],
    "batch 4, learning rate 0.0005, batch norm": [
        "--training.batch_size=4",
        "--optimizer.lr=0.0005",
        "--generator.norm=batch",
    ],
    "batch 4, learning rate 0.0005, no norm": [
        "--training.batch_size=4",
        "--optimizer.lr=0.0005",
        "--generator.norm=none",
    ],
    "batch 4, learning rate 0.0005, no norm, He, identity, bilinear, no tanh": [
        "--training.batch_size=4",
        "--optimizer.lr=0.0005",
        *RECIPE,
    ],
    "batch 4, learning rate 0.0005, identity, bilinear, average of weights 0.99": BATCHES,
    "batch 4, learning rate 0.0005, identity, bilinear, average of weights 0.99, batch norm": [
        *BATCHES,
        "--generator.norm=batch",
    ],
    "core starts as identity, average of weights 0.99": [
        "--generator.identity_start=true",
        "--training.ema=0.99",
    ],
    "core starts as identity, bilinear, average of weights 0.99": [
        "--generator.identity_start=true",
        "--generator.upsampling=bilinear",
        "--training.ema=0.99",
    ],
    "no norm, He, identity, bilinear, no tanh": RECIPE,
    "no norm, He, identity, bilinear, no tanh, average of weights 0.99": [
        *RECIPE,
        "--training.ema=0.99",
    ],
    "no norm, He, identity, bilinear": [*RECIPE, "--generator.tanh=true"],
    "no norm, He, identity, bilinear, no tanh, learning rate 0.0005": [
        *RECIPE,
        "--optimizer.lr=0.0005",
        "--optimizer.warmup=100",
        "--training.ema=0.99",
    ],
    "crops of 128, learning rate 0.0005": ["--data.crop=128", "--optimizer.lr=0.0005"],
    "pix2pix of as many weights": ["--generator.model=resnet", "--generator.width=18"],
}
SEEDS = (0, 1)
DIRECTIONS = ("AtoB", "BtoA")


def train(
    name, options, seed, objective, steps, runs,
    out=OUT, program=("-m", "revgan"), data=None, scores=None, key=None,
):  # fmt: skip
    """Trains a run to its end, or goes on with it, and keeps what it shows in the folder `out`.

    `program` is what Python runs as `revgan`; `data` is a folder, by default the Earth's tiles;
    `scores` gives the PSNR of each part of the test, of the run and the direction, by default of
    each tile; `key` is the record's name, by default objective, name, steps and seed.
    """
    key = key or folder_name(objective, name, steps, seed)
    kept = out / f"{key}.json"
    if kept.exists():
        return
    run = runs / key
    data = data or write_earth(cache_folder(), paired=objective == "paired", layout=LARGE)
    scores = scores or partial(tile_scores, data)
    start = time.monotonic()
    if any(run.glob("checkpoints/step-*")):
        revgan("train", "--resume", run, program=program)
    else:
        revgan(
            "train", data, f"--run={run}", f"--objective={objective}", *options,
            f"--training.steps={steps}", f"--training.seed={seed}", program=program,
        )  # fmt: skip
    revgan("evaluate", run, "--device=cpu")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    result = {
        "name": name,
        "options": options,
        "seed": seed,
        "objective": objective,
        "steps": steps,
        **conditions(f"python benchmarks/{Path(sys.argv[0]).name}"),
        "hours": round((time.monotonic() - start) / 3600, 2),
        "validation": [line for line in lines if any("psnr" in key for key in line)],
        "test": json.loads((run / "scores.json").read_text())["test"],
        "tiles": {direction: scores(run, direction) for direction in DIRECTIONS},
    }
    out.mkdir(exist_ok=True)
    kept.write_text(json.dumps(result, indent=1) + "\n")
    print(key, flush=True)


def tile_scores(data, run, direction):
    """PSNR of each test tile in dB, for differences tile by tile."""
    truths = data / f"test{direction[-1]}"
    scores = {}
    for path in sorted((run / "results" / direction).iterdir()):
        there, truth = (formats.read(folder / path.name).values for folder in (path.parent, truths))
        error = np.square(there.astype(float) - truth).mean()
        scores[path.stem] = round(float(10 * np.log10(255**2 / error)), 3)
    return scores


def report():
    """Writes results/study.md: what each variant differs by from the first, tile by tile."""
    found = defaultdict(dict)
    for path in sorted(OUT.glob("*.json")):
        result = json.loads(path.read_text())
        found[result["objective"], result["steps"], result["name"]][result["seed"]] = result
    lines = []
    for (objective, steps, name), runs in found.items():
        first = (found[objective, steps, v] for v in VARIANTS if (objective, steps, v) in found)
        default = next(first, {})
        cells = [_validation(runs.values(), direction) for direction in DIRECTIONS]
        cells += [_difference(runs, default, direction) for direction in DIRECTIONS]
        lines.append([f"{objective}, {steps} steps: {name}", len(runs), *cells])
    heads = ["trained", "seeds", "A to B, val dB", "B to A, val dB", "A to B, test", "B to A, test"]
    (RESULTS / "study.md").write_text(markdown(heads, lines))


def _validation(runs, direction):
    return f"{statistics.mean(r['validation'][-1][f'psnr_{direction}'] for r in runs):.2f}"


def _difference(runs, default, direction):
    """The mean over tiles and seeds of the difference in dB, with its 95% bootstrap interval."""
    draws = np.random.default_rng(0)
    both = [(runs[s]["tiles"][direction], default[s]["tiles"][direction])
            for s in runs.keys() & default.keys()]  # fmt: skip
    if not both:
        return ""
    tiles = sorted(both[0][0])
    each = np.array([[ours[tile] - theirs[tile] for tile in tiles] for ours, theirs in both])
    picks = draws.integers(0, len(tiles), (2000, len(tiles)))
    low, high = np.percentile(each.mean(0)[picks].mean(1), (2.5, 97.5))
    return f"{each.mean():+.2f} ({low:+.2f} to {high:+.2f})"


def revgan(*arguments, program=("-m", "revgan")):
    command = [sys.executable, *program, *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["screen", "report"])
    parser.add_argument("--objective", default="paired", choices=["paired", "unpaired"])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--runs", type=Path, default=Path("runs/study"))
    options = parser.parse_args()
    if options.what == "report":
        report()
        return
    for seed in options.seeds:
        for name in options.only:
            recipe = [*COMMON, *VARIANTS[name]]
            train(name, recipe, seed, options.objective, options.steps, options.runs)


if __name__ == "__main__":
    main()
