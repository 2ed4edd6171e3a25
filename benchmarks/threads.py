"""How OpenMP's threads wait for each other, on an idle machine and beside another busy process.

    python benchmarks/threads.py

PyTorch's threads meet after every operation. By default those that come first spin; where another
process has a core, they spin while the last one waits for its turn. No bound on the spinning
(`GOMP_SPINCOUNT`) is within 5% of the default on an idle machine and within 1.3 times one thread's
time on a busy one, so `revgan` follows the load and moves its threads (`revgan.load`).

Settings take turns, each in a process of its own, as OpenMP reads them once. In "revgan, later",
the other process begins or ends when the steps have begun. Refuses a machine that has something
else to do. Writes results/threads-cpu.json, if all settings are measured.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import psutil
from conditions import RESULTS, conditions

LATER = "revgan, later"
SETTINGS = {
    "default": {},
    "revgan": {},
    LATER: {},
    "spin 3000": {"GOMP_SPINCOUNT": "3000"},
    "spin 1000": {"GOMP_SPINCOUNT": "1000"},
    "spin 300": {"GOMP_SPINCOUNT": "300"},
    "spin 100": {"GOMP_SPINCOUNT": "100"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
WARMUP, STEPS = 3, 8
IDLE = 5.0
"""Percent of a core that other processes may take."""

BUSY = "while True: pass"


@contextmanager
def others(busy):
    """Within, another process works all the time, or none does."""
    process = subprocess.Popen([sys.executable, "-c", BUSY]) if busy else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def worker(setting, busy):
    """Prints the median milliseconds of the demo's forward and backward pass."""
    later = setting == LATER
    with ExitStack() as stack:
        meanwhile = stack.enter_context(ExitStack())
        meanwhile.enter_context(others(busy != later))
        if setting.startswith("revgan"):
            from revgan.load import Load

            stack.enter_context(Load().followed())
        import torch

        from revgan.load import PERIOD, heed
        from revgan.networks import RevGenerator

        torch.manual_seed(0)
        generator = RevGenerator(memory="reversible")
        images = torch.rand(4, 3, 64, 64) * 2 - 1

        def step():
            heed()
            start = time.perf_counter()
            generator(images, "AtoB").square().mean().backward()
            return 1000 * (time.perf_counter() - start)

        for _ in range(WARMUP):
            step()
        if later:
            meanwhile.close()
            stack.enter_context(others(busy))
            end = time.monotonic() + 2 * PERIOD  # within which the load is looked at
            while time.monotonic() < end:
                step()
        print(json.dumps(statistics.median(step() for _ in range(STEPS))))


def measure(name, busy):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, __file__, "--worker", name, *(["--busy"] if busy else [])],
        env=clean | SETTINGS[name],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main(options):
    if psutil.cpu_percent(interval=5) * (os.cpu_count() or 1) > IDLE:
        sys.exit("other processes are busy here; nothing measured now would mean anything")
    rows = {}
    for busy in (False, True):
        found = {name: [] for name in options.settings}
        for _ in range(options.turns):
            for name in found:
                found[name].append(measure(name, busy))
        for name, values in found.items():
            row = {
                "median_ms": round(statistics.median(values), 1),
                "least_ms": round(min(values), 1),
                "most_ms": round(max(values), 1),
            }
            rows.setdefault(name, {})["busy" if busy else "idle"] = row
            print("busy" if busy else "idle", name, row, flush=True)

    result = {
        **conditions("python benchmarks/threads.py"),
        "what": "ms of forward and backward, batch 4 x 64 x 64, width 32, depth 6, reversible",
        "rows": rows,
    }
    if set(rows) == set(SETTINGS):
        (RESULTS / "threads-cpu.json").write_text(json.dumps(result, indent=2) + "\n")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--worker", choices=list(SETTINGS), help="measures in this process")
    parser.add_argument("--busy", action="store_true", help="beside another process")
    return parser.parse_args()


if __name__ == "__main__":
    given = arguments()
    worker(given.worker, given.busy) if given.worker else main(given)
