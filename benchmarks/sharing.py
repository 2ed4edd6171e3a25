"""What one core for both directions costs: RevGAN trained in one direction alone, beside both.

    OMP_NUM_THREADS=1 python benchmarks/sharing.py

The paired trainings of comparison.py, but RevGAN learns one direction only: all of its weights
serve that, and the other direction's translations have no losses. The baselines have networks of
their own for each direction, so for them it changes nothing. Records go to results/sharing/, and
the table, with comparison.py's records of the same steps and seeds, to results/sharing-cpu.md.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

import comparison
import study
import torch
from conditions import RESULTS
from earth_runs import markdown

from revgan.cli import main as revgan
from revgan.directions import DIRECTIONS
from revgan.training.losses import translate
from revgan.training.objectives import PairedObjective

OUT = RESULTS / "sharing"
LEARNED = "REVGAN_BENCHMARK_DIRECTION"
"""Environment variable: the direction that has losses, for the process that trains."""


def learn_one_direction(learned):
    """From here on, the paired objective has losses in one direction."""
    usual = PairedObjective._translate

    def of_one(self, players, batch, direction, cut):
        if direction == learned:
            return (yield from usual(self, players, batch, direction, cut))
        source, target = (batch.a, "b") if direction == "AtoB" else (batch.b, "a")
        with torch.no_grad():  # the judges still see it
            return self._made(target, translate(players.generator, source, direction), batch)

    PairedObjective._translate = of_one


def report():
    """Writes the table: each direction alone, both at once, and the baseline."""
    both = comparison.found("paired")
    lines = []
    for direction, title in comparison.TITLES.items():
        alone = comparison.found("paired", OUT).get(f"RevGAN, {direction} alone", {})
        seeds = alone.keys() & both["RevGAN"].keys() & both["pix2pix"].keys()
        if not seeds:
            continue
        scores = {
            name: comparison.psnr({seed: records[seed] for seed in seeds}, direction)
            for name, records in (("alone", alone), *both.items())
        }
        cells = [f"{statistics.mean(scores[name].flat):.2f}" for name in scores]
        mean, low, high = comparison.difference(scores["alone"], scores["RevGAN"])
        lines.append([title, len(seeds), *cells, f"{mean:+.2f} dB [{low:+.2f}, {high:+.2f}]"])
    heads = ["direction", "seeds", "RevGAN, it alone", *both, "alone minus both"]
    (RESULTS / "sharing-cpu.md").write_text(markdown(heads, lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/sharing"))
    options = parser.parse_args()
    for seed in options.seeds:
        for direction in DIRECTIONS:
            os.environ[LEARNED] = direction
            study.train(
                f"RevGAN, {direction} alone",
                [*comparison.COMMON, *comparison.MODELS["paired"]["RevGAN"]],
                seed,
                "paired",
                comparison.STEPS["paired"],
                options.runs,
                OUT,
                program=(__file__, "worker"),
            )
            report()
    report()


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        learn_one_direction(os.environ[LEARNED])
        sys.exit(revgan(sys.argv[2:]))
    main()
