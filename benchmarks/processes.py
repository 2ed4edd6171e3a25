"""Four processes beside one with the joined batch: weights, time, and what a killed one leaves.

    OMP_NUM_THREADS=1 python benchmarks/processes.py

Trains on the set earth-small, in four processes of torchrun with batches of 1 and in one with
batches of 4, which take the same samples, paired and unpaired:

- weights after 1 and after 10 steps: how far those of four processes are from those of one,
  relative to what training changed (L2 of the generator's kernels: biases before a norm have no
  gradient but rounding, which Adam enlarges). Gradients are averaged in another order, so they
  differ by rounding, and Adam's first steps are of one size whatever the gradient's; the exact
  grid and leaky ReLUs enlarge that within a few steps;
- seconds a step, with gradients in buckets of 25 MiB and with a bucket for each weight, in turns.
  With fewer cores than processes these are upper bounds;
- after one process is killed: how soon all have ended, and what they say.

Writes results/processes-cpu.json.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import psutil
import torch
from conditions import RESULTS, conditions
from safetensors.torch import load_file

from revgan.cli import main as revgan
from revgan.training import averaging

PROCESSES, STEPS, TURNS = 4, 10, 3
OBJECTIVES = ("paired", "unpaired")
OPTIONS = [
    "--data.crop=64",
    "--generator.width=16",
    "--generator.depth=3",
    "--generator.memory=reversible",
    "--discriminator.width=16",
    "--training.ema=null",
    "--training.validate_every=null",
    "--training.sample_every=1000",
    "--training.log_every=1",
    "--runtime.device=cpu",
]
BUCKET = "REVGAN_BENCHMARK_BUCKET"
"""Environment variable: bytes of a bucket, for the processes that this script starts."""


def command(processes, run, objective, steps):
    """Of a training of so many steps in so many processes."""
    launcher = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={processes}",
        "--",
    ]
    return [
        sys.executable,
        *(launcher if processes > 1 else []),
        __file__,
        "worker",
        "train",
        "earth-small",
        f"--run={run}",
        f"--objective={objective}",
        f"--training.batch_size={PROCESSES // processes}",
        f"--training.steps={steps}",
        *OPTIONS,
    ]


def train(processes, run, objective, steps, *options, bucket=averaging.BUCKET):
    """Trains, and returns seconds a step, but for the first ones, which plan buckets."""
    subprocess.run(
        [*command(processes, run, objective, steps), *options],
        env=os.environ | {BUCKET: str(bucket)},
        check=True,
        capture_output=True,
    )
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    times = [PROCESSES / line["images_per_s"] for line in lines if "images_per_s" in line]
    return round(statistics.median(times[3:]), 3) if len(times) > 3 else None


def weights(run):
    """The kernels of a trained generator, in one vector."""
    found = load_file(run / "model" / "model.safetensors")
    kernels = [found[name] for name in sorted(found) if found[name].ndim > 1]
    return torch.cat([kernel.double().flatten() for kernel in kernels])


def difference(folder, objective, steps):
    """How far the weights of four processes and of one are apart, over what training changed."""
    runs = {n: folder / f"{objective}-{n}-{steps}" for n in (1, PROCESSES)}
    for processes, run in runs.items():
        train(processes, run, objective, steps)
    start = folder / f"{objective}-start"
    if not start.exists():
        train(1, start, objective, 1, "--optimizer.lr=1e-12")
    one, four, before = weights(runs[1]), weights(runs[PROCESSES]), weights(start)
    apart = float((four - one).norm() / (one - before).norm())
    print(f"{objective}, {steps} steps: {apart:.1e}", flush=True)
    return apart


def times(folder):
    """Seconds a step of four processes by the size of buckets, in turns."""
    found = {"25 MiB": [], "a weight": []}
    for turn, (name, size) in product(range(TURNS), zip(found, (averaging.BUCKET, 0), strict=True)):
        run = folder / f"time-{turn}-{size}"
        found[name].append(train(PROCESSES, run, "unpaired", 12, bucket=size))
        print(name, found[name][-1], "seconds a step", flush=True)
    return found


def killed(folder):
    """Kills one of four processes in the middle of a training."""
    run = folder / "killed"
    with subprocess.Popen(
        command(PROCESSES, run, "unpaired", 10**4),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as launcher:
        metrics = run / "metrics.jsonl"
        while not metrics.exists() or len(metrics.read_text().splitlines()) < 5:
            assert launcher.poll() is None, launcher.stdout.read()
            time.sleep(0.2)
        workers = [
            each
            for each in psutil.Process(launcher.pid).children(recursive=True)
            if "worker" in each.cmdline()
        ]
        workers = [each for each in workers if each.parent().pid == launcher.pid]
        workers[2].send_signal(signal.SIGKILL)
        began = time.monotonic()
        psutil.wait_procs(workers)
        seconds = time.monotonic() - began
        said = launcher.communicate()[0]
    sentences = sorted({line.strip() for line in said.splitlines() if "process" in line
                        and line.startswith("revgan")})  # fmt: skip
    said = [sentence.replace(str(run), "RUN") for sentence in sentences]
    return {"seconds until all had ended": round(seconds, 1), "said": said}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "processes-cpu.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="revgan-processes-") as name:
        folder = Path(name)
        content = {
            **conditions("OMP_NUM_THREADS=1 python benchmarks/processes.py"),
            "cores": os.cpu_count(),
            "weights' distance": {
                f"{objective}, {steps} steps": difference(folder, objective, steps)
                for objective, steps in product(OBJECTIVES, (1, STEPS))
            },
            "seconds a step": times(folder),
            "killed": killed(folder),
        }
    options.output.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        averaging.BUCKET = int(os.environ.get(BUCKET, averaging.BUCKET))
        sys.exit(revgan(sys.argv[2:]))
    main()
