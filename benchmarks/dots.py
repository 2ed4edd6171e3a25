"""Whether translations have a lattice of dots, as strided layers leave it, and how sharp they are.

    python benchmarks/dots.py earth
    python benchmarks/dots.py runs/brain --tests brain

Of the held-out images of a set (every fourth coronal slice of a volume): the spectral power at
periods of 2 and 4 pixels, along both axes and the diagonal, divided by the mean of its neighbours,
averaged over overlapping windows of up to 72 pixels; for translations as a multiple of the truth's.
The power of rounding to integers is added to both, as what is less can't be seen.
The same of flat parts, squares of 36 pixels that are the smoothest quarter of the truth. "Chance"
is what 19 in 20 frequencies that belong to no lattice stay below. Beside it the size of gradients
as a share of the truth's, as blur has no dots either. Writes results/dots-cpu.json, by the model's
name.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from conditions import RESULTS, conditions

from revgan import Translator
from revgan.data import formats
from revgan.data.datasets.brain import write_brain
from revgan.data.datasets.earth import LARGE, write_earth
from revgan.data.datasets.earth_labels import write_earth_labels
from revgan.directions import DIRECTIONS
from revgan.environment import cache_folder

LATTICE = [(0, 2), (2, 0), (2, 2), (0, 4), (4, 0), (4, 4)]
"""Periods along both axes; 0 for none."""

NEAR, FAR = 3, 5
"""Neighbours are this far away, in bins; nearer ones are part of the peak, by the window."""

WINDOW, STEP = 72, 12
"""The side of windows and what lies between them: multiples of the periods."""

FLAT = 36
"""The side of flat parts, a multiple of the periods."""

SETS = {
    "earth": lambda: write_earth(cache_folder(), paired=True, layout=LARGE),
    "earth-labels": lambda: write_earth_labels(cache_folder(), paired=True),
    "brain": lambda: write_brain(cache_folder(), task="gray-matter"),
}


def ratios(parts):
    """Each bin's power over its neighbours' mean (side, side), averaged over square pictures."""
    side = parts.shape[-1]
    window = np.outer(np.hanning(side), np.hanning(side))
    centred = parts - parts.mean((1, 2), keepdims=True)
    power = np.abs(np.fft.fft2(centred * window)) ** 2
    rows, columns = np.mgrid[-FAR : FAR + 1, -FAR : FAR + 1]
    ring = np.maximum(np.abs(rows), np.abs(columns)) >= NEAR
    around = sum(
        np.roll(power, (-row, -column), (1, 2))
        for row, column in zip(rows[ring], columns[ring], strict=True)
    )
    rounding = np.square(window).sum() / 12  # the power of rounding to integers, at each bin
    return ((power + rounding) / (around / ring.sum() + rounding)).mean(0)


def windows(pictures, side, step):
    """Their overlapping squares, (N, side, side)."""
    return np.concatenate(
        [
            np.lib.stride_tricks.sliding_window_view(picture, (side, side))[::step, ::step]
            .reshape(-1, side, side)
            for picture in pictures
        ]
    )  # fmt: skip


def at_lattice(made, truth):
    """By period, the ratio of translations over the truth's; and what chance makes elsewhere."""
    ratio = ratios(made) / ratios(truth)
    side = len(ratio)
    bins = [tuple(side // period if period else 0 for period in pair) for pair in LATTICE]
    places = np.minimum(np.arange(side), side - np.arange(side))
    lattice = np.isin(places, (0, side // 4, side // 2))
    high = places[:, None] + places[None] > side // 8  # below, pictures differ by what they show
    others = ratio[high & ~(lattice[:, None] & lattice[None])]
    named = {f"{down} x {right}": round(float(ratio[at]), 2)
             for (down, right), at in zip(LATTICE, bins, strict=True)}  # fmt: skip
    return named | {"chance": round(float(np.percentile(others, 95)), 2)}


def squares(picture, side):
    """Its squares of a side, (N, side, side)."""
    rows, columns = (size // side for size in picture.shape)
    cut = picture[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return cut.swapaxes(1, 2).reshape(-1, side, side)


def steepness(grey):
    return np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()


def measured(made, truth):
    """Of grey pictures: dots of translations as a multiple of the truth's, and gradients."""
    side = min(WINDOW, min(min(picture.shape) for picture in truth) // STEP * STEP)
    whole = (windows(pictures, side, STEP) for pictures in (made, truth))
    flat_made, flat_true = (
        np.concatenate([squares(p, FLAT) for p in pictures]) for pictures in (made, truth)
    )
    rough = np.array([steepness(part) for part in flat_true])
    shows = flat_true.max((1, 2)) > 0  # what surrounds a brain is no part of it
    flat = shows & (rough <= np.quantile(rough[shows], 0.25))
    total = sum(steepness(picture) for picture in truth)
    return {
        "dots": at_lattice(*whole),
        "dots in flat parts": at_lattice(flat_made[flat], flat_true[flat]),
        "gradients": round(float(sum(map(steepness, made)) / total), 3),
    }


def grey(values):
    """Pictures (H, W) of what a file has: an image's mean over channels, a volume's slices."""
    if values.shape[0] == 1 and values.ndim == 4:
        return [values[0, :, place].astype(float) for place in range(2, values.shape[2], 4)]
    return [values.astype(float).mean(0)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--tests", choices=list(SETS), help="by default those of the model's name")
    options = parser.parse_args()
    translator = Translator.from_pretrained(options.model, "cpu")
    name = Path(options.model).name
    folder = SETS[options.tests or name]()
    found = {}
    for way in DIRECTIONS:
        made, truth = [], []
        for path in sorted((folder / f"test{way[0]}").iterdir()):
            target = formats.read(folder / f"test{way[-1]}" / path.name).values
            values = np.asarray(translator(path, way))
            made += grey(
                np.moveaxis(values, -1, 0) if target.ndim == 3 else values.reshape(target.shape)
            )
            truth += grey(target)
        found[way] = measured(made, truth)
    path = RESULTS / "dots-cpu.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    content[name] = {
        **conditions(f"python benchmarks/dots.py {name}"),
        **found,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
