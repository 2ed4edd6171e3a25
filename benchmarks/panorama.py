"""README's first picture: two regions of the Earth that training never saw, there and back.

    python benchmarks/panorama.py RUN_OR_MODEL docs/images/panorama.jpg

Whole blocks of the test, 36 degrees wide (540 pixels): East Asia, and the Horn of Africa. Satellite
image, its translation, the true map, the satellite image translated from the true map.
"""

import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from revgan import Translator
from revgan.data.datasets.earth import LARGE, block_role
from revgan.evaluation.pretrained import world_pictures

BLOCKS = [(1, 8), (2, 6)]
"""Rows and columns of blocks."""

NAMES = "satellite image", "translated to a map", "true map", "translated from the true map"
GAP, HEAD = 8, 40


def main():
    translator = Translator.from_pretrained(sys.argv[1], "cpu")
    world = world_pictures(LARGE)
    side = LARGE.block
    size = len(NAMES) * (side + GAP) - GAP, HEAD + len(BLOCKS) * (side + GAP) - GAP
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for number, name in enumerate(NAMES):
        middle = number * (side + GAP) + side // 2
        draw.text((middle, HEAD // 2), name, "black", ImageFont.load_default(24), anchor="mm")
    for place, (row, column) in enumerate(BLOCKS):
        assert block_role(row, column, LARGE) == "test"
        rows = slice(row * side, (row + 1) * side)
        columns = slice(column * side, (column + 1) * side)
        a, b = (world[domain][rows, columns] for domain in "AB")
        shown = a, translator(a, "AtoB"), b, translator(b, "BtoA")
        for number, picture in enumerate(shown):
            at = number * (side + GAP), HEAD + place * (side + GAP)
            canvas.paste(Image.fromarray(np.ascontiguousarray(picture)), at)
    canvas.save(sys.argv[2], quality=88, optimize=True)


if __name__ == "__main__":
    main()
