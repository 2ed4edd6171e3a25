"""Exported files beside the models that they are made of: the same values, and in what time.

    python benchmarks/export.py --output benchmarks/results/export-cpu

Every preset's generator, with fresh weights, becomes an ONNX file in both directions. onnxruntime
runs each on random images or volumes of three sizes, odd ones too, beside PyTorch. Then the two
take turns at larger ones, on the same threads. Rows of presets that aren't asked for are kept.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from revgan.directions import DIRECTIONS
from revgan.environment import library_versions
from revgan.exporting import ExportOptions, export_model
from revgan.inference import Translator
from revgan.networks import build_generator
from revgan.options.runs import stored_config
from revgan.training.config import preset_names, preset_path

TIMED = {
    "default": (256, 256),
    "pix2pix": (256, 256),
    "pix2pix-unet": (256, 256),
    "volumes": (64, 64, 64),
}
"""The presets whose translations are timed, and how large these are."""


def model(preset):
    """A preset's translator with fresh weights; weights of 0.02 would give images of one grey.

    Layers that start at zero, so that a core or a whole network begins as the identity, get small
    weights: an exported file would otherwise be compared for what it leaves out.
    """
    config = stored_config(preset_path(preset))
    generator = replace(config.generator, memory="naive", init="kaiming")
    torch.manual_seed(0)
    dims = config.data.spatial_dims
    channels = (3, 3) if dims == 2 else (1, 1)
    network = build_generator(generator, dims, *channels)
    for weight in network.parameters():
        if weight.dim() > 1 and not weight.any():
            torch.nn.init.normal_(weight, std=0.3 * weight[0].numel() ** -0.5)
    return Translator(network)


def sizes(translator):
    """Three sizes, the last two of them odd."""
    if translator.generator.config.model == "unet":  # takes no smaller ones
        return [(256, 512), (301, 267), (455, 330)]
    if translator.generator.spatial_dims == 2:
        return [(64, 96), (101, 67), (255, 130)]
    return [(16, 24, 16), (17, 25, 30), (33, 18, 41)]


def difference(path, translator, direction):
    """The largest difference of an exported file, as a share of the output's range."""
    exported = Translator.from_pretrained(path, "cpu")
    found = []
    for shape in sizes(translator):
        x = torch.rand(translator.channels(direction)[0], *shape) * 2 - 1
        expected = translator(x, direction)
        spread = max(2.0, float(expected.max() - expected.min()))
        found.append(float((exported(x, direction) - expected).abs().max()) / spread)
    return found


def timed(path, translator, shape, rounds):
    """Median seconds of both, which take turns."""
    exported = Translator.from_pretrained(path, "cpu")
    x = torch.rand(translator.channels("AtoB")[0], *shape) * 2 - 1
    seconds = {"PyTorch": [], "onnxruntime": []}
    for number in range(rounds + 1):
        for name, each in (("PyTorch", translator), ("onnxruntime", exported)):
            start = time.perf_counter()
            each(x, "AtoB")
            if number:  # the first round is for warming up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def measure(presets, rounds, folder):
    rows = []
    for preset in presets:
        translator = model(preset)
        for direction in DIRECTIONS:
            path = folder / f"{preset}-{direction}.onnx"
            start = time.perf_counter()
            export_model(translator, path, direction, ExportOptions())
            row = {"preset": preset, "direction": direction}
            row["export_seconds"] = time.perf_counter() - start
            row["mebibytes"] = path.stat().st_size / 2**20
            row["differences"] = difference(path, translator, direction)
            if preset in TIMED and direction == "AtoB":
                row["seconds"] = timed(path, translator, TIMED[preset], rounds)
            rows.append(row)
            print(row, flush=True)
    return rows


def table(rows):
    lines = [
        "| preset | direction | MiB | largest difference at three sizes |",
        "| --- | --- | --- | --- |",
    ]
    for row in rows:
        shown = ", ".join(f"{value:.1e}" for value in row["differences"])
        lines.append(f"| {row['preset']} | {row['direction']} | {row['mebibytes']:.1f} | {shown} |")
    lines += ["", "| preset | size | PyTorch | onnxruntime |", "| --- | --- | --- | --- |"]
    for row in rows:
        if "seconds" in row:
            size = " x ".join(map(str, TIMED[row["preset"]]))
            both = " | ".join(
                f"{row['seconds'][name]:.3f} s" for name in ("PyTorch", "onnxruntime")
            )
            lines.append(f"| {row['preset']} | {size} | {both} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=preset_names())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, required=True, help="without a suffix")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options.presets, options.rounds, Path(folder))
    if (before := options.output.with_suffix(".json")).exists():
        rows += (
            r for r in json.loads(before.read_text())["rows"] if r["preset"] not in options.presets
        )
        rows.sort(key=lambda row: (row["preset"], row["direction"]))
    about = library_versions() | {"load": f"{load:.1f}", "date": time.strftime("%Y-%m-%d")}
    options.output.with_suffix(".json").write_text(
        json.dumps({"about": about, "rows": rows}, indent=2) + "\n"
    )
    said = ", ".join(f"{name} {value}" for name, value in about.items())
    options.output.with_suffix(".md").write_text(
        f"# Exported files beside their models\n\n{said}\n\nDifferences are shares of the output's "
        f"range. Made by `python benchmarks/export.py`.\n\n{table(rows)}\n"
    )


if __name__ == "__main__":
    main()
