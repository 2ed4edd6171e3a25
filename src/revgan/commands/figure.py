"""`revgan figure`: test images beside translations, or how these agree with the truth."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace
from rich.console import Console

from revgan.directions import Direction
from revgan.errors import UsageError, visible
from revgan.options import (
    Parser,
    add_names_option,
    add_test_options,
    models_of_runs,
    named_runs,
    trained_config,
)

SAMPLES = 6
"""The default number of test images in a figure."""

FORMATS = (".png", ".pdf", ".svg")


def add_options(parser: Parser) -> None:
    """Which runs, which test images, and which files to write."""
    parser.description = (
        "Draw rows of test images: the input, each run's translation, and the truth; or plots of "
        "how translations agree with the truth."
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="run",
        help=(
            "a run folder, or its checkpoints/step-N; with --agreement also the folder of `revgan "
            "train --folds`"
        ),
    )
    parser.add_argument("--direction", type=Direction, default="AtoB", help="AtoB or BtoA")
    parser.add_argument(
        "--samples",
        metavar="COUNT|NAME",
        type=str | None,
        nargs="+",
        help=(
            f"how many test images, evenly spread, by default {SAMPLES}, or their names; a single "
            "number is a count, so write 6.png for the image 6"
        ),
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=str | None,
        nargs="+",
        help=(
            "files to write, ending in .png, .pdf or .svg; by default figure-AtoB.png and .pdf, or "
            "figure-BtoA; with --agreement agreement-AtoB"
        ),
    )
    parser.add_argument(
        "--window",
        metavar=("CENTRE", "WIDTH"),
        type=float,
        nargs=2,
        help=(
            "show translations and truth from black at CENTRE - WIDTH/2 to white, in their files' "
            "units, such as 40 400 for soft tissue in CT; by default the first run's range"
        ),
    )
    parser.add_argument(
        "--input-window",
        metavar=("CENTRE", "WIDTH"),
        type=float,
        nargs=2,
        help="the same for the input, in its files' units",
    )
    parser.add_argument(
        "--plane",
        type=Literal["axial", "coronal", "sagittal"] | None,
        help="show slices of volumes in this plane only; by default in all three, side by side",
    )
    parser.add_argument(
        "--agreement",
        action="store_true",
        help=(
            "draw Bland-Altman plots and errors by intensity instead of test images, from what "
            "revgan evaluate wrote into each run's agreement.json"
        ),
    )
    add_names_option(parser)
    add_test_options(parser)


def run(options: Namespace, console: Console) -> int:
    """Draws the figure, and says where it is."""
    paths = _paths(options)
    earlier = ", in place of what was there" if any(path.exists() for path in paths) else ""
    if options.agreement:
        from revgan.evaluation.agreement import draw_agreement

        if options.samples or options.window or options.input_window or options.plane:
            raise UsageError(
                "--samples, --plane, --window and --input-window have no meaning with --agreement, "
                "which draws no images"
            )
        models = models_of_runs(options.runs, options.names)
        draw_agreement(models, options.direction, paths)
    else:
        from revgan.evaluation.sample_figure import Shown, draw_samples

        runs = named_runs(options.runs, options.names)
        configs = {name: trained_config(folder, options) for name, folder in runs.items()}
        samples = options.samples or [str(SAMPLES)]
        of_input = _window("--input-window", options.input_window)
        shown = Shown(of_input, _window("--window", options.window), options.plane)
        draw_samples(
            runs, configs, paths, options.direction, samples, options.model, console, shown
        )
    console.print(f"Wrote {' and '.join(map(visible, paths))}{earlier}", soft_wrap=True)
    return 0


def _paths(options: Namespace) -> list[Path]:
    """The files to write."""
    what = "agreement" if options.agreement else "figure"
    outputs = options.output or [f"{what}-{options.direction}{end}" for end in (".png", ".pdf")]
    paths = [Path(output) for output in outputs]
    for path in paths:
        if path.suffix.lower() not in FORMATS:
            raise UsageError(f"--output {path} must end in one of {', '.join(FORMATS)}")
    return paths


def _window(name: str, given: Sequence[float] | None) -> tuple[float, float] | None:
    if given is None:
        return None
    centre, width = given
    if not (math.isfinite(centre) and 0 < width < math.inf):
        raise UsageError(f"{name} must be a centre and a width above 0, not {centre:g} {width:g}")
    return centre, width
