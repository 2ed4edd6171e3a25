"""How OpenMP's threads wait for each other, on an idle machine and beside another busy process.

    python benchmarks/threads.py

PyTorch's threads meet after every operation. By default those that come first spin; where another
process has a core, they spin while the last one waits for its turn. No bound on the spinning
(`GOMP_SPINCOUNT`) is within 5% of the default on an idle machine and within 1.3 times one thread's
time on a busy one, so `revgan` looks at the load before it decides (`revgan.environment.Load`).
Settings take turns, each in a process of its own, as OpenMP reads them once. Refuses a machine that
has something else to do. Writes results/threads-cpu.json.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import psutil

SETTINGS = {
    "default": {},
    "revgan": {},
    "spin 3000": {"GOMP_SPINCOUNT": "3000"},
    "spin 1000": {"GOMP_SPINCOUNT": "1000"},
    "spin 300": {"GOMP_SPINCOUNT": "300"},
    "spin 100": {"GOMP_SPINCOUNT": "100"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
TURNS, STEPS = 5, 8
IDLE = 5.0
"""Percent of a core that other processes may take."""

BUSY = "while True: pass"


def worker(setting):
    """Prints the median milliseconds of the demo's forward and backward pass."""
    if setting == "revgan":
        from revgan.environment import Load

        Load().yield_when_busy()
    import torch

    from revgan.networks import RevGenerator

    torch.manual_seed(0)
    generator = RevGenerator(memory="reversible")
    images = torch.rand(4, 3, 64, 64) * 2 - 1

    def step():
        generator(images, "AtoB").square().mean().backward()

    for _ in range(3):
        step()
    milliseconds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        milliseconds.append(1000 * (time.perf_counter() - start))
    print(json.dumps(statistics.median(milliseconds)))


def measure(name):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, __file__, "--worker", name],
        env=clean | SETTINGS[name],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main():
    if psutil.cpu_percent(interval=5) * (os.cpu_count() or 1) > IDLE:
        sys.exit("other processes are busy here; nothing measured now would mean anything")
    rows = {}
    for load in ("idle", "busy"):
        found = {name: [] for name in SETTINGS}
        busy = subprocess.Popen([sys.executable, "-c", BUSY]) if load == "busy" else None
        try:
            for _ in range(TURNS):
                for name in SETTINGS:
                    found[name].append(measure(name))
        finally:
            if busy is not None:
                busy.kill()
        for name, values in found.items():
            rows.setdefault(name, {})[load] = {
                "median_ms": round(statistics.median(values), 1),
                "least_ms": round(min(values), 1),
                "most_ms": round(max(values), 1),
            }
            print(load, name, rows[name][load], flush=True)
    from revgan.environment import library_versions

    result = {
        "command": "python benchmarks/threads.py",
        "what": "ms of forward and backward, batch 4 x 64 x 64, width 32, depth 6, reversible",
        "date": date.today().isoformat(),
        "cores": os.cpu_count(),
        "versions": library_versions(),
        "rows": rows,
    }
    path = Path(__file__).parent / "results" / "threads-cpu.json"
    path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    worker(sys.argv[2]) if "--worker" in sys.argv else main()
