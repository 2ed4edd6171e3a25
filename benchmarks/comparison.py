"""RevGAN against pix2pix and CycleGAN at equal parameter counts, on real data.

    python benchmarks/comparison.py --steps 2000 --seeds 0 1

Trains each model on the Earth tiles, 64 x 64 pixels, with the same settings, seeds and steps, and
scores it on the held-out tiles. The widths are those of the paper's dagger rows in Table 2. Runs
that are there already are resumed, or not trained again. Writes results/comparison-cpu.json and
results/comparison-cpu.md.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from datetime import date
from pathlib import Path

import torch

from revgan.evaluation.report import cpu_model, library_versions

COMMON = ["--data.crop=64", "--generator.depth=6", "--runtime.device=cpu"]
MODELS = {
    "RevGAN, paired": ["--objective=paired", "--generator.width=56"],
    "pix2pix": ["--objective=paired", "--generator.model=resnet", "--generator.width=32"],
    "RevGAN, unpaired": ["--objective=unpaired", "--generator.width=56"],
    "CycleGAN": ["--objective=unpaired", "--generator.model=resnet", "--generator.width=32"],
}
SCORES = {"psnr": ("PSNR (dB)", 2), "ssim": ("SSIM", 3), "mae": ("MAE (of 255)", 2)}


def revgan(*arguments):
    command = [sys.executable, "-m", "revgan", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def train_and_score(name, seed, steps, runs):
    run = runs / f"{name.replace(', ', '-')}-{seed}"
    if not (run / "scores.json").exists():
        if any(run.glob("checkpoints/step-*")):
            revgan("train", "--resume", run, f"--training.steps={steps}")
        else:
            options = [*COMMON, *MODELS[name], f"--training.steps={steps}"]
            revgan("train", "earth", "--run", run, *options, f"--training.seed={seed}")
        revgan("evaluate", run, "--device=cpu")
    speed = [json.loads(line)["images_per_s"] for line in (run / "metrics.jsonl").open()]
    scores = json.loads((run / "scores.json").read_text())
    return {
        "model": name,
        "seed": seed,
        "seconds_per_step": round(1 / statistics.median(speed), 3),
        "test": scores["test"],
        "round_trip": scores["round_trip"],
    }


def table(results):
    """The mean over the seeds of each score, with the seeds' own values."""
    values = defaultdict(list)
    for row in results:
        for score in row["test"]:
            reference = score["method"] in ("input unchanged", "mean training colour")
            method = score["method"] if reference else row["model"]
            for name in SCORES:
                values[score["direction"], method, name].append(score[name])
    lines = ["| direction | model | " + " | ".join(h for h, _ in SCORES.values()) + " |"]
    lines.append("| --- | --- |" + " ---: |" * len(SCORES))
    for direction, method in sorted(dict.fromkeys((d, m) for d, m, _ in values), key=_order):
        cells = []
        for name, (_, digits) in SCORES.items():
            found = values[direction, method, name]
            cell = f"{statistics.mean(found):.{digits}f}"
            if method in MODELS and len(found) > 1:
                cell += f" ({', '.join(f'{value:.{digits}f}' for value in found)})"
            cells.append(cell)
        lines.append(f"| {direction} | {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _order(row):
    direction, method = row
    names = [*MODELS, "mean training colour", "input unchanged"]
    return direction, names.index(method)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--runs", type=Path, default=Path("runs/comparison"))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    results = []
    for seed in options.seeds:
        for name in MODELS:
            results.append(train_and_score(name, seed, options.steps, options.runs))
            print(name, seed, flush=True)
            content = {
                "command": f"python benchmarks/comparison.py --steps {options.steps} --seeds "
                + " ".join(map(str, options.seeds)),
                "date": date.today().isoformat(),
                "machine": f"{cpu_model()}, {torch.get_num_threads()} threads",
                "versions": library_versions(),
                "steps": options.steps,
                "settings": COMMON,
                "models": MODELS,
                "results": results,
            }
            text = json.dumps(content, indent=2) + "\n"
            (options.output / "comparison-cpu.json").write_text(text)
            (options.output / "comparison-cpu.md").write_text(table(results))


if __name__ == "__main__":
    main()
