"""Runs a tutorial's commands as the page has them, and keeps the figures that they draw.

    OMP_NUM_THREADS=1 python benchmarks/tutorials.py photos --folder /tmp/photos

Each `revgan figure ... --output NAME.png` of docs/tutorials/PAGE.md becomes
docs/images/tutorial-NAME.jpg, which the page shows. Scores and times go to
results/tutorials.json. A training that is complete in the folder isn't repeated.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

from conditions import RESULTS, conditions
from PIL import Image

DOCS = RESULTS.parent.parent / "docs"

MOST = 300_000
"""Bytes of a figure in the repository."""


def run(command, folder):
    """Runs a command of the page, and returns its arguments and seconds."""
    program, *arguments = shlex.split(command)
    assert program == "revgan"
    print(f"$ {command}", flush=True)
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "revgan", *arguments], cwd=folder, check=True)
    return arguments, time.monotonic() - start


def keep(figure):
    """Stores a figure for the page, as a JPEG of good quality."""
    target = DOCS / "images" / f"tutorial-{figure.stem}.jpg"
    with Image.open(figure) as picture:
        picture.convert("RGB").save(target, quality=88, subsampling=0, optimize=True)
    size = target.stat().st_size
    assert size < MOST, f"{target} has {size} bytes"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page")
    parser.add_argument("--folder", type=Path, help="where to work; a new one by default")
    options = parser.parse_args()
    folder = options.folder or Path(mkdtemp(prefix="revgan-tutorial-"))
    folder.mkdir(parents=True, exist_ok=True)
    page = (DOCS / "tutorials" / f"{options.page}.md").read_text()
    seconds, scores = None, {}
    for language, code in re.findall(r"```(python|sh)\n(.*?)```", page, re.S):
        if language == "python":
            subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
            continue
        for command in code.replace("\\\n", "").splitlines():
            name, *arguments = shlex.split(command)[1:]
            run_folder = (
                folder / arguments[arguments.index("--run") + 1] if name == "train" else None
            )
            if run_folder and (run_folder / "scores.json").exists():
                continue
            _, took = run(command, folder)
            if name == "train":
                seconds = took
            if name == "evaluate":
                scores = json.loads((folder / arguments[0] / "scores.json").read_text())
            if name == "figure":
                keep(folder / arguments[arguments.index("--output") + 1])
    path = RESULTS / "tutorials.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    earlier = results.get(options.page, {})
    results[options.page] = {
        **conditions(f"python benchmarks/tutorials.py {options.page}"),
        "seconds of training": round(seconds) if seconds else earlier.get("seconds of training"),
        "scores": scores,
    }
    path.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
