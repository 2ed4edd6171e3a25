"""What normalisation and initial weights do to the generator alone, by L1 on the Earth's tiles.

    OMP_NUM_THREADS=1 python benchmarks/norms.py

Satellite to relief map and back, 300 steps of 4 crops of 64 pixels of the set `earth`, no
discriminator, width 32, depth 6. Scores the 27 tiles for validation: PSNR, and how far fine detail
is there: the correlation of what a blur over 9 pixels takes away, and the size of the gradients as
a share of the truth's. Instance norm is only tried with a core that starts as the identity: crops
of nothing but sea, which `revgan train` marks, give NaN without it. Writes results/norms-cpu.json
after each row, and skips rows that are there.
"""

import json
import time

import numpy as np
import torch
from conditions import RESULTS, conditions
from PIL import Image
from torch import nn

from revgan.data.datasets.earth import LARGE, write_earth
from revgan.directions import DIRECTIONS
from revgan.environment import cache_folder
from revgan.networks import RevGenerator

STEPS, BATCH, CROP, LEARNING_RATE = 300, 4, 64, 0.0005
SIDE = 108
ROWS = {
    "instance, identity": {"norm": "instance", "identity_start": True},
    "batch": {"norm": "batch"},
    "batch, identity": {"norm": "batch", "identity_start": True},
    "none, He, identity": {"norm": "none", "init": "kaiming", "identity_start": True},
}


def pictures(folder, role):
    """All tiles of a role, (N, 3, H, W) of uint8, by domain."""
    found = {}
    for domain in "AB":
        paths = sorted((folder / f"{role}{domain}").iterdir())
        found[domain] = torch.stack([torch.from_numpy(np.array(Image.open(p))) for p in paths])
    return {domain: tiles.movedim(-1, 1) for domain, tiles in found.items()}


def unit(pixels):
    return pixels.float() / 127.5 - 1


def train(options, tiles):
    """The generator after its last step, and the seconds that it took."""
    torch.manual_seed(0)
    draws = np.random.default_rng(0)
    generator = RevGenerator(memory="naive", **options)
    optimizer = torch.optim.Adam(generator.parameters(), betas=(0.5, 0.999))
    start = time.monotonic()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, 2 * (1 - step / STEPS))
        places = [
            draws.integers(0, most, BATCH)
            for most in (len(tiles["A"]), LARGE.tile - CROP + 1, LARGE.tile - CROP + 1)
        ]
        crops = {
            domain: unit(torch.stack([
                whole[n, :, top : top + CROP, left : left + CROP]
                for n, top, left in zip(*places, strict=True)
            ]))
            for domain, whole in tiles.items()
        }  # fmt: skip
        optimizer.zero_grad()
        for way in DIRECTIONS:
            nn.functional.l1_loss(generator(crops[way[0]], way), crops[way[-1]]).backward()
        optimizer.step()
    return generator.eval(), time.monotonic() - start


@torch.no_grad()
def scores(generator, tiles, way):
    made = torch.cat([generator(unit(part), way) for part in tiles[way[0]].split(9)]).clamp(-1, 1)
    truth = unit(tiles[way[-1]])
    error = ((made - truth) / 2).square().mean((1, 2, 3))
    fine, true = (x - nn.functional.avg_pool2d(x, 9, 1, 4) for x in (made, truth))
    alike = nn.functional.cosine_similarity(fine.flatten(), true.flatten(), 0)
    return {
        "psnr": round(float((-10 * error.log10()).mean()), 2),
        "fine detail": round(float(alike), 3),
        "gradients": round(float(steepness(made) / steepness(truth)), 3),
    }


def steepness(x):
    return x.diff(dim=2).abs().mean() + x.diff(dim=3).abs().mean()


def main():
    path = RESULTS / "norms-cpu.json"
    content = {
        **conditions("python benchmarks/norms.py"),
        "rows": {},
    }
    if path.exists():
        content["rows"] = json.loads(path.read_text())["rows"]
    folder = write_earth(cache_folder(), paired=True, layout=LARGE)
    training, validation = (pictures(folder, role) for role in ("train", "val"))
    for name, options in ROWS.items():
        if name not in content["rows"]:
            generator, seconds = train(options, training)
            found = {way: scores(generator, validation, way) for way in DIRECTIONS}
            content["rows"][name] = {**found, "seconds": round(seconds)}
            path.write_text(json.dumps(content, indent=1) + "\n")
            print(name, content["rows"][name], flush=True)


if __name__ == "__main__":
    main()
