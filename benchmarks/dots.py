"""Whether translations have a lattice of dots, as strided layers leave it, and how sharp they are.

    python benchmarks/dots.py earth
    python benchmarks/dots.py runs/brain --tests brain
    python benchmarks/dots.py single-voxels --tests brain     # a control that has no lattice

Of the test's regions of a set, whole (every fourth slice of a volume, along each axis): the
spectral power at periods of 2 and 4 pixels, along both axes and the diagonal, divided by the mean
of its neighbours, averaged over overlapping windows of up to 72 pixels; for translations, for the
truth, and for the former as a multiple of the latter. A lattice stands out of its neighbours, so
that its power is above 1; a multiple above 1 alone can be a gap in the truth. Both diagonals count.
The power of rounding to integers is added, as what is less can't be seen. The same of flat parts,
squares of 36 pixels that are the smoothest quarter of the truth. "Chance" is what 19 in 20
frequencies that belong to no lattice stay below. "Of mean power" is the multiple where powers are
averaged before they are divided, so that windows with much detail count most. "Levels" are the
amplitude, in grey levels, of what stands out of the neighbours: what one could see. Beside it the
size of gradients as a share of the truth's, as blur has no dots either. Writes
results/dots-cpu.json, by the model's name.

What stands out need not be a lattice: edges along the axes have their power at the same
frequencies. So the same is also measured as a multiple of the model's own without a lattice: the
mean of its translations of the image at all shifts that strides tell apart, each shifted back, as
in cycle spinning (Coifman and Donoho, 1995). There every position has had every place in the
lattice, which cancels. Without strides, nothing is there to shift, and the multiple is 1.
"""

import argparse
import json
import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from brain import by_single_voxels, slabs
from conditions import record
from scipy.ndimage import uniform_filter

from revgan import Translator
from revgan.data.datasets.earth import LARGE, POLES, block_role
from revgan.data.datasets.earth_labels import land_cover, painted
from revgan.directions import DIRECTIONS
from revgan.evaluation.pretrained import world_pictures

LATTICE = [(0, 2), (2, 0), (2, 2), (0, 4), (4, 0), (4, 4)]
"""Periods along both axes; 0 for none."""

NEAR, FAR = 3, 5
"""Neighbours are this far away, in bins; nearer ones are part of the peak, by the window."""

WINDOW, STEP = 72, 12
"""The side of windows (less in smaller pictures), and what it is a multiple of."""

AT_ONCE = 500
"""Windows."""

BETWEEN = 4
"""Each such slice of a volume counts, along each axis."""

FLAT = 36
"""The side of flat parts, a multiple of the periods."""

CONTROL = "single-voxels"
"""In a model's place, the best function of single voxels, which has no lattice."""


def blocks(world):
    """The test's blocks of the Earth by domain, whole but for the poles: (H, W, 3) each."""
    (width, height), block = LARGE.size, LARGE.block
    poles = round(POLES * height)
    places = [
        (slice(max(top, poles), min(top + block, height - poles)), slice(left, left + block))
        for top, left in product(range(0, height, block), range(0, width, block))
        if block_role(top // block, left // block, LARGE) == "test"
    ]
    return {domain: [picture[place] for place in places] for domain, picture in world.items()}


def labelled_world():
    world = world_pictures(LARGE)
    return {**world, "B": painted(land_cover(world["B"]))}


def brain():
    """The test's volume by domain, (1, X, Y, Z)."""
    return {domain: [volume[None] for volume in slabs()["test", domain]] for domain in "AB"}


SETS = {
    "earth": lambda: blocks(world_pictures(LARGE)),
    "earth-labels": lambda: blocks(labelled_world()),
    "brain": brain,
}


@dataclass(frozen=True)
class Spectrum:
    """Of square pictures and their mirror images: (side, side) each.

    `ratio` is each bin's power over its neighbours' mean, averaged over pictures; `power` and
    `around` are the means of both.
    """

    ratio: np.ndarray
    power: np.ndarray
    around: np.ndarray

    @property
    def of_means(self):
        return self.power / self.around

    @property
    def levels(self):
        """The amplitude of what stands out of the neighbours, in grey levels."""
        side = len(self.power)
        once = np.isin(np.arange(side), (0, side // 2))  # others have half at the opposite bin
        out = np.sqrt(np.maximum(self.power - self.around, 0)) / hann(side).sum()
        return np.where(once[:, None] & once[None], out, 2 * out)


def hann(side):
    return np.outer(np.hanning(side), np.hanning(side))


def spectrum(parts):
    window = hann(parts.shape[-1])
    rounding = np.square(window).sum() / 12  # the power of rounding to integers, at each bin
    total = np.zeros((3, *window.shape))
    for some in np.array_split(parts, math.ceil(len(parts) / AT_ONCE)):
        centred = some - some.mean((1, 2), keepdims=True)
        power = np.abs(np.fft.fft2(centred * window)) ** 2 + rounding
        near = around(power)
        total += np.stack([each.sum(0) for each in (power / near, power, near)])
    mirrored = np.roll(total[:, :, ::-1], 1, axis=2)
    return Spectrum(*(total + mirrored) / 2 / len(parts))


def around(power):
    """The mean of each bin's neighbours, `NEAR` to `FAR` away; frequencies are periodic."""
    outer, inner = 2 * FAR + 1, 2 * NEAR - 1
    sums = (
        uniform_filter(power, (0, side, side), mode="wrap") * side**2 for side in (outer, inner)
    )
    return (next(sums) - next(sums)) / (outer**2 - inner**2)


def windows(pictures, side):
    """Their squares, which overlap by two thirds, (N, side, side)."""
    step = side // 3
    return np.concatenate(
        [
            np.lib.stride_tricks.sliding_window_view(picture, (side, side))[::step, ::step]
            .reshape(-1, side, side)
            for picture in pictures
        ]
    )  # fmt: skip


def at_lattice(made, truth, spun):
    """By period, of translations, the truth, and the former's means; and what chance makes."""
    side = made.shape[-1]
    ours, true, free = spectrum(made), spectrum(truth), spectrum(spun)
    found = {
        "translations": ours.ratio,
        "truth": true.ratio,
        "multiple": ours.ratio / true.ratio,
        "multiple of mean power": ours.of_means / true.of_means,
        "multiple of lattice-free": ours.ratio / free.ratio,
        "multiple of lattice-free mean power": ours.of_means / free.of_means,
        "levels": ours.levels,
        "levels of truth": true.levels,
    }
    places = np.minimum(np.arange(side), side - np.arange(side))
    lattice = np.isin(places, (0, side // 4, side // 2))
    high = places[:, None] + places[None] > side // 8  # below, pictures differ by what they show
    others = high & ~(lattice[:, None] & lattice[None])
    bins = {
        f"{down} x {right}": (down and side // down, right and side // right)
        for down, right in LATTICE
    }
    rows = {
        what: {name: values[at] for name, at in bins.items()}
        | {"chance": np.percentile(values[others], 95)}
        for what, values in found.items()
    }
    return {
        what: {
            name: round(float(value), 3 if "levels" in what else 2) for name, value in row.items()
        }
        for what, row in rows.items()
    }


def squares(picture, side):
    """Its squares of a side, (N, side, side)."""
    rows, columns = (size // side for size in picture.shape)
    cut = picture[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return cut.swapaxes(1, 2).reshape(-1, side, side)


def steepness(grey):
    return np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()


def measured(made, truth, spun):
    """Of grey pictures: dots of translations, and their gradients as a share of the truth's."""
    side = min(WINDOW, min(min(picture.shape) for picture in truth) // STEP * STEP)
    whole = [windows(pictures, side) for pictures in (made, truth, spun)]
    parts = [
        np.concatenate([squares(picture, FLAT) for picture in pictures])
        for pictures in (made, truth, spun)
    ]
    rough = np.array([steepness(part) for part in parts[1]])
    shows = parts[1].max((1, 2)) > 0  # what surrounds a brain is no part of it
    flat = shows & (rough <= np.quantile(rough[shows], 0.25))
    total = sum(steepness(picture) for picture in truth)
    return {
        "dots": at_lattice(*whole),
        "dots in flat parts": at_lattice(*(each[flat] for each in parts)),
        "gradients": round(float(sum(map(steepness, made)) / total), 3),
    }


def grey(values):
    """Pictures (H, W) of an image (H, W, C), its channels' mean, or of a volume, its slices."""
    if values.ndim == 3:
        return [values.astype(float).mean(-1)]
    slices = (np.moveaxis(values[0], axis, 0)[BETWEEN // 2 :: BETWEEN] for axis in range(3))
    return [each.astype(float) for of_axis in slices for each in of_axis]


def translations(translate, values, way, strides):
    """A picture's translation, and the mean over shifts, both as files have them."""
    dims = len(strides)
    first = 1 if dims == 3 else 0  # volumes have their channel first
    made = []
    for shift in product(*map(range, strides)):
        before = [0] * values.ndim
        before[first : first + dims] = shift
        shifted = np.pad(values, [(by, 0) for by in before], mode="edge")
        translated = translate(shifted, way).round().clip(0, 255).astype(float)
        made.append(translated[tuple(slice(by, None) for by in before)])
    return made[0], np.mean(made, 0).round()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--tests", choices=list(SETS), help="by default those of the model's name")
    options = parser.parse_args()
    name = Path(options.model).name
    if not options.tests and name not in SETS:
        parser.error(f"{name} has no set of its own; give one with --tests")
    if name == CONTROL:
        translate, strides = by_single_voxels(slabs()), (1, 1, 1)
    else:
        translate = Translator.from_pretrained(options.model, "cpu")
        generator = translate.generator
        strides = generator.config.size_multiples(generator.spatial_dims)
    pictures = SETS[options.tests or name]()
    tests = f" --tests {options.tests}" if options.tests else ""
    found = {}
    for way in DIRECTIONS:
        pairs = zip(*(pictures[domain] for domain in (way[0], way[-1])), strict=True)
        made, truth, spun = [], [], []
        for values, target in pairs:
            plain, mean = translations(translate, values, way, strides)
            made += grey(plain)
            spun += grey(mean)
            truth += grey(target)
        found[way] = measured(made, truth, spun)
    record("dots-cpu.json", name, f"python benchmarks/dots.py {name}{tests}", found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
