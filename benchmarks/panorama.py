"""README's first picture: two regions of the Earth that training never saw, there and back.

    python benchmarks/panorama.py RUN_OR_MODEL docs/images/panorama.jpg

Whole blocks of the test, 36 degrees wide (540 pixels): East Asia, and the Horn of Africa. Satellite
image, its translation, the true map, the satellite image translated from the true map.
"""

import sys

from earth_runs import sheet

from revgan import Translator
from revgan.data.datasets.earth import LARGE, block_role
from revgan.evaluation.pretrained import world_pictures

BLOCKS = [(1, 8), (2, 6)]
"""Rows and columns of blocks."""

HEADS = "satellite image", "translated to a map", "true map", "translated from the true map"


def main():
    translator = Translator.from_pretrained(sys.argv[1], "cpu")
    world = world_pictures(LARGE)
    side = LARGE.block
    shown = []
    for row, column in BLOCKS:
        assert block_role(row, column, LARGE) == "test"
        rows = slice(row * side, (row + 1) * side)
        columns = slice(column * side, (column + 1) * side)
        a, b = (world[domain][rows, columns] for domain in "AB")
        shown.append((a, translator(a, "AtoB"), b, translator(b, "BtoA")))
    sheet(HEADS, shown, sys.argv[2])


if __name__ == "__main__":
    main()
