"""Whether a change leaves results alone: short trainings before and after end in the same bits.

    git worktree add /tmp/before COMMIT
    python benchmarks/same_weights.py /tmp/before/src

Each case is trained for four steps by the other source and by this one, on the same data and with
one thread; then every tensor of the checkpoints is compared: weights, Adam's moments, image pools.
Prints a line a case, and ends with 1 if any differs. In the cases "drawn", crops and mirrors are
drawn at random; in the others nothing is, so that a change of the draws alone shows.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image
from safetensors.numpy import load_file

HERE = Path(__file__).parent.parent / "src"
SMALL = [
    "--generator.width=4",
    "--generator.depth=2",
    "--discriminator.width=4",
    "--training.steps=4",
    "--training.checkpoint_every=4",
    "--runtime.device=cpu",
    "--runtime.precision=float32",
]
WHOLE = ["--data.crop=32", "--data.flip=false"]
VOLUMES = ["--preset=volumes", "--data.crop=24"]
CASES = {
    "images, paired": ("images", [*WHOLE, "--objective=paired", "--generator.memory=lean"]),
    "images, unpaired": ("images", [*WHOLE, "--generator.memory=reversible"]),
    "images, resized": ("images", ["--data.resize=40", "--data.crop=40", "--data.flip=false"]),
    "images, dropout": ("images", [*WHOLE, "--generator.dropout=0.3", "--training.ema=0.9"]),
    "images, batch norm": ("images", [*WHOLE, "--generator.norm=batch", "--training.batch_size=2"]),
    "images, ResNets": ("images", [*WHOLE, "--generator.model=resnet"]),
    "images, drawn": ("images", ["--data.crop=24"]),
    "volumes, unpaired, drawn": ("volumes", VOLUMES),
    "volumes, paired, drawn": ("volumes", [*VOLUMES, "--objective=paired"]),
    "volumes, resampled": (
        "volumes",
        [*VOLUMES, "--data.spacing=[1.5,1.5,2]", "--data.orientation=RAS"],
    ),
}


def make_data(root):
    random = np.random.default_rng(0)
    affine = np.diag([-1.2, 1.5, 2, 1])
    for split, count in (("train", 3), ("test", 1)):
        for domain in "AB":
            images, volumes = (root / kind / f"{split}{domain}" for kind in ("images", "volumes"))
            images.mkdir(parents=True)
            volumes.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(images / f"{number}.png")
                values = random.integers(-900, 900, (32, 28, 30)).astype(np.int16)
                nib.save(nib.Nifti1Image(values, affine), volumes / f"{number}.nii.gz")


def train(source, data, run, options, cache):
    environment = os.environ | {
        "PYTHONPATH": str(source),
        "OMP_NUM_THREADS": "1",
        "XDG_CACHE_HOME": str(cache),
    }
    command = [sys.executable, "-m", "revgan", "train", str(data), "--run", str(run)]
    subprocess.run(
        [*command, *SMALL, *options], env=environment, check=True, stdout=subprocess.DEVNULL
    )
    return load_file(run / "checkpoints" / "step-4" / "state.safetensors")


def main():
    before = Path(sys.argv[1])
    differ = False
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        make_data(root)
        for number, (name, (kind, options)) in enumerate(CASES.items()):
            old, new = (
                train(source, root / kind, root / f"{which}-{number}", options, root / which)
                for which, source in (("before", before), ("after", HERE))
            )
            wrong = [
                key
                for key in old.keys() | new.keys()
                if key not in old or key not in new or old[key].tobytes() != new[key].tobytes()
            ]
            differ |= bool(wrong)
            said = f"{len(wrong)} of {len(old)} tensors differ" if wrong else "the same bits"
            print(f"{name}: {said}", flush=True)
    sys.exit(int(differ))


if __name__ == "__main__":
    main()
