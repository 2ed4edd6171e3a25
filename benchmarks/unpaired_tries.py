"""What unpaired training learns from: tries of single seeds on the Earth's coasts.

    OMP_NUM_THREADS=1 python benchmarks/unpaired_tries.py

Trains the rows of results/unpaired-tries-cpu.json that reached their last step, by the options that
each one has there, on `comparison.COASTS`, and prints PSNR and SSIM of the tiles for validation
every 100 steps, beside those of the mean training colour. 31 of the 34 tiles show the
Mediterranean, so recipes shouldn't be chosen by them: docs/results.md tells how they misled. A row
takes 7 to 14 minutes on one core.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
import study
from comparison import folder_of
from conditions import RESULTS
from earth_runs import folder_name

from revgan.cli import main as revgan
from revgan.data import formats
from revgan.directions import DIRECTIONS
from revgan.networks import RevGenerator
from revgan.networks.pair import GeneratorPair
from revgan.training import setup

TWO = "a RevGAN of its own for each direction"
"""What the row is called that has two generators."""

UNTIED = "REVGAN_BENCHMARK_UNTIED"
"""Environment variable, set for the process that trains such a row."""


class UntiedPair(GeneratorPair):
    """A RevGAN for each direction, which share nothing."""

    model = "revgan"
    one_way = RevGenerator


def mean_colour(folder, domain):
    """PSNR of the mean training colour on the tiles for validation, in dB."""
    training, tiles = (
        [formats.read(path).values.astype(float) for path in sorted((folder / role).iterdir())]
        for role in (f"train{domain}", f"val{domain}")
    )
    mean = np.mean([tile.mean((1, 2)) for tile in training], 0)[:, None, None]
    return np.mean([10 * np.log10(255**2 / np.square(tile - mean).mean()) for tile in tiles])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/unpaired-tries"))
    options = parser.parse_args()
    folder = folder_of("coasts")
    for way in DIRECTIONS:
        print(f"mean training colour, {way}: {mean_colour(folder, way[-1]):.2f} dB", flush=True)
    rows = json.loads((RESULTS / "unpaired-tries-cpu.json").read_text())["rows"]
    for name, row in rows.items():
        run = options.runs / folder_name(name)
        if f"--training.steps={row['last step']}" not in row["options"]:
            continue
        os.environ[UNTIED] = str(int(TWO in name))
        if not run.exists():
            study.revgan(
                "train", folder, f"--run={run}", *row["options"], "--runtime.device=cpu",
                "--generator.memory=naive", "--training.validate_every=100",
                "--training.validation_images=100", "--training.sample_every=4000",
                program=(__file__, "worker"),
            )  # fmt: skip
        for text in (run / "metrics.jsonl").read_text().splitlines():
            line = json.loads(text)
            if "psnr_AtoB" in line:
                shown = (f"{score}_{way} {line[f'{score}_{way}']:.2f}"
                         for way in DIRECTIONS for score in ("psnr", "ssim"))  # fmt: skip
                print(name, line["step"], *shown, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        if os.environ[UNTIED] == "1":
            setup.build_generator = UntiedPair.from_config
        sys.exit(revgan(sys.argv[2:]))
    main()
