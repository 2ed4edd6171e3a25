"""Does memory, or the number of open files, grow while revgan works for long?

    OMP_NUM_THREADS=1 python benchmarks/flatness.py

Trains 10,000 steps (width 4, with two loader processes, checkpoints, validation and pictures), and
translates 5,000 images of random sizes in one process. Meanwhile, its resident memory and its open
files are read once a second. Writes results/flatness-cpu.json: their largest values in each
tenth of the work.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from conditions import conditions
from PIL import Image

STEPS, FILES, PARTS = 10_000, 5_000, 10
SIDES = (16, 200)
"""Of the images to translate."""

TRAINING = {
    "data.crop": 32,
    "generator.width": 4,
    "generator.depth": 1,
    "generator.memory": "reversible",
    "discriminator.width": 4,
    "training.ema": 0.99,
    "training.log_every": 10,
    "training.checkpoint_every": 100,
    "training.validate_every": 200,
    "training.validation_images": 2,
    "training.sample_every": 500,
    "runtime.device": "cpu",
    "runtime.workers": 2,
}


def write_images(folder, count, sides):
    folder.mkdir(parents=True)
    draws = np.random.default_rng(count)
    for number in range(count):
        shape = (*draws.integers(sides[0], sides[1] + 1, size=2), 3)
        pixels = draws.integers(256, size=shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png", compress_level=1)


def watched(arguments, done, total):
    """The largest memory (MiB) and number of open files in each tenth of a command's work.

    Args:
        arguments: of revgan.
        done: tells how much of the work is done.
        total: of the work.
    """
    process = subprocess.Popen([sys.executable, "-m", "revgan", *map(str, arguments)])
    about = psutil.Process(process.pid)
    tenths = [{"memory": 0.0, "files": 0} for _ in range(PARTS)]
    while process.poll() is None:
        time.sleep(1)
        part = tenths[min(PARTS - 1, done() * PARTS // total)]
        try:
            memory, files = about.memory_info().rss / 2**20, about.num_fds()
        except psutil.Error:  # it has just ended
            break
        part["memory"] = round(max(part["memory"], memory), 1)
        part["files"] = max(part["files"], files)
    if process.wait():
        sys.exit(f"revgan {arguments[0]} ended with {process.returncode}")
    return tenths


def last_step(metrics):
    if not metrics.exists():
        return 0
    lines = metrics.read_text().splitlines()
    return json.loads(lines[-1])["step"] if lines else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--files", type=int, default=FILES)
    place = Path(__file__).parent / "results" / "flatness-cpu.json"
    parser.add_argument("--output", type=Path, default=place)
    given = parser.parse_args()
    given_line = ["benchmarks/flatness.py", *sys.argv[1:]]
    with tempfile.TemporaryDirectory(prefix="revgan-flatness-") as folder:
        root = Path(folder)
        for name in ("trainA", "trainB", "testA", "testB"):
            write_images(root / "data" / name, 8, (40, 60))
        write_images(root / "images", given.files, SIDES)
        run, out = root / "run", root / "out"
        options = [f"--{name}={value}" for name, value in TRAINING.items()]
        options.append(f"--training.steps={given.steps}")
        training = watched(
            ["train", root / "data", "--run", run, *options],
            lambda: last_step(run / "metrics.jsonl"),
            given.steps,
        )
        translation = watched(
            ["translate", run, root / "images", out, "--device", "cpu"],
            lambda: sum(1 for _ in out.glob("*.png")),
            given.files,
        )
    content = {
        **conditions(" ".join(["OMP_NUM_THREADS=1 python", *map(shlex.quote, given_line)])),
        "steps": given.steps,
        "training": training,
        "translations": given.files,
        "translation": translation,
    }
    given.output.write_text(json.dumps(content, indent=1) + "\n")
    for name in ("training", "translation"):
        print(name, *(f"{part['memory']:.0f} MiB/{part['files']}" for part in content[name]))


if __name__ == "__main__":
    main()
