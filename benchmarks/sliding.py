"""What it costs to translate a volume in windows: their results beside those of one pass.

    python benchmarks/sliding.py
    python benchmarks/sliding.py --steps 2 --sizes 96 --norms none --output /tmp/try.json

Trains two small networks on the regions of the sample set brain (T1 to grey matter), one with
instance norm and one without normalisation, and translates the held-out region in windows of
several sizes and overlaps, with exact and with approximate statistics, and in one pass. Compares,
in grey levels of 0 to 255, how far the two are apart, and the scores of both against the truth.
Writes sliding-cpu.json and sliding-cpu.md to results/.
"""

import argparse
import json
import tempfile
from pathlib import Path

from conditions import conditions

from revgan import Translator
from revgan.cli import main as revgan
from revgan.data.sets import DataConfig, open_data_set
from revgan.inference import Windows
from revgan.inference.windows import reach
from revgan.scores.metrics import score_pairs

CROP = 48
TRAINING = [
    "--preset=volumes",
    "--objective=paired",
    # As the preset had them when the results were recorded.
    "--generator.upsampling=transposed",
    "--generator.tanh=true",
    "--losses.l1_weight=100",
    "--optimizer.warmup=0",
    "--training.batch_size=1",
    "--training.ema=null",
    f"--data.crop={CROP}",
    "--generator.width=8",
    "--generator.depth=2",
    "--discriminator.width=8",
    "--optimizer.lr=0.001",
    "--training.sample_every=1000",
    "--runtime.device=cpu",
]
NORMS = ("instance", "none")
SIZES = (32, 48, 64, 96)
OVERLAPS = (0.25, 0.5, 0.75)


def trained(norm, folder, steps):
    own = [f"--run={folder}", f"--generator.norm={norm}", f"--training.steps={steps}"]
    assert revgan(["train", "brain", *own, *TRAINING]) == 0
    return Translator.from_pretrained(folder, device="cpu")


def measure(translator, norm, image, truth, whole, windows):
    translator.windows = windows
    translation = translator(image)
    apart = (translation - whole).abs() * 127.5
    scores = score_pairs([(translation, truth)])
    return {
        "norm": norm,
        "window": windows.size if windows else None,
        "overlap": windows.overlap if windows else None,
        "statistics": windows.statistics if windows else None,
        "mean_difference": float(apart.mean()),
        "largest_difference": float(apart.max()),
        "psnr": scores.psnr,
        "ssim": scores.ssim,
    }


def digits(value):
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def table(rows):
    heads = (
        "norm",
        "statistics",
        "window",
        "overlap",
        "mean difference",
        "largest",
        "PSNR",
        "SSIM",
    )
    lines = [f"| {' | '.join(heads)} |", "| --- | --- |" + " ---: |" * (len(heads) - 2)]
    for row in rows:
        cut = ("", "one pass", "")
        if row["window"]:
            cut = (row["statistics"], row["window"], row["overlap"])
        apart = (digits(row[name]) for name in ("mean_difference", "largest_difference"))
        scores = f"{row['psnr']:.2f}", f"{row['ssim']:.4f}"
        cells = (row["norm"], *cut, *apart, *scores)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--norms", nargs="+", default=NORMS, choices=NORMS)
    name = Path(__file__).parent / "results" / "sliding-cpu.json"
    parser.add_argument("--output", type=Path, default=name)
    options = parser.parse_args()
    rows, reaches = [], {}
    for norm in options.norms:
        with tempfile.TemporaryDirectory() as folder:
            translator = trained(norm, Path(folder) / "run", options.steps)
        config = DataConfig(path="brain", spatial_dims=3, crop=CROP, orientation="RAS")
        data = open_data_set(config, paired=True, preparation=translator.preparation)
        image, truth = (domain.load(domain.test[0]) for domain in (data.a, data.b))
        whole = translator(image)
        cuts = [Windows(size) for size in options.sizes]
        pairs = [(size, overlap) for size in options.sizes for overlap in OVERLAPS]
        cuts += [Windows(*pair, statistics="approximate") for pair in pairs]
        rows += [measure(translator, norm, image, truth, whole, cut) for cut in (None, *cuts)]
        reaches[norm] = reach(translator.generator.config)
    content = {
        **conditions("python benchmarks/sliding.py"),
        "training": ["revgan", "train", "brain", f"--training.steps={options.steps}", *TRAINING],
        "volume": list(image.shape[1:]),
        "reach": reaches,
        "results": rows,
    }
    options.output.write_text(json.dumps(content, indent=2) + "\n")
    options.output.with_suffix(".md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
