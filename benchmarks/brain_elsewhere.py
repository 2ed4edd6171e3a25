"""The model `brain` on another scan: the single subject that comes with SPM.

    python benchmarks/brain_elsewhere.py SPM [RUN_OR_MODEL]

SPM is a folder of SPM12 or later; the package spm-runtime-r2025b has one, in the file _spm.ctf of
its wheel, both zips. The subject's T1 (2 mm, in another orientation) is cut out by SPM's brain mask
and translated from file to file. There is no truth of this one brain, so the reference is SPM's
mean map of grey matter over 152 people, in the same space: the Dice coefficient of what has more
than half grey matter in both. Writes results/brain-elsewhere-cpu.json, by the model's name.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel
import numpy as np
from conditions import record

from revgan import Translator
from revgan.data import formats

T1, MASK, GREY = "canonical/single_subj_T1", "toolbox/FieldMap/brainmask", "toolbox/OldSeg/grey"


def half(values):
    return values > values.max() / 2


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spm", type=Path)
    parser.add_argument("model", nargs="?", default="brain")
    options = parser.parse_args()
    t1, mask, grey = (nibabel.load(options.spm / f"{name}.nii") for name in (T1, MASK, GREY))
    inside = half(mask.get_fdata())
    cut = np.where(inside, t1.get_fdata(), 0).astype(np.float32)
    with TemporaryDirectory() as folder:
        before, after = (Path(folder) / name for name in ("t1.nii.gz", "grey-matter.nii.gz"))
        nibabel.save(nibabel.Nifti1Image(cut, t1.affine), before)
        Translator.from_pretrained(options.model, "cpu").translate_file(before, after, "AtoB")
        made = formats.read(after).values[0]
    ours, theirs = made > 255 / 2, half(grey.get_fdata()) & inside
    dice = 2 * np.sum(ours & theirs) / (np.sum(ours) + np.sum(theirs))
    name = Path(options.model).name
    command = f"python benchmarks/brain_elsewhere.py SPM {name}"
    record("brain-elsewhere-cpu.json", name, command, {"dice": round(float(dice), 3)})
    print(f"{name}: Dice {dice:.1%}")


if __name__ == "__main__":
    main()
