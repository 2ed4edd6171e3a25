"""Makes one of the models that come with the package from a run that was evaluated.

    python benchmarks/ship.py RUN earth --a "satellite image" --b map --about "..." --licence mit

Writes src/revgan/models/NAME: the weights in 16 bits, what the networks are, how scans are
prepared, a model card, and about.yaml for `revgan models`. Prints how far 16 bits move the
translation of noise, in grey levels.
"""

import argparse
import json
import shutil
from copy import deepcopy
from pathlib import Path

import torch
import yaml

from revgan import Translator
from revgan.directions import DIRECTIONS
from revgan.networks.places import SHIPPED
from revgan.networks.pretrained import save_generator
from revgan.sharing.card import model_card
from revgan.training.runs import existing_run

GREY_LEVELS = 127.5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--a", required=True, help="what A is, in a few words")
    parser.add_argument("--b", required=True)
    parser.add_argument("--about", required=True, help="the data, for the card")
    parser.add_argument("--licence", required=True)
    options = parser.parse_args()
    run, folder = existing_run(options.run), SHIPPED / options.name
    translator = Translator.from_pretrained(options.run, "cpu")
    generator = translator.generator
    save_generator(deepcopy(generator).half(), folder)
    shutil.copy(run.model / "intensity.yaml", folder)
    card = model_card(
        options.name, generator, translator.preparation, run,
        about=options.about, license=options.licence,
    )  # fmt: skip
    (folder / "README.md").write_text(card)
    rows = json.loads(run.scores.read_text())["test"]
    scores = {row["direction"]: row for row in rows if row["method"] == "RevGAN"}
    about = {
        "a": options.a,
        "b": options.b,
        "licence": options.licence,
        "psnr": {way: round(float(scores[way]["psnr"]), 1) for way in DIRECTIONS},
        "ssim": {way: round(float(scores[way]["ssim"]), 3) for way in DIRECTIONS},
    }
    (folder / "about.yaml").write_text(yaml.safe_dump(about, sort_keys=False))

    shipped = Translator.from_pretrained(folder, "cpu")
    x = torch.rand(generator.in_channels, *[64] * generator.spatial_dims) * 2 - 1
    moved = (shipped(x) - translator(x)).abs().max().item() * GREY_LEVELS
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(f"Wrote {folder}: {size:.1f} MB; 16 bits move a translation by {moved:.2f} grey levels")


if __name__ == "__main__":
    main()
