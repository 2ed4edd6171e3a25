"""Trains paired and unpaired RevGAN on the two photo tasks, and writes their scores and figures.

    OMP_NUM_THREADS=1 python benchmarks/tasks.py

The tasks stand in for the paper's Maps (`earth`: satellite against relief map) and Cityscapes
(`earth-labels`: satellite against flat class colours), which can't be downloaded everywhere. Runs
go to runs/tasks, from where an interrupted script goes on; what docs/results.md shows goes to
benchmarks/results/tasks-cpu and docs/images.
"""

import json
import subprocess
import sys
from pathlib import Path

from conditions import RESULTS, conditions

OBJECTIVES = ("paired", "unpaired")
STEPS = 600
RUNS = Path("runs/tasks")
IMAGES = Path(__file__).parent.parent / "docs/images"
SCORES = {
    "earth": ["--distribution", "random"],
    "earth-labels": ["--segmenter", "unet", "--distribution", "random", "segmenter"],
}
"""What is scored beside MAE, PSNR, SSIM, the round trip and, of labels, nearest colours."""


def main():
    out = RESULTS / "tasks-cpu"
    out.mkdir(exist_ok=True)
    commands = []

    def revgan(*arguments, resume=None):
        commands.append(" ".join(map(str, ("revgan", *arguments))))
        print(commands[-1], flush=True)
        if resume is not None:  # to the same bits
            arguments = ("train", "--resume", resume)
        subprocess.run([sys.executable, "-m", "revgan", *map(str, arguments)], check=True)

    for data, scores in SCORES.items():
        runs = [RUNS / f"{data}-{objective}" for objective in OBJECTIVES]
        names = ["--names", *OBJECTIVES]
        for run, objective in zip(runs, OBJECTIVES, strict=True):
            options = ["--preset", "demo", "--objective", objective, "--training.steps", STEPS]
            begun = run if any(run.glob("checkpoints/step-*")) else None
            tiles = f"{data}-small"
            revgan("train", tiles, *options, "--run", run, resume=begun)
        tables = [out / f"{data}.{kind}" for kind in ("md", "csv", "json", "tex")]
        revgan("evaluate", *runs, *names, *scores, "--table", *map(_relative, tables))
        for direction in ("AtoB", "BtoA"):
            figure = IMAGES / f"{data}-{direction}.png"
            revgan("figure", *runs, *names, "--direction", direction, "--output", _relative(figure))
    facts = {
        **conditions("OMP_NUM_THREADS=1 python benchmarks/tasks.py"),
        "commands": commands,
    }
    (out / "made-by.json").write_text(json.dumps(facts, indent=2) + "\n")


def _relative(path):
    return path.resolve().relative_to(Path.cwd())


if __name__ == "__main__":
    main()
