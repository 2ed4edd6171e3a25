"""Halos at shores, and shallow seas taken for land: where translations of the Earth are wrong.

    python benchmarks/shores.py RUN_OR_MODEL [RUN_OR_MODEL …]

Splits the 101 test tiles of the set `earth` into land within 4 pixels of a shore, land farther
away, sea within 4 pixels of a shore, shelf (the paler half of the sea farther away, as the map has
it) and open sea (the darker half). For each, over all its pixels: the mean absolute difference
from the truth in grey levels of 255, and the mean signed one, which is a halo's brightness. "Halo"
is by how much the mean absolute difference near shores exceeds that away from them, "shelf" by how
much that of the shelf exceeds the open sea's. Adds to results/shores-cpu.json, by the run's name.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from conditions import record
from scipy.ndimage import distance_transform_edt

from revgan import Translator
from revgan.data.datasets.earth import LARGE, tiles
from revgan.directions import DIRECTIONS
from revgan.evaluation.pretrained import world_pictures

NEAR = 4
"""Pixels of 7 km; the network's downsamplings make one value of 4 x 4."""


def parts(relief):
    """Masks (H, W) of the world by name."""
    red, blue = relief[..., 0].astype(int), relief[..., 2].astype(int)
    sea = blue - red > 40  # as the tiles are chosen
    to_land, to_sea = distance_transform_edt(sea), distance_transform_edt(~sea)
    grey = relief.mean(-1)
    far = to_land > NEAR
    pale = grey > np.median(grey[far])
    return {
        "land at shores": ~sea & (to_sea <= NEAR),
        "inland": to_sea > NEAR,
        "sea at shores": sea & ~far,
        "shelf": far & pale,
        "open sea": far & ~pale,
    }


def measured(translator, pictures, masks, places):
    """Differences by direction and part."""
    found = {}
    for way in DIRECTIONS:
        differences = {name: [] for name in masks}
        for place in places:
            made = translator(place.cut(pictures[way[0]]), way).astype(float)
            difference = made - place.cut(pictures[way[-1]])
            for name, mask in masks.items():
                differences[name].append(difference[place.cut(mask)])
        joined = {name: np.concatenate(each) for name, each in differences.items()}
        mae = {name: np.abs(values).mean() for name, values in joined.items()}
        near, far = (
            np.abs(np.concatenate([joined[name] for name in names])).mean()
            for names in (("land at shores", "sea at shores"), ("inland", "shelf", "open sea"))
        )
        found[way] = {
            "mean absolute difference": {name: round(value, 2) for name, value in mae.items()},
            "mean difference": {name: round(v.mean(), 2) for name, v in joined.items()},
            "halo": round(near - far, 2),
            "shelf": round(mae["shelf"] - mae["open sea"], 2),
        }
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    options = parser.parse_args()
    pictures = world_pictures(LARGE)
    masks = parts(pictures["B"])
    places = [tile for tile in tiles(pictures["B"], LARGE) if tile.role == "test"]
    for model in options.models:
        name = Path(model).name
        translator = Translator.from_pretrained(model, "cpu")
        found = measured(translator, pictures, masks, places)
        record("shores-cpu.json", name, f"python benchmarks/shores.py {name}", found)
        print(name, json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
