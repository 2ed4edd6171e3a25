"""The paper's task in 3D, with a simulated scan in place of the Human Connectome Project's.

    python benchmarks/hcp.py FOLDER        # for the data and the run; what is in it is used

Simulates a diffusion-weighted scan of the MNI152 template, prepares it by `revgan prepare hcp`,
trains on its back and scores its front, which is held out, inside the brain mask. Writes
hcp-cpu.json and hcp-cpu.md to results/.

The simulation: in each voxel of 1 mm, the template's probabilities of grey and white matter, and of
fluid for the rest, weight one tensor each (`TISSUES`). White matter's fibres run where its
probability varies least. Signals of the 64 directions of dipy's scan small_64D are averaged over
2 x 2 x 2 voxels and get Rician noise. The anatomy is real; the tensors are simpler than a brain's.
"""

import json
import sys
from pathlib import Path

import nibabel
import nilearn
import numpy as np
from conditions import conditions
from dipy.data import get_fnames
from scipy.ndimage import gaussian_filter

from revgan.cli import main as revgan
from revgan.data.grids import halve

TEMPLATE = Path(nilearn.__file__).parent / "datasets" / "data"
TISSUES = {"fluid": (2.0, 3.0, 3.0), "gray": (1.1, 0.8, 0.8), "white": (0.9, 1.7, 0.3)}
"""Of each: the signal without weighting, and diffusivity along and across fibres, 10^-3 mm2/s."""
NOISE = 0.03
"""Standard deviation, as a share of grey matter's signal without weighting."""
TRAINING = [
    "--preset=hcp",
    "--generator.width=16",
    "--generator.depth=4",
    "--discriminator.width=16",
    "--training.steps=700",
    "--training.sample_every=700",
    "--training.validate_every=null",
    "--runtime.device=cpu",
]
NAMES = {"AtoB": "low to high resolution", "BtoA": "high to low resolution"}


def fibres(white):
    """Unit vectors (X, Y, Z, 3) along which the probability of white matter varies least."""
    slopes = np.gradient(gaussian_filter(white, 1))
    products = [[gaussian_filter(a * b, 2) for a in slopes] for b in slopes]
    return np.linalg.eigh(np.moveaxis(np.array(products), (0, 1), (-2, -1)))[1][..., 0]


def simulate(folder):
    """Writes the subject in the plain layout of `revgan prepare hcp`."""
    volumes = {
        name: nibabel.load(TEMPLATE / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
        for name in ("t1", "gm", "wm")
    }
    affine = volumes["t1"].affine
    t1, gray, white = (v.get_fdata(dtype=np.float32) / 255 for v in volumes.values())
    brain = t1 > 0
    shares = {"fluid": brain * (1 - gray - white).clip(0, 1), "gray": gray, "white": white}
    along = fibres(white)
    _, bvals, bvecs = get_fnames(name="small_64D")
    bvals, bvecs = np.loadtxt(bvals), np.nan_to_num(np.loadtxt(bvecs))
    random = np.random.default_rng(0)
    signals = []
    for bval, bvec in zip(bvals, bvecs, strict=True):
        cosine = (along @ bvec) ** 2
        signal = sum(
            shares[tissue] * s0 * np.exp(-bval * 1e-3 * (across + (parallel - across) * cosine))
            for tissue, (s0, parallel, across) in TISSUES.items()
        )
        coarse = halve(signal[None].astype(np.float32))[0]
        real, imaginary = random.normal(0, NOISE * TISSUES["gray"][0], (2, *coarse.shape))
        signals.append(1000 * np.hypot(coarse + real, imaginary).astype(np.float32))
    affine[:3, 3] += affine[:3, :3] @ [0.5, 0.5, 0.5]
    affine[:3, :3] *= 2
    folder.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(np.stack(signals, -1), affine), folder / "dwi.nii.gz")
    mask = halve(brain[None].astype(np.float32))[0] >= 0.5
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), affine), folder / "mask.nii.gz")
    np.savetxt(folder / "dwi.bval", bvals[None], fmt="%g")
    np.savetxt(folder / "dwi.bvec", bvecs.T, fmt="%.8f")


def table(rows):
    lines = ["| | | PSNR | SSIM | MAE (10⁻³ mm²/s) |", "| --- | --- | ---: | ---: | ---: |"]
    for row in rows:
        scores = f"{row['psnr']:.2f} dB | {row['ssim']:.4f} | {row['mae']:.3f}"
        lines.append(f"| {NAMES[row['direction']]} | {row['method']} | {scores} |")
    return "\n".join(lines) + "\n"


def main(folder):
    subjects, tensors, run = (folder / name for name in ("subjects", "tensors", "run"))
    if not subjects.exists():
        simulate(subjects / "simulated")
    assert revgan(["prepare", "hcp", str(subjects), str(tensors)]) == 0
    if not run.exists():
        assert revgan(["train", str(tensors), f"--run={run}", *TRAINING]) == 0
    assert revgan(["evaluate", str(run)]) == 0
    rows = json.loads((run / "scores.json").read_text())["test_inside_masks"]
    content = {
        **conditions("python benchmarks/hcp.py FOLDER"),
        "training": ["revgan", "train", "FOLDER/tensors", *TRAINING],
        "inside_mask": rows,
    }
    results = Path(__file__).parent / "results"
    (results / "hcp-cpu.json").write_text(json.dumps(content, indent=2) + "\n")
    (results / "hcp-cpu.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
