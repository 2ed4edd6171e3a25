"""`revgan evaluate`: score runs on their test sets, write reports, and compare them."""

import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace
from rich.console import Console

from revgan.directions import DomainName
from revgan.errors import UsageError, visible
from revgan.evaluation.wanted import TISSUES, UNET, DataRange, Distribution, ScoreOptions
from revgan.options import (
    Parser,
    add_names_option,
    add_test_options,
    add_trust_option,
    add_window_options,
    models_of_runs,
    trained_config,
    window_options,
)
from revgan.text import PlainConsole


def add_options(parser: Parser) -> None:
    """Which runs, which scores, and where they go."""
    parser.description = (
        "Score runs on their test images or volumes, write their reports, and compare them."
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="run",
        help=(
            "a run folder, its checkpoints/step-N, or the folder of `revgan train --folds`, whose "
            "folds are joined"
        ),
    )
    parser.add_argument(
        "--segmenter",
        metavar="unet|FILE",
        type=str | None,
        help=(
            "judge photos made from label maps with a segmentation network: unet trains a small "
            "one on the real training pairs, once; FILE is in ONNX, or a U-Net in safetensors, "
            "takes (1, C, H, W) in [-1, 1] and returns a score per class"
        ),
    )
    add_trust_option(parser, "--segmenter")
    parser.add_argument(
        "--distribution",
        type=Distribution,
        nargs="+",
        help=(
            "compare translations and real images as sets (KID), using features from convolutions "
            "with random weights, from --segmenter unet, or from Inception (adds FID; needs a "
            "download)"
        ),
    )
    parser.add_argument(
        "--lpips", action="store_true", help="compute LPIPS for each image too (needs a download)"
    )
    parser.add_argument(
        "--data-range",
        metavar="auto|type|set|LOW HIGH",
        type=str | None,
        nargs="+",
        help=(
            "what PSNR and SSIM take for the lowest and highest possible value, in the files' "
            "units: the range of the files' type, that of the truth in all test scans, or two "
            "numbers such as -1024 3000; auto is type for files of 8 bits, else set"
        ),
    )
    parser.add_argument(
        "--synthetic-ct",
        metavar="A|B",
        type=Literal["A", "B"] | None,
        help=(
            "score translations into this domain, which is CT in Hounsfield units, as SynthRAD2025 "
            "does (MAE, bias, PSNR and MS-SSIM inside testMask) and by tissue"
        ),
    )
    parser.add_argument(
        "--tissues",
        metavar=("AIR", "BONE"),
        type=float,
        nargs=2,
        default=list(TISSUES),
        help="with --synthetic-ct: HU of the truth below which is air and above which is bone",
    )
    parser.add_argument(
        "--structures",
        metavar="FILE",
        type=str | None,
        help=(
            "with --synthetic-ct: Dice and HD95 of the structures that a network finds in "
            "synthetic and real CT; FILE is a MONAI U-Net (.safetensors with its .yaml) or ONNX, "
            "takes (1, 1, *spatial) in HU and returns scores of background and structures"
        ),
    )
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    parser.add_argument(
        "--table",
        metavar="FILE",
        type=str | None,
        nargs="+",
        help=(
            "also write the tables to files: Markdown (.md), CSV (.csv), JSON (.json) or LaTeX "
            "(.tex)"
        ),
    )
    add_names_option(parser)
    add_test_options(parser)
    add_window_options(parser)


def run(options: Namespace, console: Console) -> int:
    """Evaluates each run, and shows the scores; several runs share their tables."""
    from revgan.evaluation.comparison import require_same_test
    from revgan.evaluation.joining import join
    from revgan.evaluation.runs import run_evaluation, write_scores
    from revgan.evaluation.showing import show_scores
    from revgan.training.runs import folder_of_folds

    wanted, files = _scores(options), _files(options)
    models = models_of_runs(options.runs, options.names)
    if options.json:
        console = PlainConsole(stderr=True)
    folders = [folder for runs in models.values() for folder in runs]
    configs = {folder: trained_config(folder, options) for folder in folders}
    windows = window_options(options)
    evaluations, notes = {}, []
    for stream, (name, runs) in enumerate(models.items()):
        trained = {}
        for folder in runs:
            if len(folders) > 1:
                console.print(f"Evaluating {visible(folder.trained)}", soft_wrap=True)
            trained[str(folder.trained)] = run_evaluation(
                configs[folder], folder, console, windows, wanted, options.model
            )
        evaluations[name], note = join(trained, stream)
        notes += [f"{name}: {note}."] if note else []
        if (folds := folder_of_folds(runs)) is not None:
            write_scores(folds, evaluations[name])
        require_same_test(evaluations)  # now, rather than after all others
    named = options.names is not None or bool(notes)
    show_scores(evaluations, console, files=files, as_json=options.json, named=named, notes=notes)
    if not options.json:
        for folder in folders:
            console.print(f"The report: {visible(folder.report)}", soft_wrap=True)
    return 0


def _scores(options: Namespace) -> ScoreOptions:
    distributions = tuple(dict.fromkeys(options.distribution or ()))
    if "segmenter" in distributions and options.segmenter != UNET:
        raise UsageError(
            f"--distribution segmenter needs --segmenter {UNET}, whose features it uses"
        )
    low, high = options.tissues
    if not low < high:
        raise UsageError(f"--tissues must be two HU of which the first is lower, not {low} {high}")
    if options.structures is not None and options.synthetic_ct is None:
        raise UsageError("--structures needs --synthetic-ct, which says which domain is CT")
    return ScoreOptions(
        options.segmenter,
        distributions,
        options.lpips,
        options.trust,
        _data_range(options.data_range),
        _domain(options.synthetic_ct),
        (low, high),
        options.structures,
    )


def _domain(letter: Literal["A", "B"] | None) -> DomainName | None:
    names: dict[str, DomainName] = {"A": "a", "B": "b"}
    return None if letter is None else names[letter]


def _data_range(given: Sequence[str] | None) -> DataRange:
    match given:
        case None:
            return "auto"
        case ["auto" | "type" | "set" as word]:
            return word
        case [low, high]:
            with suppress(ValueError):
                limits = float(low), float(high)
                if -math.inf < limits[0] < limits[1] < math.inf:
                    return limits
    raise UsageError(
        "--data-range must be auto, type, set, or two numbers of which the first is lower, not "
        f"{' '.join(given)}"
    )


def _files(options: Namespace) -> list[Path]:
    from revgan.evaluation.table_files import FORMATS

    files = [Path(name) for name in options.table or ()]
    for path in files:
        if path.suffix.lower() not in FORMATS:
            raise UsageError(f"--table {path} must end in one of {', '.join(FORMATS)}")
        path.parent.mkdir(parents=True, exist_ok=True)  # fails now rather than after the evaluation
    return files
