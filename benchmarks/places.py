"""A model of `earth.LARGE` on the demo's 15 held-out places, at the demo's resolution.

    python benchmarks/places.py RUN
    python benchmarks/places.py RUN --role val     # choices are made by places for validation

Each place is translated at the pictures' full resolution (320 x 320 pixels, 7 km each), averaged
down to the demo's 64 x 64, and compared with the demo's truth. Writes results/places-cpu.json
(the places for validation are only printed).
"""

import argparse
import json
from pathlib import Path

import numpy as np
from conditions import RESULTS, conditions

from revgan import Translator
from revgan.data.datasets.earth import LARGE, SMALL, Tile
from revgan.directions import DIRECTIONS
from revgan.evaluation.pretrained import distance, held_out_places, world_pictures


def at_low_resolution(place, made):
    """A place's translation, averaged, and the tile of the small layout that it is of."""
    scale = LARGE.size[0] // SMALL.size[0]
    top, left, side = (number // scale for number in (place.top, place.left, place.side))
    blocks = made.reshape(side, scale, side, scale, 3)
    return blocks.mean((1, 3)), Tile(top, left, place.role, side)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--role", choices=["test", "val"], default="test")
    options = parser.parse_args()
    large, small = world_pictures(LARGE), world_pictures(SMALL)
    translator = Translator.from_pretrained(options.run, "cpu")
    places = held_out_places(options.role)
    scores = {}
    for direction in DIRECTIONS:
        psnr = {}
        for place in places:
            made = translator(place.cut(large[direction[0]]), direction).astype(float)
            averaged, low = at_low_resolution(place, made)
            psnr[low.name] = round(distance(averaged, low.cut(small[direction[-1]])), 2)
        scores[direction] = {"mean": round(float(np.mean(list(psnr.values()))), 2), "places": psnr}
    print({direction: each["mean"] for direction, each in scores.items()}, len(places), "places")
    if options.role == "val":
        return
    content = {
        **conditions(f"python benchmarks/places.py {options.run.name}"),
        "psnr": scores,
    }
    (RESULTS / "places-cpu.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
