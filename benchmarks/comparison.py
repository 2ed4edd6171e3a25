"""RevGAN against pix2pix and CycleGAN at equal parameter counts, on real data.

    OMP_NUM_THREADS=1 python benchmarks/comparison.py

Satellite to relief map and back on the Earth's tiles. `coast-pairs` and `coasts` (unpaired) have
tiles of 64 pixels of 30 km that all show a coast (`COASTS`), and models of 1.3 million weights;
`paired` and `unpaired` have crops of 64 from tiles of 256 pixels of 7.4 km (`earth.LARGE`), and
models of 3.9 million, the widths of the paper's dagger rows in Table 2. All else is the preset
`pairs` or, where unpaired, `default`, and the same for all models, as are seeds and steps. Scores
are those of 125 held-out tiles of 64 pixels, or 101 of 108, from regions that training never saw.
Differences are RevGAN's minus the other's, tile by tile and seed by seed; their intervals, 95%,
draw seeds and tiles anew, or seeds and blocks of 36 x 36 degrees, as tiles of a block overlap. Runs
go on where they stopped, and what is recorded in results/comparison/ is not trained again. Writes
results/comparison-cpu.md, and the pictures of docs/results.md by --pictures docs/images.

    O="normless fast memory beta2 long"
    OMP_NUM_THREADS=1 python benchmarks/comparison.py --objectives $O --seeds 0

trains the models of `coasts` without norms, also at twice the learning rate; a RevGAN that takes
crops of 96 pixels within the memory of `paired`'s pix2pix; those of `coast-pairs` with the beta2
that `pairs` has since; and these for 2,250 steps of 4 tiles, the study's 9,000 of one.
"""

import argparse
import json
import statistics
from itertools import product
from pathlib import Path

import numpy as np
import study
from earth_runs import REFERENCES, RESULTS, folder_name, markdown, sheet

from revgan import Translator
from revgan.data.datasets.earth import LARGE, Layout, Tile, write_earth
from revgan.environment import cache_folder
from revgan.evaluation.pretrained import world_pictures

OUT = RESULTS / "comparison"
COMMON = [
    "--data.crop=64",
    "--generator.depth=6",
    "--generator.memory=naive",
    "--runtime.device=cpu",
    "--training.validate_every=400",
    "--training.validation_images=27",
    "--training.checkpoint_every=200",
    "--training.sample_every=4000",
]
BATCHES = [
    "--discriminator.width=32",
    "--training.batch_size=4",
    "--training.ema=0.99",
    "--optimizer.lr=0.00025",
]
"""On `COASTS`."""

WITHOUT_NORM = [
    "--generator.norm=none",
    "--generator.init=kaiming",
    "--generator.tanh=false",
    "--discriminator.norm=none",
    "--discriminator.init=kaiming",
    "--losses.cycle_weight=3",
]
COASTS_MODELS = {
    "RevGAN": [*BATCHES, "--generator.width=32"],
    "CycleGAN": [*BATCHES, "--generator.model=resnet", "--generator.width=18"],
}
"""Of 1.3 million weights."""

COAST_PAIRS = {
    "RevGAN": ["--generator.width=32"],
    "pix2pix": ["--generator.model=resnet", "--generator.width=18"],
}
"""The same without what is only of `coasts`."""

PAIRS = ["--preset=pairs", "--optimizer.beta2=0.999"]  # which the preset had when these were made

MODELS = {
    "paired": {
        "RevGAN": [*PAIRS, "--generator.width=56"],
        "pix2pix": [*PAIRS, "--generator.model=resnet", "--generator.width=32"],
    },
    "unpaired": {
        "RevGAN": ["--generator.width=56"],
        "CycleGAN": ["--generator.model=resnet", "--generator.width=32"],
    },
    "coasts": COASTS_MODELS,
    "coast-pairs": {name: [*PAIRS, *model] for name, model in COAST_PAIRS.items()},
    "beta2": {name: ["--preset=pairs", *model] for name, model in COAST_PAIRS.items()},
    "normless": {name: [*model, *WITHOUT_NORM] for name, model in COASTS_MODELS.items()},
    "fast": {
        name: [*model, *WITHOUT_NORM, "--optimizer.lr=0.0005"]
        for name, model in COASTS_MODELS.items()
    },
}
MODELS["long"] = MODELS["beta2"]
MODELS["memory"] = {
    "RevGAN": [
        *PAIRS,
        "--generator.width=44",
        "--generator.memory=lean",
        "--data.crop=96",
    ],
    "pix2pix": None,  # that of `paired`
}
"""At equal memory: 148.4 and 155.6 MiB by `predict_training`."""

STEPS = {
    "paired": 800,
    "coast-pairs": 800,
    "beta2": 800,
    "long": 2250,
    "unpaired": 1500,
    "memory": 800,
} | dict.fromkeys(("coasts", "normless", "fast"), 600)
"""By what is compared: of batches of 4, but of 1 for `unpaired`."""

OFFSETS = (0, 14, 28, 42, 56, 71)
COASTS = Layout((1350, 675), 135, 64, OFFSETS, 64, OFFSETS, (0.1, 0.9), validation=True)
"""A pixel is 16', 30 km at the equator, so that tiles of 64 pixels show a coast and what lies far
from it."""

ON_COASTS = ("coasts", "coast-pairs", "beta2", "long", "normless", "fast")

OBJECTIVE = dict.fromkeys(ON_COASTS, "unpaired") | dict.fromkeys(
    ("coast-pairs", "beta2", "long", "memory"), "paired"
)
"""Of what isn't called after its objective."""

PLACES, SIDE = [(580, 4420), (1160, 3360)], 400
"""Upper left corners and side of what pictures show, in pixels of `LARGE`: parts of test blocks."""

BLOCK = 36
"""The side of blocks in degrees."""

TITLES = {"AtoB": "satellite to map", "BtoA": "map to satellite"}


def folder_of(objective):
    """The folder of images that these are trained with."""
    if objective in ON_COASTS:
        return write_earth(cache_folder(), paired=True, layout=COASTS)
    return write_earth(cache_folder(), paired=objective != "unpaired", layout=LARGE)


def found(objective, folder=OUT, steps=None):
    """Records by model and seed; of `STEPS` if no other number is given."""
    records = {}
    if objective == "memory" and folder == OUT:
        records["pix2pix"] = found("paired")["pix2pix"]
    for path in sorted(folder.glob(f"{objective}-*.json")):
        record = json.loads(path.read_text())
        if record["steps"] == (steps or STEPS[objective]):
            records.setdefault(record["name"], {})[record["seed"]] = record
    return records


def psnr(records, direction):
    """PSNR in dB by seed and tile (S, N), of the seeds in order."""
    seeds = sorted(records)
    tiles = sorted(records[seeds[0]]["tiles"][direction])
    return np.array([[records[s]["tiles"][direction][tile] for tile in tiles] for s in seeds])


def difference(ours, theirs, blocks=None, draws=4000):
    """The mean of ours minus theirs (both S, N), and its interval over seeds and tiles.

    `blocks` says which block each tile is part of (N); then whole blocks are drawn instead.
    """
    each = ours - theirs
    random = np.random.default_rng(0)
    seeds, tiles = each.shape
    names, members = np.unique(range(tiles) if blocks is None else blocks, return_inverse=True)
    groups = [np.flatnonzero(members == number) for number in range(len(names))]
    means = []
    for _ in range(draws):
        drawn_seeds = random.integers(0, seeds, seeds)
        drawn = np.concatenate([groups[n] for n in random.integers(0, len(groups), len(groups))])
        means.append(each[np.ix_(drawn_seeds, drawn)].mean())
    return each.mean(), *np.percentile(means, (2.5, 97.5))


def block_of(tile):
    """Row and column of the block that a tile is in, by its name, such as N21.6W068.4."""
    latitude, longitude = float(tile[1:5]), float(tile[6:])
    down = 90 - latitude if tile[0] == "N" else 90 + latitude
    right = 180 + longitude if tile[5] == "E" else 180 - longitude
    return f"{down // BLOCK:.0f} {right // BLOCK:.0f}"


def report():
    """Writes the table of all objectives whose models have records."""
    lines = []
    for (objective, models), (direction, title) in product(MODELS.items(), TITLES.items()):
        records = found(objective)
        if len(records) < len(models):
            continue
        for name in models:
            scores = [
                next(
                    score
                    for score in record["test"]
                    if score["direction"] == direction and score["method"] not in REFERENCES
                )
                for record in records[name].values()
            ]
            shown = ", ".join(f"{score['psnr']:.2f}" for score in scores)
            cells = [f"{statistics.mean(s[k] for s in scores):.{d}f}"
                     for k, d in (("psnr", 2), ("ssim", 3), ("mae", 2))]  # fmt: skip
            cells[0] += f" ({shown})"
            lines.append([f"{title}, {objective}: {name}", *cells])
        one, other = models
        both = records[one].keys() & records[other].keys()
        ours, theirs = (
            psnr({seed: records[name][seed] for seed in both}, direction) for name in models
        )
        tiles = sorted(records[one][min(both)]["tiles"][direction])
        for drawn, blocks in (("tiles", None), ("blocks", [block_of(tile) for tile in tiles])):
            mean, low, high = difference(ours, theirs, blocks)
            said = f"{mean:+.2f} dB [{low:+.2f}, {high:+.2f}]"
            lines.append([f"{title}, {objective}: {one} minus {other}, by {drawn}", said, "", ""])
    heads = ["direction, objective and model", "PSNR (dB)", "SSIM", "MAE (of 255)"]
    (RESULTS / "comparison-cpu.md").write_text(markdown(heads, lines))


def draw(objective, seed, runs, path):
    """Two regions of the test, translated there and back by both models of an objective."""
    layout = COASTS if objective in ON_COASTS else LARGE
    scale = LARGE.size[0] // layout.size[0]
    world = world_pictures(layout)
    translators = [
        Translator.from_pretrained(
            runs / folder_name(objective, name, STEPS[objective], seed), "cpu"
        )
        for name in MODELS[objective]
    ]
    rows = []
    for direction, (top, left) in product(TITLES, PLACES):
        place = Tile(top // scale, left // scale, "test", SIDE // scale, layout.size[0])
        given, truth = (place.cut(world[domain]) for domain in (direction[0], direction[-1]))
        row = [given, *(each(given, direction) for each in translators), truth]
        rows.append([picture.repeat(scale, 0).repeat(scale, 1) for picture in row])
    sheet(["input", *MODELS[objective], "truth"], rows, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--objectives",
        nargs="+",
        default=["coast-pairs", "coasts", "paired", "unpaired"],
        choices=list(MODELS),
    )
    parser.add_argument("--models", nargs="+", help="by default all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/comparison"))
    parser.add_argument("--pictures", type=Path, help="a folder, for pictures of the first seed")
    options = parser.parse_args()
    for seed, objective in product(options.seeds, options.objectives):
        for name, model in MODELS[objective].items():
            if model is None or name not in (options.models or MODELS[objective]):
                continue
            study.train(
                name, [*COMMON, *model], seed, OBJECTIVE.get(objective, objective),
                STEPS[objective], options.runs, OUT, data=folder_of(objective),
                key=folder_name(objective, name, STEPS[objective], seed),
            )  # fmt: skip
            report()
    report()
    if options.pictures:
        for objective in options.objectives:
            path = options.pictures / f"comparison-{objective}.jpg"
            draw(objective, options.seeds[0], options.runs, path)


if __name__ == "__main__":
    main()
