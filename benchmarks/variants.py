"""What each variant of the paper's design does to a training on real data.

    OMP_NUM_THREADS=1 python benchmarks/variants.py --steps 200

Trains the preset demo, paired on the Earth tiles of 64 x 64 pixels, with one thing changed at a
time, and scores it on the held-out tiles. One seed each, so that differences of some tenths of a dB
mean nothing. Runs that are there already are not trained again. Writes results/variants-cpu.json
and .md.
"""

import argparse
from pathlib import Path

from earth_runs import REFERENCES, folder_name, markdown, train_and_score, write_results

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
    "consensus 0.0001": ["--losses.consensus_weight=0.0001"],
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
    "model resnet (pix2pix)": ["--generator.model=resnet"],
}
COLUMNS = {
    "satellite to map, dB": ("AtoB", "psnr", 1),
    "SSIM": ("AtoB", "ssim", 3),
    "map to satellite, dB": ("BtoA", "psnr", 1),
    "SSIM ": ("BtoA", "ssim", 3),
}


def table(rows):
    """The scores of each variant."""
    lines = []
    for row in rows:
        scores = {s["direction"]: s for s in row["test"] if s["method"] not in REFERENCES}
        cells = (f"{scores[way][score]:.{digits}f}" for way, score, digits in COLUMNS.values())
        lines.append([row["variant"], *cells])
    return markdown(["changed", *COLUMNS], lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--runs", type=Path, default=Path("runs/variants"))
    options = parser.parse_args()
    command = f"python benchmarks/variants.py --steps {options.steps}"
    common = ["--preset=demo", "--runtime.device=cpu", f"--training.steps={options.steps}"]
    rows = []
    for name, changes in VARIANTS.items():
        run = options.runs / folder_name(name, options.steps)
        memory = [] if "--generator.core=ode" in changes else ["--generator.memory=naive"]
        scores = train_and_score(run, [*common, *memory, *changes])
        rows.append({"variant": name, "options": changes, **scores})
        print(name, flush=True)
        write_results("variants-cpu", command, rows, table(rows))


if __name__ == "__main__":
    main()
