"""How well the core of continuous depth inverts, and how good its gradients are, by tolerance.

    python benchmarks/ode.py

For fresh generators of width 32 on an image of 64 x 64 pixels, in float32: how often the field is
evaluated forwards and backwards, the distance of inverse(core(x)) from x, that of the adjoint
method's gradients from those through the stored steps, and the memory of a step in both ways.
The reversible core stands beside it. Writes results/ode-cpu.json and results/ode-cpu.md.
"""

import json
from pathlib import Path

import torch
from conditions import conditions

from revgan.memory import measure_step
from revgan.networks import RevGenerator

DEPTHS = (1, 2, 6)
SETTINGS = [
    *(
        {"core": "ode", "ode_solver": "dopri5", "ode_rtol": tolerance, "ode_atol": tolerance}
        for tolerance in (1e-2, 1e-3, 1e-4, 1e-5)
    ),
    *({"core": "ode", "ode_solver": "rk4", "ode_step": step} for step in (0.5, 0.25, 0.125)),
    {"core": "reversible"},
    {"core": "reversible", "exact": False},
    {"core": "reversible", "coupling": "affine"},
]
HEADS = ("core", "depth", "evaluations", "of the inverse", "inverse off by", "gradient off by")
HEADS += ("naive, MiB", "memory saving, MiB")


def generator(depth, memory, setting):
    torch.manual_seed(0)
    return RevGenerator(width=32, depth=depth, memory=memory, **setting)


def inversion(net, image):
    """Evaluations forwards and backwards, and the relative error of coming back."""
    calls = []
    if net.config.core == "ode":
        net.core.field.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        x = net.encoder_a(image)
        y = net.core(x)
        forwards = len(calls)
        back = net.core.inverse(y)
    return forwards, len(calls) - forwards, float((back - x).norm() / x.norm())


def gradient(net, image):
    net.zero_grad()
    net(image).square().mean().backward()
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


def measure(depth, setting):
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    forwards, backwards, error = inversion(generator(depth, "naive", setting), image)
    nets = [generator(depth, memory, setting) for memory in ("naive", "reversible")]
    naive, saving = (gradient(net, image) for net in nets)
    for net in nets:
        net.zero_grad()
    peaks = [measure_step(lambda net=net: gradient(net, image)).peak for net in nets]
    return {
        **setting,
        "depth": depth,
        "evaluations": forwards,
        "evaluations_of_inverse": backwards,
        "inversion_error": error,
        "gradient_error": float((saving - naive).norm() / naive.norm()),
        "naive_mib": round(peaks[0] / 2**20, 2),
        "saving_mib": round(peaks[1] / 2**20, 2),
    }


def title(row):
    if row["core"] == "reversible":
        kind = row.get("coupling", "additive")
        return f"{kind}, exact" if row.get("exact", kind == "additive") else kind
    if "ode_step" in row:
        return f"{row['ode_solver']}, steps of {row['ode_step']}"
    return f"{row['ode_solver']}, {row['ode_rtol']:g}"


def table(rows):
    lines = [f"| {' | '.join(HEADS)} |", "| --- |" + " ---: |" * (len(HEADS) - 1)]
    for row in rows:
        counts = row["evaluations"] or "-", row["evaluations_of_inverse"] or "-"
        errors = (f"{row[name]:.1g}" for name in ("inversion_error", "gradient_error"))
        sizes = (f"{row[name]:.1f}" for name in ("naive_mib", "saving_mib"))
        cells = (title(row), row["depth"], *counts, *errors, *sizes)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main():
    rows = [measure(depth, setting) for depth in DEPTHS for setting in SETTINGS]
    content = {
        **conditions("python benchmarks/ode.py"),
        "results": rows,
    }
    folder = Path(__file__).parent / "results"
    (folder / "ode-cpu.json").write_text(json.dumps(content, indent=2) + "\n")
    (folder / "ode-cpu.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
