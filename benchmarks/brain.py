"""The model `brain` on the front of the brain, beside the best function of single voxels.

    python benchmarks/brain.py RUN_OR_MODEL

Scores the held-out slab of the set `brain` in the files' units, 0 to 255: everywhere, and inside
the brain (T1 above 0). The reference is, for each value of a voxel, the mean that the other domain
has in the training slabs where a voxel has this value: a table of grey levels, which
sees nothing around a voxel. Writes results/brain-cpu.json.
"""

import json
import sys
from datetime import date
from pathlib import Path

import numpy as np
import torch
from earth_runs import RESULTS

from revgan import Translator
from revgan.data import formats
from revgan.data.datasets.brain import SLABS, write_brain
from revgan.directions import DIRECTIONS
from revgan.environment import cache_folder, cpu_model, library_versions
from revgan.scores.metrics import score_values

LEVELS = 256


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


def main(model):
    folder = write_brain(cache_folder(), task="gray-matter")
    slabs = {
        (slab.role, domain): []
        for slab in SLABS
        for domain in "AB"
    }  # fmt: skip
    for slab in SLABS:
        for domain in "AB":
            path = folder / f"{slab.role}{domain}" / f"{slab.name}.nii.gz"
            slabs[slab.role, domain].append(formats.read(path).values[0])
    translator = Translator.from_pretrained(model, "cpu")
    (held_out,) = (slab for slab in SLABS if slab.role == "test")
    inside = slabs["test", "A"][0] > 0
    rows = {}
    for way in DIRECTIONS:
        source, target = way[0], way[-1]
        truth = slabs["test", target][0]
        made = translator(folder / f"test{source}" / f"{held_out.name}.nii.gz", way)
        lookup = table(slabs["train", source], slabs["train", target])
        by_table = lookup[slabs["test", source][0].round().astype(int)]
        rows[way] = {
            "model": scores(np.asarray(made).reshape(truth.shape), truth, inside),
            "best function of single voxels": scores(by_table, truth, inside),
            "input unchanged": scores(slabs["test", source][0], truth, inside),
        }
    content = {
        "command": f"python benchmarks/brain.py {Path(model).name}",
        "date": date.today().isoformat(),
        "machine": cpu_model(),
        "versions": library_versions(),
        "scores": rows,
    }
    (RESULTS / "brain-cpu.json").write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
