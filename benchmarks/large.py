"""What it takes to translate files that are larger than memory: peak memory, disk, and time.

    python benchmarks/large.py                    # full sizes; hours on two busy cores
    python benchmarks/large.py --scale 16         # a sixteenth of the pixels or voxels

Makes a tiled GeoTIFF of 20,000 x 20,000 pixels with 3 bands and volumes of 512^3 voxels as OME-Zarr
and as NIfTI, and the same at a quarter and a sixteenth of that, and translates each with fresh
networks of width 8 by `revgan translate`, in a process of its own: with instance norm, by exact and
by approximate statistics, and without a norm. Besides, it only reads a file window by window, and
only writes one. "Peak" is the process's largest resident memory, libraries included; "scratch" is
what it says of its scratch files. Results go to results/large-cpu.json after each
measurement, and are not measured again when it is started anew; .md is made from it.
"""

import argparse
import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
from conditions import RESULTS, conditions

from revgan.cli import main as revgan
from revgan.data import formats
from revgan.data.formats import Header
from revgan.data.formats.contract import Ground
from revgan.data.mappings import Intensity
from revgan.data.preparation import Preparation
from revgan.data.tiling import tiles, whole
from revgan.networks import RevGenerator
from revgan.networks.pretrained import save_generator

FILES = {
    "image": {
        1: (20_000, 20_000),
        4: (10_000, 10_000),
        16: (5_000, 5_000),
        64: (2_500, 2_500),
        256: (1_250, 1_250),
    },
    "volume": {
        1: (512, 512, 512),
        4: (512, 256, 256),
        16: (128, 256, 256),
        64: (128, 128, 128),
        256: (64, 64, 128),
    },
}
"""Shapes by the share that they are of the full size."""
SUFFIXES = {"image": (".tif",), "volume": (".ome.zarr", ".nii")}
GROUND = Ground(np.array([[0.0, 10, 500_000], [-10, 0, 5_000_000], [0, 0, 1]]), "EPSG:32633")
"""From row and column to metres."""
WINDOWS = {"image": 1024, "volume": 64}
WAYS = {
    "read": None,
    "write": None,
    "no norm": ("none", "exact"),
    "instance norm, exact": ("instance", "exact"),
    "instance norm, approximate": ("instance", "approximate"),
}
VOLUMES = {"depth": 9, "downsamplings": 1, "first_kernel": 3, "last_kernel": 1}
"""As the preset volumes has them."""


def header(kind, shape):
    if kind == "image":
        return Header(3, shape, np.dtype(np.uint8), ground=GROUND)
    return Header(1, shape, np.dtype(np.int16), np.eye(4))


def window_values(head, window):
    """Waves and noise: what compresses about as well as a photo."""
    draws = np.random.default_rng([part.start for part in window])
    axes = np.ogrid[window]
    waves = sum(np.sin(axis / (30 + 11 * number)) for number, axis in enumerate(axes)) * 30 + 100
    noise = draws.integers(-12, 13, (head.channels, *(part.stop - part.start for part in window)))
    return (waves + noise).astype(head.dtype)


def make_file(path, kind, shape):
    head = header(kind, shape)
    if kind == "image":
        head = replace(head, source=tiled(path.with_name("tiled.tif")))
    with formats.create(path, head) as file:
        for window in tiles(whole(shape), WINDOWS[kind], 16):
            file.write(window_values(head, window), window)


def tiled(path):
    """What a GeoTIFF keeps of a file in tiles."""
    profile = {"driver": "GTiff", "dtype": "uint8", "compress": "deflate", "tiled": True}
    place = rasterio.transform.from_origin(0, 64, 2, 2)
    with rasterio.open(path, "w", width=64, height=64, count=3, transform=place, **profile) as file:
        file.write(np.zeros((3, 64, 64), np.uint8))
    return formats.probe(path).source


def read_file(path, kind, shape):
    with formats.open(path, len(shape)) as file:
        for window in tiles(whole(shape), WINDOWS[kind], 16):
            file.read(window)


def make_model(folder, kind, norm):
    dims, channels = (2, 3) if kind == "image" else (3, 1)
    changes = VOLUMES if kind == "volume" else {}
    init = "normal" if norm == "instance" else "kaiming"
    generator = RevGenerator(dims, channels, channels, width=8, norm=norm, init=init, **changes)
    save_generator(generator, folder)
    if kind == "volume":
        Preparation(Intensity(-100, 400), Intensity(-100, 400)).write(folder)


def child(task):
    """Does one thing, and prints what it took."""
    kind, way, shape = task["kind"], task["way"], tuple(task["shape"])
    source, target = Path(task["source"]), Path(task["target"])
    began = time.perf_counter()
    if way == "read":
        read_file(source, kind, shape)
    elif way == "write":
        make_file(target, kind, shape)
    else:
        options = [f"--window={task['window']}", f"--statistics={WAYS[way][1]}", "--device=cpu"]
        assert revgan(["translate", task["model"], str(source), str(target), *options]) == 0
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak": peak}))


def measure(task):
    """Runs a child, and reads what it says of its scratch files."""
    command = [sys.executable, __file__, "--child", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    said = re.search(r"up to ([\d.,]+) (MiB|GiB)", done.stdout)
    scratch = float(said[1].replace(",", "")) * {"MiB": 2**20, "GiB": 2**30}[said[2]] if said else 0
    return {**json.loads(done.stdout.splitlines()[-1]), "scratch": scratch}


def table(results):
    heads = ("file", "way", "size", "peak, MiB", "scratch, MiB", "seconds", "µs a position")
    lines = [f"| {' | '.join(heads)} |", "| --- | --- |" + " ---: |" * 5]
    for row in results:
        size = " x ".join(map(str, row["shape"]))
        mib = [f"{row[name] / 2**20:,.0f}" for name in ("peak", "scratch")]
        each = row["seconds"] / np.prod(row["shape"], dtype=float) * 1e6
        cells = (row["suffix"], row["way"], size, *mib, f"{row['seconds']:,.1f}", f"{each:.3g}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--scale", type=int, default=1, choices=sorted(FILES["image"]))
    parser.add_argument("--kinds", nargs="+", default=list(FILES), choices=list(FILES))
    parser.add_argument("--suffixes", nargs="+", default=[x for s in SUFFIXES.values() for x in s])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--folder", type=Path, help="for files; by default a temporary one")
    parser.add_argument("--output", type=Path, default=RESULTS / "large-cpu.json")
    options = parser.parse_args()
    if options.child:
        child(json.loads(options.child))
        return
    content = {"results": []}
    if options.output.is_file():
        content = json.loads(options.output.read_text())
    content |= {
        **conditions("python benchmarks/large.py"),
        "windows": WINDOWS,
    }
    known = {(row["suffix"], row["way"], tuple(row["shape"])) for row in content["results"]}
    folder = options.folder or Path(tempfile.mkdtemp(prefix="revgan-large-"))
    folder.mkdir(parents=True, exist_ok=True)
    shares = [options.scale * times for times in (16, 4, 1) if options.scale * times <= 256]
    for kind in options.kinds:
        suffixes = [suffix for suffix in SUFFIXES[kind] if suffix in options.suffixes]
        for shape, suffix in ((FILES[kind][s], x) for s in shares for x in suffixes):
            source = folder / f"{'x'.join(map(str, shape))}{suffix}"
            for way in options.ways:
                if (suffix, way, shape) in known:
                    continue
                if not source.exists():
                    make_file(source, kind, shape)
                task = {
                    "kind": kind,
                    "way": way,
                    "shape": shape,
                    "source": str(source),
                    "target": str(folder / f"out{suffix}"),
                    "window": WINDOWS[kind],
                }
                if WAYS[way] is not None:
                    task["model"] = str(folder / f"{kind}-{WAYS[way][0]}")
                    make_model(Path(task["model"]), kind, WAYS[way][0])
                row = {"suffix": suffix, "way": way, "shape": list(shape)}
                row |= measure(task)
                content["results"].append(row)
                content["results"].sort(key=lambda row: (row["suffix"], row["way"], row["shape"]))
                options.output.write_text(json.dumps(content, indent=2) + "\n")
                options.output.with_suffix(".md").write_text(table(content["results"]))
                print(table([row]).splitlines()[-1], flush=True)
    if options.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
