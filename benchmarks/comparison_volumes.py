"""RevGAN against pix2pix in 3D at equal parameter counts: T1 to grey matter and back.

    OMP_NUM_THREADS=1 python benchmarks/comparison_volumes.py

The set `brain`, cubes of 32 voxels, depth 6, one downsampling; RevGAN of width 18 has 281,522
weights, two ResNets of width 10 have 281,922. All else, steps and seeds are the same for both. The
test is the front of the brain, which training never saw: the PSNR of each of its cubes of 24 voxels
of which at least a quarter is brain (T1 above 0). Differences are
RevGAN's minus pix2pix's, cube by cube and seed by seed; their intervals draw cubes and seeds anew,
95%. The cubes are parts of one brain, so the intervals hold for that one. Runs go on where they
stopped, and what is recorded in results/comparison/ is not trained again. Writes
results/comparison-volumes-cpu.md.
"""

import argparse
import statistics
from itertools import product
from pathlib import Path

import numpy as np
import study
from comparison import OUT, difference, found, psnr
from earth_runs import RESULTS, folder_name, markdown

from revgan.data import formats
from revgan.data.datasets.brain import write_brain
from revgan.environment import cache_folder

STEPS = 400
CUBE = 24
COMMON = [
    "--preset=volumes",
    "--data.spacing=[1,1,1]",
    "--data.intensity_a=percentiles-per-scan",
    "--data.low_a=0.5",
    "--data.high_a=99.5",
    "--data.intensity_b=range",
    "--data.low_b=0",
    "--data.high_b=255",
    "--data.crop=32",
    "--data.crops_per_volume=50",
    "--generator.depth=6",
    "--generator.tanh=false",
    "--generator.upsampling=bilinear",
    "--generator.memory=naive",
    "--discriminator.width=16",
    "--losses.l1_weight=150",
    "--optimizer.lr=0.0005",
    "--optimizer.beta2=0.999",  # as the preset had it
    "--optimizer.warmup=50",
    "--training.ema=0.99",
    "--training.batch_size=2",
    "--training.validate_every=null",
    "--training.checkpoint_every=100",
    "--training.sample_every=4000",
    "--runtime.device=cpu",
]
MODELS = {
    "RevGAN": ["--generator.width=18"],
    "pix2pix": ["--generator.model=resnet", "--generator.width=10"],
}
BEFORE = [
    *MODELS["RevGAN"],
    "--generator.tanh=true",
    "--generator.upsampling=transposed",
    "--losses.l1_weight=100",
    "--optimizer.lr=0.0002",
    "--optimizer.warmup=0",
    "--training.ema=null",
]
"""As pairs had it before there was the preset `volume-pairs`."""

TITLES = {"AtoB": "T1 to grey matter", "BtoA": "grey matter to T1"}


def brain():
    return write_brain(cache_folder(), task="gray-matter")


def cubes(run, direction):
    """PSNR in dB of each of the test's cubes, by its place."""
    target = brain() / f"test{direction[-1]}"
    made, truth, t1 = (
        formats.read(next(folder.iterdir())).values[0].astype(float)
        for folder in (run / "results" / direction, target, brain() / "testA")
    )
    scores = {}
    for place in product(*(range(0, size - CUBE + 1, CUBE) for size in truth.shape)):
        cube = tuple(slice(start, start + CUBE) for start in place)
        if (t1[cube] > 0).mean() >= 0.25:
            error = np.square(made[cube] - truth[cube]).mean()
            scores[" ".join(map(str, place))] = round(float(10 * np.log10(255**2 / error)), 3)
    return scores


def report():
    """Writes the table of what has records."""
    records = found("volumes", steps=STEPS)
    lines = []
    for direction, title in TITLES.items():
        for name, runs in records.items():
            tests = [
                score
                for run in runs.values()
                for score in run["test"]
                if (score["direction"], score["method"]) == (direction, name)
            ]
            shown = ", ".join(f"{test['psnr']:.2f}" for test in tests)
            whole = f"{statistics.mean(test['psnr'] for test in tests):.2f} ({shown})"
            ssim = f"{statistics.mean(test['ssim'] for test in tests):.3f}"
            lines.append([f"{title}: {name}", whole, ssim, f"{psnr(runs, direction).mean():.2f}"])
        if len(records) == len(MODELS):
            both = set.intersection(*(set(runs) for runs in records.values()))
            ours, theirs = (
                psnr({seed: records[name][seed] for seed in both}, direction) for name in MODELS
            )
            mean, low, high = difference(ours, theirs)
            said = f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
            lines.append([f"{title}: {' minus '.join(MODELS)}", "", "", said])
    heads = ["direction and model", "PSNR (dB) of the volume", "SSIM", "PSNR (dB) of cubes"]
    (RESULTS / "comparison-volumes-cpu.md").write_text(markdown(heads, lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--runs", type=Path, default=Path("runs/comparison-volumes"))
    parser.add_argument("--before", action="store_true", help="also RevGAN by the older preset")
    options = parser.parse_args()
    if options.before:
        study.train(
            "RevGAN", [*COMMON, *BEFORE], 0, "paired", STEPS, options.runs, OUT,
            data=brain(), scores=cubes, key=folder_name("before volumes", "RevGAN", STEPS, 0),
        )  # fmt: skip
    for seed, name in product(options.seeds, options.models):
        study.train(
            name, [*COMMON, *MODELS[name]], seed, "paired", STEPS, options.runs, OUT,
            data=brain(), scores=cubes, key=folder_name("volumes", name, STEPS, seed),
        )  # fmt: skip
        report()
    report()


if __name__ == "__main__":
    main()
