"""All that needs a GPU, in one go of at most 25 minutes.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --seconds 540                  # a share of it; the next call goes on
    python benchmarks/gpu.py --device cpu --small --output /tmp/gpu      # every part, on the CPU
    python benchmarks/gpu.py --predict     # predicted peaks, beforehand: takes no GPU, but minutes

- tests: those marked cuda;
- exactness: whether recomputation has the bits of stored activations, under cuDNN's choices of
  algorithms, with TF32 and without, in float32 and bf16; how far gradients are from float64's;
- peers: `revgan benchmark` with every variant, in float32 and bf16, at 128 to 512 pixels and
  (preset volumes) at 64^3 to 256^3, beside the planner's peaks;
- fits: a step at 512^3 in lean with 16 slabs, on as much memory as a card of 24 GiB has;
- paper: Tables 2 to 4, 100 samples after 100;
- graphs: the whole step at batch 1 as a CUDA graph, and compiled: time, and whether losses are
  those of ordinary steps.

Each part runs in a process of its own, within its share of the time, and writes its JSON in
results/gpu-NAME/ row by row. What is there isn't measured again; what failed is recorded, and the
rest goes on. Time that parts leave is given to those that had too little. table.md has the tables.

It needs PyTorch 2.11, accelerate, matplotlib, psutil, rich, safetensors, PyYAML, nibabel, pydicom;
for the tests pytest, hypothesis, jsonargparse; for the variants of these names memcnn and revtorch
(`pip install --no-deps`).
"""

import argparse
import json
import re
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import gpu_parts
import gpu_tables
import torch
from gpu_record import PartRecord, Setting

from revgan.environment import cpu_model
from revgan.files import write_text
from revgan.training import predict_training

RESULTS = Path(__file__).parent / "results"
PREDICTED = RESULTS / "gpu-predicted.json"
SECONDS = 1500
SHARES = {
    "tests": 120,
    "exactness": 110,
    "peers-2d-float32": 130,
    "peers-2d-bf16": 110,
    "paper": 420,
    "graphs": 140,
    "peers-3d-float32": 200,
    "peers-3d-bf16": 150,
    "fits": 120,
}
"""Seconds of each part; together `SECONDS`."""

GRACE = 20
"""The last seconds of a part's time, in which no row is begun. At its end the process is ended."""

LEAST = 45
"""Seconds with which a part is begun: some ten of them bring PyTorch and the GPU to life."""


def device_name(device):
    """Such as nvidia-h200."""
    if device == "cpu":
        return device
    # In another process: this one takes no memory of the GPU, as paper counts all that is in use.
    command = [sys.executable, "-c", "import torch; print(torch.cuda.get_device_name())"]
    name = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def run_all(options, folder):
    """Runs parts, each in a process, until all are complete or the time is over."""
    end = time.monotonic() + options.seconds
    shares = {name: share for name, share in SHARES.items() if name in options.parts}
    for share_out in (True, False):  # the second time with all that is left
        for name, share in shares.items():
            left = end - time.monotonic()
            record = PartRecord(folder / f"{name}.json")
            if record.complete or left < LEAST:
                continue
            run_part(name, options, folder, min(share, left) if share_out else left)
    write_text(folder / "table.md", gpu_tables.tables(folder, predictions(options.predicted)))
    print(f"{options.seconds - end + time.monotonic():.0f} s in all; see {folder / 'table.md'}")


def run_part(name, options, folder, seconds):
    """Runs a part in a process of its own, again after an error that took the process with it."""
    end = time.monotonic() + seconds
    path = folder / f"{name}.json"
    while True:
        before = PartRecord(path).progress
        left = end - time.monotonic()
        print(f"{name}: {left:.0f} s", flush=True)
        command = [sys.executable, __file__, "--only", name, "--seconds", f"{left - GRACE:.0f}"]
        command += ["--device", options.device, "--output", str(folder)]
        command += ["--predicted", str(options.predicted), *(["--small"] if options.small else [])]
        try:
            status = subprocess.run(command, timeout=left, check=False).returncode
        except subprocess.TimeoutExpired:
            PartRecord(path).forget_unfinished()
            return
        record = PartRecord(path)
        went_on = record.progress > before
        if status != 0 and not record.progress:  # before any row
            record.fail("process", f"ended with {status}")
        if status == 0 or not went_on or end - time.monotonic() < LEAST:
            return


def predictions(path):
    """The planner's peaks, by `gpu_parts.predicted_key`."""
    return json.loads(path.read_text())["peaks"] if path.exists() else {}


def predict(path, workloads):
    """Adds the planner's peaks that a file lacks."""
    peaks = predictions(path)
    for key, workload in workloads.items():
        if key in peaks:
            continue
        prediction = predict_training(workload)
        peaks[key] = {"peak": prediction.peak, "total": prediction.total}
        content = {
            "command": "python benchmarks/gpu.py --predict",
            "date": date.today().isoformat(),
            "machine": cpu_model(),
            "torch": torch.__version__,
            "peaks": peaks,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(content, indent=1) + "\n")
        print(key, f"{prediction.peak / 2**20:.1f} MiB", flush=True)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try every part")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all parts together")
    parser.add_argument("--parts", nargs="+", choices=list(SHARES), default=list(SHARES))
    parser.add_argument("--output", type=Path, help="by default results/gpu-DEVICE")
    parser.add_argument("--predicted", type=Path, default=PREDICTED, help="the planner's peaks")
    parser.add_argument("--predict", action="store_true", help="only fills that file")
    parser.add_argument("--only", choices=list(SHARES), help="runs one part in this process")
    options = parser.parse_args(arguments)
    if options.predict:
        predict(options.predicted, gpu_parts.predicted_workloads(options.small))
        return
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("there is no GPU here; --device cpu --small tries every part on the CPU")
    folder = options.output or RESULTS / f"gpu-{device_name(options.device)}"
    folder.mkdir(parents=True, exist_ok=True)
    if options.only is None:
        run_all(options, folder)
        return
    setting = Setting(options.device, options.small, folder, time.monotonic() + options.seconds)
    gpu_parts.run(options.only, setting)


if __name__ == "__main__":
    main()
