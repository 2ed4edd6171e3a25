"""A model of `earth.LARGE` on the demo's 15 held-out places, at the demo's resolution.

    python benchmarks/places.py RUN
    python benchmarks/places.py RUN --role val     # choices are made by places for validation

Each place is translated at the pictures' full resolution (320 x 320 pixels, 7 km each), averaged
down to the demo's 64 x 64, and compared with the demo's truth. Writes results/places-cpu.json
(the places for validation are only printed).
"""

import argparse
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
from earth_runs import RESULTS

from revgan import Translator
from revgan.data.datasets.earth import LARGE, SMALL, tiles, world_picture
from revgan.environment import cpu_model, library_versions

PICTURES = {"A": "bmng.jpg", "B": "shadedrelief.jpg"}
SCALE = LARGE.size[0] // SMALL.size[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--role", choices=["test", "val"], default="test")
    options = parser.parse_args()
    small = {domain: world_picture(name, SMALL) for domain, name in PICTURES.items()}
    large = {domain: world_picture(name, LARGE) for domain, name in PICTURES.items()}
    translator = Translator.from_pretrained(options.run, "cpu")
    layout = replace(SMALL, validation=True)
    places = [tile for tile in tiles(small["B"], layout) if tile.role == options.role]
    scores = {}
    for direction in ("AtoB", "BtoA"):
        source, target = direction[0], direction[-1]
        psnr = {}
        for tile in places:
            top, left, side = (SCALE * number for number in (tile.top, tile.left, tile.side))
            whole = large[source][top : top + side, left : left + side]
            made = translator(whole, direction).astype(float)
            made = made.reshape(tile.side, SCALE, tile.side, SCALE, 3).mean((1, 3))
            error = np.square(made - tile.cut(small[target])).mean()
            psnr[tile.name] = round(float(10 * np.log10(255**2 / error)), 2)
        scores[direction] = {"mean": round(float(np.mean(list(psnr.values()))), 2), "places": psnr}
    print({direction: each["mean"] for direction, each in scores.items()}, len(places), "places")
    if options.role == "val":
        return
    content = {
        "command": f"python benchmarks/places.py {options.run.name}",
        "date": date.today().isoformat(),
        "machine": cpu_model(),
        "versions": library_versions(),
        "psnr": scores,
    }
    (RESULTS / "places-cpu.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
