"""`revgan figure`: test images beside the translations of one or several runs."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from jsonargparse import Namespace
from rich.console import Console
from rich.progress import track
from torch import Tensor

from revgan.commands.evaluate import add_names_option
from revgan.commands.options import Parser
from revgan.data.domains import Domain, spread
from revgan.data.formats import Affine
from revgan.directions import Direction
from revgan.errors import UsageError, UserError
from revgan.evaluation.runs import ModelChoice, Tested, open_trained
from revgan.figures.comparison import comparison_figure
from revgan.figures.slices import strips
from revgan.files import replacing
from revgan.training.config import RunConfig
from revgan.training.runs import RunFolder

SAMPLES = 6
"""Test images in a figure, unless told otherwise."""

FORMATS = (".png", ".pdf", ".svg")


def add_options(parser: Parser) -> None:
    """The options of `revgan figure`."""
    parser.add_argument("runs", nargs="+", metavar="run", help="a run folder")
    parser.add_argument("--direction", type=Direction, default="AtoB", help="which way")
    parser.add_argument(
        "--samples",
        metavar="COUNT|NAME",
        type=str | None,
        nargs="+",
        help=f"how many test images, evenly spread, by default {SAMPLES}, or their names; a number "
        "alone is a count, so that image 6 alone is 6.png",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=str | None,
        nargs="+",
        help="files that end in .png, .pdf or .svg; by default figure-AtoB.png and .pdf, or "
        "figure-BtoA",
    )
    add_names_option(parser)


def run_figure(
    options: Namespace,
    runs: Mapping[str, RunFolder],
    configs: Mapping[str, RunConfig],
    console: Console,
) -> list[Path]:
    """Translates the samples by each run and draws the figure; returns the files written.

    Raises:
        UsageError: a file's suffix tells no format.
        UserError: a run has no model or other test images, or a sample is not among these.
        OSError: a file can't be written.
    """
    direction = options.direction
    outputs = options.output or [f"figure-{direction}.png", f"figure-{direction}.pdf"]
    paths = [Path(output) for output in outputs]
    for path in paths:
        if path.suffix.lower() not in FORMATS:
            raise UsageError(f"--output {path} must end in one of {', '.join(FORMATS)}")
    if taken := {"input", "truth"} & set(runs):
        raise UsageError(f"{taken.pop()} is a column of its own; give the run another of --names")
    rows = _pictures(
        runs, configs, direction, options.samples or [str(SAMPLES)], options.model, console
    )
    figure = comparison_figure(rows)
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Fonts as outlines of TrueType: journals refuse matplotlib's default, Type 3.
        with replacing(path) as unfinished, mpl.rc_context({"pdf.fonttype": 42}):
            figure.savefig(unfinished)
    return paths


def _pictures(
    runs: Mapping[str, RunFolder],
    configs: Mapping[str, RunConfig],
    direction: Direction,
    samples: Sequence[str],
    model: ModelChoice,
    console: Console,
) -> list[dict[str, Tensor]]:
    """Each sample's pictures by column, from left to right."""
    names: list[str] = []
    rows: list[dict[str, Tensor]] = []
    shown: dict[str, Tested] = {}
    for run_name, run in runs.items():
        translator, data = open_trained(configs[run_name], run, console, model=model)
        source, target = data.sides(direction)
        if not rows:
            names = _chosen(source, samples)
            rows = [{} for _ in names]
        refs = {ref.name: (number, ref) for number, ref in enumerate(source.test)}
        for row, name in track(
            list(zip(rows, names, strict=True)),
            f"translating by {run_name}",
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ):
            if name not in refs:
                raise UserError(
                    f"{name} is none of the test images of {run.root}, {_some(refs)}; compare runs "
                    "on the same data, or choose other --samples"
                )
            number, ref = refs[name]
            image = source.load(ref)
            tested = Tested.of(ref, image)
            if shown.setdefault(name, tested) != tested:
                raise UserError(
                    f"{name} of {run.root} is another image than that of the run before, or has "
                    "another size or other channels; compare runs on the same data"
                )
            images = {"input": image, run_name: translator(image, direction)}
            if data.test_aligned:
                images["truth"] = target.load(target.test[number])
            row |= _flat(images, source.affine(ref))
    columns = ("input", *runs, "truth")
    return [{name: row[name] for name in columns if name in row} for row in rows]


def _chosen(source: Domain, samples: Sequence[str]) -> list[str]:
    """The names of the samples: those given, with suffix or without, or so many of all."""
    if len(samples) == 1 and samples[0].isdecimal():
        chosen = [ref.name for ref in spread(source.test, int(samples[0]))]
        if not chosen:
            raise UsageError("--samples must be 1 or more, or names of test images")
        return chosen
    files = {ref.path.name: ref.name for ref in source.test}
    return list(dict.fromkeys(files.get(sample, sample) for sample in samples))


def _some(names: Iterable[str]) -> str:
    """The first of some names, for an error."""
    first = list(names)
    return ", ".join(first[:5]) + (", ..." if len(first) > 5 else "")


def _flat(images: Mapping[str, Tensor], affine: Affine | None) -> dict[str, Tensor]:
    """Images as they are; what has a place in space as slices in three planes."""
    if affine is None:
        return dict(images)
    return dict(zip(images, strips(list(images.values()), affine), strict=True))
