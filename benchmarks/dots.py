"""Whether translations have a lattice of dots, as strided layers leave it, and how sharp they are.

    python benchmarks/dots.py RUN_OR_MODEL

Of the test tiles of the set `earth`: the spectral power at periods of 2 and 4 pixels, along both
axes and the diagonal, divided by the mean of its neighbours, averaged over tiles; for translations
and for the truth. The same of flat parts, squares of 36 pixels that are the smoothest quarter of
the truth. Beside it the size of gradients as a share of the truth's, as blur has no dots either.
Writes results/dots-cpu.json, by the model's name.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from conditions import RESULTS, conditions

from revgan import Translator
from revgan.data import formats
from revgan.data.datasets.earth import LARGE, write_earth
from revgan.directions import DIRECTIONS
from revgan.environment import cache_folder

LATTICE = [(0, 2), (2, 0), (2, 2), (0, 4), (4, 0), (4, 4)]
"""Periods along both axes; 0 for none."""

NEAR, FAR = 3, 5
"""Neighbours are this far away, in bins; nearer ones are part of the peak, by the window."""

FLAT = 36
"""The side of flat parts, a multiple of the periods that divides a tile's 108 pixels."""


def peaks(grey):
    """By period, the power over its neighbours' mean, of a square picture (N, N)."""
    side = len(grey)
    window = np.outer(np.hanning(side), np.hanning(side))
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
    rows, columns = np.mgrid[-FAR : FAR + 1, -FAR : FAR + 1]
    distance = np.maximum(np.abs(rows), np.abs(columns))
    ring = distance >= NEAR
    found = []
    for down, right in LATTICE:
        row, column = (side // period if period else 0 for period in (down, right))
        around = power[(row + rows[ring]) % side, (column + columns[ring]) % side]
        found.append(power[row, column] / max(around.mean(), 1e-9))
    return np.array(found)


def squares(picture, side):
    """Its squares of a side, (N, side, side)."""
    rows, columns = (size // side for size in picture.shape)
    cut = picture[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return cut.swapaxes(1, 2).reshape(-1, side, side)


def steepness(grey):
    return np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()


def measured(made, truth):
    """Of grey pictures: dots of translations as a multiple of the truth's, and gradients."""
    flat_made, flat_true = (
        np.concatenate([squares(p, FLAT) for p in side]) for side in (made, truth)
    )
    rough = np.array([steepness(part) for part in flat_true])
    flat = rough <= np.quantile(rough, 0.25)
    names = [f"{down} x {right}" for down, right in LATTICE]
    whole, smooth = (
        np.mean([peaks(p) for p in ours], 0) / np.mean([peaks(p) for p in theirs], 0)
        for ours, theirs in ((made, truth), (flat_made[flat], flat_true[flat]))
    )
    shares = [steepness(ours) / steepness(theirs) for ours, theirs in zip(made, truth, strict=True)]
    return {
        "dots": dict(zip(names, np.round(whole, 2).tolist(), strict=True)),
        "dots in flat parts": dict(zip(names, np.round(smooth, 2).tolist(), strict=True)),
        "gradients": round(float(np.mean(shares)), 3),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    options = parser.parse_args()
    translator = Translator.from_pretrained(options.model, "cpu")
    folder = write_earth(cache_folder(), paired=True, layout=LARGE)
    found = {}
    for way in DIRECTIONS:
        made, truth = [], []
        for path in sorted((folder / f"test{way[0]}").iterdir()):
            picture = np.moveaxis(formats.read(path).values, 0, -1)
            target = formats.read(folder / f"test{way[-1]}" / path.name).values
            made.append(translator(picture, way).astype(float).mean(-1))
            truth.append(target.astype(float).mean(0))
        found[way] = measured(made, truth)
    path = RESULTS / "dots-cpu.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    content[Path(options.model).name] = {
        **conditions(f"python benchmarks/dots.py {Path(options.model).name}"),
        **found,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
