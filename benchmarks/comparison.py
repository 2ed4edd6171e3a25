"""RevGAN against pix2pix and CycleGAN at equal parameter counts, on real data.

    OMP_NUM_THREADS=1 python benchmarks/comparison.py --steps 2000 --seeds 0 1

Trains each model on the Earth tiles, 64 x 64 pixels, with the same settings, seeds and steps, and
scores it on the held-out tiles. The widths are those of the paper's dagger rows in Table 2. Runs
that are there already are not trained again. Writes results/comparison-cpu.json and .md.
"""

import argparse
import statistics
from collections import defaultdict
from pathlib import Path

from earth_runs import REFERENCES, folder_name, markdown, train_and_score, write_results

COMMON = ["--data.crop=64", "--generator.depth=6", "--runtime.device=cpu"]
MODELS = {
    "RevGAN, paired": ["--objective=paired", "--generator.width=56"],
    "pix2pix": ["--objective=paired", "--generator.model=resnet", "--generator.width=32"],
    "RevGAN, unpaired": ["--objective=unpaired", "--generator.width=56"],
    "CycleGAN": ["--objective=unpaired", "--generator.model=resnet", "--generator.width=32"],
}
DIRECTIONS = {"AtoB": "satellite to map", "BtoA": "map to satellite"}
SCORES = {"psnr": ("PSNR (dB)", 2), "ssim": ("SSIM", 3), "mae": ("MAE (of 255)", 2)}


def table(rows):
    """The mean over the seeds of each score, with the seeds' own values."""
    values = defaultdict(list)
    for row in rows:
        for score in row["test"]:
            method = score["method"] if score["method"] in REFERENCES else row["model"]
            for name in SCORES:
                values[score["direction"], method, name].append(score[name])
    lines = []
    for direction, title in DIRECTIONS.items():
        for method in (*MODELS, *reversed(REFERENCES)):
            if (direction, method, "psnr") in values:
                seeds = method in MODELS  # a reference needs no training
                cells = (_cell(values[direction, method, name], name, seeds) for name in SCORES)
                lines.append([f"{title}: {method}", *cells])
    return markdown(["direction and model", *(title for title, _ in SCORES.values())], lines)


def _cell(values, name, seeds):
    digits = SCORES[name][1]
    mean = f"{statistics.mean(values):.{digits}f}"
    if not seeds or len(values) == 1:
        return mean
    return f"{mean} ({', '.join(f'{value:.{digits}f}' for value in values)})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--runs", type=Path, default=Path("runs/comparison"))
    options = parser.parse_args()
    seeds = " ".join(map(str, options.seeds))
    command = f"python benchmarks/comparison.py --steps {options.steps} --seeds {seeds}"
    rows = []
    for seed in options.seeds:
        for name, model in MODELS.items():
            run = options.runs / folder_name(name, options.steps, seed)
            training = [f"--training.steps={options.steps}", f"--training.seed={seed}"]
            scores = train_and_score(run, [*COMMON, *model, *training])
            rows.append({"model": name, "seed": seed, "options": [*COMMON, *model], **scores})
            print(name, seed, flush=True)
            write_results("comparison-cpu", command, rows, table(rows))


if __name__ == "__main__":
    main()
