"""Trains and scores runs on the Earth tiles, for the scripts that compare such runs."""

import json
import shutil
import subprocess
import sys

import numpy as np
from conditions import RESULTS, conditions
from PIL import Image, ImageDraw, ImageFont

REFERENCES = ("input unchanged", "mean training colour")


def train_and_score(run, options):
    """The scores of a run by `revgan evaluate`, trained before where that is not done yet.

    An interrupted run goes on from its last checkpoint, or starts anew without one.

    Args:
        run: its folder, whose name tells runs of different options apart.
        options: of `revgan train earth-small`.
    """
    if not (run / "scores.json").exists():
        if any(run.glob("checkpoints/step-*")):
            _revgan("train", "--resume", run)
        else:
            shutil.rmtree(run, ignore_errors=True)
            _revgan("train", "earth-small", "--run", run, *options)
        _revgan("evaluate", run, "--device=cpu")
    return json.loads((run / "scores.json").read_text())


def folder_name(*parts):
    """A name for a run's folder."""
    text = "-".join(map(str, parts))
    return "".join(c if c.isalnum() or c == "." else "-" for c in text)


def write_results(name, command, rows, table):
    """Writes results/NAME.json and results/NAME.md."""
    content = {
        **conditions(command),
        "results": rows,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    (RESULTS / f"{name}.md").write_text(table)


def sheet(heads, rows, path):
    """Saves pictures of one size, (H, W, 3) uint8 in rows, below the heads of their columns."""
    gap, top = 8, 40
    height, width = rows[0][0].shape[:2]
    size = len(heads) * (width + gap) - gap, top + len(rows) * (height + gap) - gap
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for number, head in enumerate(heads):
        middle = number * (width + gap) + width // 2
        draw.text((middle, top // 2), head, "black", ImageFont.load_default(24), anchor="mm")
        for place, pictures in enumerate(rows):
            at = number * (width + gap), top + place * (height + gap)
            canvas.paste(Image.fromarray(np.ascontiguousarray(pictures[number])), at)
    canvas.save(path, quality=88, optimize=True)


def markdown(heads, rows):
    """A table whose columns, but for the first, are numbers."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _revgan(*arguments):
    command = [sys.executable, "-m", "revgan", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
