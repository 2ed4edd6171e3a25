"""How near float32 gradients come to float64's, over the spacing of the residual stream's grid.

    python benchmarks/grid.py

Gradients of an L1 loss through fresh generators, from several seeds; relative L2 distance over all
convolutions' weights from a naive run in float64 off the grid. Writes results/grid-cpu.json.
"""

import json
import statistics
from pathlib import Path

import torch
from conditions import conditions

from revgan.networks import RevGenerator
from revgan.reversible import grid

SEEDS = 9
SPACINGS = {"off": None, "2**-14": 10, "2**-16": 8, "2**-18": 6, "2**-20": 4}


def gradients(net, x):
    net.zero_grad()
    (net(x) - x.flip(-1)).abs().mean().backward()
    return torch.cat([p.grad.flatten().double() for p in net.parameters() if p.grad is not None])


def measure(size, width, depth):
    errors = {name: [] for name in SPACINGS}
    largest = 0.0
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        net = RevGenerator(width=width, depth=depth, memory="naive")
        x = torch.rand(1, 3, size, size) * 2 - 1
        for block in net.core:
            block.exact = False
        truth = gradients(net.double(), x.double())
        net.float()
        with torch.no_grad():
            largest = max(largest, float(net.core(net.encoder_a(x)).abs().max()))
        for name, range_bits in SPACINGS.items():
            for block in net.core:
                block.exact = range_bits is not None
            grid.RANGE_BITS = range_bits or grid.RANGE_BITS
            errors[name].append(float((gradients(net, x) - truth).norm() / truth.norm()))
    return {
        "size": size,
        "width": width,
        "depth": depth,
        "largest_value_in_the_stream": round(largest, 1),
        "median_error": {name: float(f"{statistics.median(e):.2g}") for name, e in errors.items()},
    }


def main():
    rows = []
    for case in ((64, 16, 6), (64, 16, 30), (128, 32, 6), (128, 32, 30)):
        rows.append(measure(*case))
        print(rows[-1], flush=True)
    result = {
        **conditions("python benchmarks/grid.py"),
        "seeds": SEEDS,
        "rows": rows,
    }
    path = Path(__file__).parent / "results" / "grid-cpu.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
