"""What each variant of the paper's design does to a training on real data.

    OMP_NUM_THREADS=1 python benchmarks/variants.py --steps 300

Trains the preset demo, paired on the Earth tiles of 64 x 64 pixels, with one option changed at a
time, and scores it on the held-out tiles. One seed each, so that differences of some tenths of a dB
mean nothing. Runs that are there already are not trained again. Writes results/variants-cpu.json
and results/variants-cpu.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path

from revgan.evaluation.report import cpu_model, library_versions

VARIANTS = {
    "as in the preset": [],
    "coupling affine": ["--generator.coupling=affine"],
    "subpixel down and up": [
        "--generator.downsampling=subpixel",
        "--generator.upsampling=subpixel",
    ],
    "upsampling nearest": ["--generator.upsampling=nearest"],
    "upsampling bilinear": ["--generator.upsampling=bilinear"],
    "core ode, depth 2": ["--generator.core=ode", "--generator.depth=2"],
    "consensus 0.0001": ["--losses.consensus_weight=0.0001", "--generator.memory=naive"],
    "downsampling padding zeros": ["--generator.downsampling_padding=zeros"],
    "norm batch": ["--generator.norm=batch", "--discriminator.norm=batch"],
    "norm none": ["--generator.norm=none", "--discriminator.norm=none"],
    "dropout 0.5": ["--generator.dropout=0.5"],
    "init xavier": ["--generator.init=xavier", "--discriminator.init=xavier"],
    "init kaiming": ["--generator.init=kaiming", "--discriminator.init=kaiming"],
    "init orthogonal": ["--generator.init=orthogonal", "--discriminator.init=orthogonal"],
    "loss cross entropy": ["--losses.adversarial=cross-entropy"],
    "loss behind a Sigmoid": ["--losses.adversarial=least-squares-sigmoid"],
    "discriminator paper": ["--discriminator.form=paper"],
    "learning rate 0.002": ["--optimizer.lr=0.002"],
    "exact false": ["--generator.exact=false"],
    "model resnet (pix2pix)": ["--generator.model=resnet", "--generator.memory=naive"],
}


def train_and_score(name, options, steps, runs):
    run = runs / name.replace(" ", "-").replace("(", "").replace(")", "").replace(",", "")
    row = {"variant": name, "options": options}
    if not (run / "scores.json").exists():
        command = ["demo", "--run", run, f"--training.steps={steps}", "--runtime.device=cpu"]
        command = [sys.executable, "-m", "revgan", *map(str, command), *options]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            return row | {"failure": result.stderr.strip().splitlines()[-1]}
    speed = [json.loads(line)["images_per_s"] for line in (run / "metrics.jsonl").open()]
    row["images_per_s"] = statistics.median(speed)
    for score in json.loads((run / "scores.json").read_text())["test"]:
        if score["method"] in ("RevGAN", "pix2pix"):
            row[score["direction"]] = {name: score[name] for name in ("psnr", "ssim", "mae")}
    return row


def table(rows):
    heads = ["variant", "A to B, dB", "SSIM", "B to A, dB", "SSIM", "images/s"]
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for row in rows:
        if "failure" in row:
            lines.append(f"| {row['variant']} | failed: {row['failure']} | | | | |")
            continue
        cells = [f"{row[d][name]:.{n}f}" for d in ("AtoB", "BtoA") for name, n in METRICS]
        lines.append(f"| {row['variant']} | {' | '.join(cells)} | {row['images_per_s']:.1f} |")
    return "\n".join(lines) + "\n"


METRICS = (("psnr", 1), ("ssim", 3))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--runs", type=Path, default=Path("runs/variants"))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    rows = []
    for name, changes in VARIANTS.items():
        rows.append(train_and_score(name, changes, options.steps, options.runs))
        print(rows[-1], flush=True)
        content = {
            "command": f"python benchmarks/variants.py --steps {options.steps}",
            "date": date.today().isoformat(),
            "machine": f"{cpu_model()}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}",
            "versions": library_versions(),
            "results": rows,
        }
        text = json.dumps(content, indent=2) + "\n"
        (options.output / "variants-cpu.json").write_text(text)
        (options.output / "variants-cpu.md").write_text(table(rows))


if __name__ == "__main__":
    main()
