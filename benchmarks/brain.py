"""The model `brain` on the front of the brain, beside the best function of single voxels.

    python benchmarks/brain.py RUN_OR_MODEL docs/images/brain-model.png

Scores the held-out slab of the set `brain` in the files' units, 0 to 255: everywhere, and inside
the brain (T1 above 0). The reference is, for each value of a voxel, the mean that the other domain
has in the training slabs where a voxel has this value: a table of grey levels, which sees nothing
around a voxel. Writes results/brain-cpu.json, by the model's name, and a picture of both ways: a
coronal and a sagittal slice of the input, the translation, the truth, and the difference in grey
levels.
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from conditions import record

from revgan import Translator
from revgan.data import formats
from revgan.data.datasets.brain import SLABS, write_brain
from revgan.directions import DIRECTIONS
from revgan.environment import cache_folder
from revgan.figures.differences import COLOURS
from revgan.scores.metrics import score_values

LEVELS = 256

DIFFERENCE = 80
"""The grey levels that the darkest colours of differences stand for."""

NAMES = {"AtoB": "T1 to grey matter", "BtoA": "grey matter to T1"}


def table(source, target):
    """The mean of the target by the source's value, of all voxels of the training slabs."""
    level = np.concatenate([values.round().astype(int).ravel() for values in source])
    wanted = np.concatenate([values.ravel() for values in target]).astype(float)
    sums, counts = (np.bincount(level, w, LEVELS) for w in (wanted, None))
    known = np.flatnonzero(counts)
    return np.interp(np.arange(LEVELS), known, sums[known] / counts[known])


def scores(made, truth, inside):
    found = {}
    for name, mask in (("everywhere", None), ("in the brain", torch.from_numpy(inside))):
        made_and_truth = (torch.from_numpy(x.astype(np.float32))[None] for x in (made, truth))
        mae, psnr, ssim = score_values(*made_and_truth, (0, 255), mask).tolist()
        found[name] = {"psnr": round(psnr, 2), "ssim": round(ssim, 4), "mae": round(mae, 2)}
    return found


def slices(volume):
    """A coronal slice and a sagittal one beside it, up is up."""
    coronal, sagittal = volume[:, volume.shape[1] // 3].T, volume[volume.shape[0] * 2 // 5].T
    return np.concatenate([coronal, sagittal], 1)[::-1]


def draw(rows, path):
    """Rows by name: input, translation and truth, (X, Y, Z) in 0 to 255."""
    heads = "input", "translation", "truth", f"difference, -{DIFFERENCE} to {DIFFERENCE}"
    figure, axes = plt.subplots(len(rows), len(heads), figsize=(16, 6.2), layout="constrained")
    for line, (name, (given, made, truth)) in zip(axes, rows.items(), strict=True):
        for cell, volume in zip(line, (given, made, truth), strict=False):
            cell.imshow(slices(volume), cmap="gray", vmin=0, vmax=255)
        shown = line[-1].imshow(
            slices(made - truth), cmap=COLOURS, vmin=-DIFFERENCE, vmax=DIFFERENCE
        )
        figure.colorbar(shown, ax=line[-1], shrink=0.7)
        line[0].set_ylabel(name)
    for cell, head in zip(axes[0], heads, strict=True):
        cell.set_title(head)
    for cell in axes.flat:
        cell.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=90)


def slabs():
    """The volumes (X, Y, Z) of the set, by role and domain."""
    folder = write_brain(cache_folder(), task="gray-matter")
    found = {}
    for slab in SLABS:
        for domain in "AB":
            path = folder / f"{slab.role}{domain}" / f"{slab.name}.nii.gz"
            found.setdefault((slab.role, domain), []).append(formats.read(path).values[0])
    return found


def by_single_voxels(volumes):
    """The best function of a single voxel's grey level, each way: of a volume, and the way."""
    tables = {way: table(volumes["train", way[0]], volumes["train", way[-1]]) for way in DIRECTIONS}
    return lambda values, way: tables[way][values.round().astype(int)]


def main(model, picture):
    volumes = slabs()
    reference = by_single_voxels(volumes)
    translator = Translator.from_pretrained(model, "cpu")
    inside = volumes["test", "A"][0] > 0
    rows, shown = {}, {}
    for way in DIRECTIONS:
        source, target = way[0], way[-1]
        given, truth = (volumes["test", domain][0] for domain in (source, target))
        made = translator(given[None], way)[0].round().clip(0, LEVELS - 1)
        shown[NAMES[way]] = given.astype(float), made.astype(float), truth.astype(float)
        rows[way] = {
            "model": scores(made, truth, inside),
            "best function of single voxels": scores(reference(given, way), truth, inside),
            "input unchanged": scores(given, truth, inside),
        }
    draw(shown, picture)
    name = Path(model).name
    record("brain-cpu.json", name, f"python benchmarks/brain.py {name}", {"scores": rows})
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
