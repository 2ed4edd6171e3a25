"""Evens out a model: its translations no longer depend on where the lattice of its strides lies.

    OMP_NUM_THREADS=1 python benchmarks/even.py earth runs/earth-even

A network with strides translates a shifted image a little otherwise, unless it is shifted by a
multiple of all strides together. What differs is a lattice of the strides' periods: the dots that
benchmarks/dots.py measures. The mean over all shifts has none. So the model learns to make, at
once, what it made on average over shifts: the squared error from that mean, of crops of the
training set, in both directions, is all that is minimised. Writes the model as a folder, which
benchmarks/dots.py, places.py and brain.py take, and benchmarks/ship.py --weights.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from conditions import conditions

from revgan import Translator
from revgan.data.datasets.brain import write_brain
from revgan.data.datasets.earth import LARGE, write_earth
from revgan.data.datasets.earth_labels import write_earth_labels
from revgan.data.intensity import PerScan
from revgan.data.refs import ScanRef
from revgan.directions import DIRECTIONS
from revgan.environment import cache_folder
from revgan.networks.pretrained import save_generator

SETS = {
    "earth": lambda: write_earth(cache_folder(), paired=True, layout=LARGE),
    "earth-labels": lambda: write_earth_labels(cache_folder(), paired=True),
    "brain": lambda: write_brain(cache_folder(), task="gray-matter"),
}
MARGIN = 8
"""Pixels along the borders that don't count, as padding makes them."""


def prepared(translator, path, way):
    """A file's values in [-1, 1], (C, *spatial), as training has them."""
    scan = translator.as_trained(ScanRef(path), way).read(translator.file_dims)
    scan = translator.preparation.grid.bring(scan)
    mapping = translator.input_mapping(way, scan.dtype)
    if isinstance(mapping, PerScan):
        mapping = mapping.of_scan([scan.values])
    return torch.from_numpy(translator.to_unit(scan.values, scan.nodata, mapping, way))


def crops(scans, side, count, draws):
    """Random cubes or squares of scans (count, C, *[side])."""
    found = []
    while len(found) < count:
        whole = scans[draws.integers(len(scans))]
        place = tuple(
            slice(start, start + side)
            for start in (draws.integers(size - side + 1) for size in whole.shape[1:])
        )
        crop = whole[:, *place]
        if crop.std() > 0.02:  # shows something
            found.append(crop)
    return torch.stack(found)


def inner(x, shift, side, period):
    """What lies within the margin of all shifts, of a translation that is shifted so."""
    return x[
        ..., *(slice(MARGIN + period - s, side - MARGIN - s) for s in shift)
    ]  # from MARGIN + period to side - MARGIN of the crop


def step(generator, teacher, x, way, side, period):
    """The squared error of one direction for crops x, whose sides are `side + period`."""
    dims = x.ndim - 2
    mean = 0
    with torch.no_grad():
        for shift in product(range(period), repeat=dims):
            part = x[..., *(slice(s, s + side) for s in shift)]
            mean = mean + inner(teacher(part, way), shift, side, period)
        mean = mean / period**dims
    made = generator(x[..., *[slice(0, side)] * dims], way)
    return (inner(made, [0] * dims, side, period) - mean).square().mean()


def named(values):
    """Numbers by direction."""
    return {way: round(float(x), 3) for way, x in zip(DIRECTIONS, values, strict=True)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", choices=list(SETS), help="by default that of the model's name")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-4)
    options = parser.parse_args()
    start = time.monotonic()
    teacher, student = (Translator.from_pretrained(options.model, "cpu") for _ in range(2))
    generator = student.generator.requires_grad_(True).train()
    period = generator.config.size_multiple
    folder = SETS[options.set or Path(options.model).name]()
    files = {way: sorted((folder / f"train{way[0]}").iterdir()) for way in DIRECTIONS}
    scans = {way: [prepared(teacher, path, way) for path in files[way]] for way in DIRECTIONS}
    torch.manual_seed(0)
    draws = np.random.default_rng(0)
    optimizer = torch.optim.Adam(generator.parameters(), options.lr)
    lines = []
    for number in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = options.lr * min(1, (number + 1) / 10, 2 * (1 - number / options.steps))
        optimizer.zero_grad()
        errors = []
        for way in DIRECTIONS:
            x = crops(scans[way], options.side + period, options.batch, draws)
            error = step(generator, teacher.generator, x, way, options.side, period)
            error.backward()
            errors.append(error.item() ** 0.5 * 127.5)
        optimizer.step()
        lines.append(errors)
        if number % 10 == 9:
            print(number + 1, *(f"{e:.3f}" for e in np.mean(lines[-10:], 0)), flush=True)
    save_generator(generator.eval(), options.out)
    student.preparation.write(options.out)
    record = {
        **conditions(f"python benchmarks/even.py {options.model} {options.out.name}"),
        "minutes": round((time.monotonic() - start) / 60),
        "grey levels off, first steps": named(np.mean(lines[:10], 0)),
        "grey levels off, last steps": named(np.mean(lines[-10:], 0)),
    }
    (options.out / "even.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
