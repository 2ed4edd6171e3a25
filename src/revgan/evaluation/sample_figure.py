"""Test images beside the translations of one or several runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from revgan.data.domains import Domain, spread
from revgan.data.formats import Affine
from revgan.data.refs import ScanRef
from revgan.directions import Direction
from revgan.errors import UsageError, UserError, notice
from revgan.evaluation.runs import open_trained
from revgan.evaluation.samples import Tested
from revgan.evaluation.wanted import ModelChoice
from revgan.figures import comparison_figure, write_figure
from revgan.figures.slices import Plane, strips
from revgan.figures.windows import windowed
from revgan.progress import track
from revgan.training.config import RunConfig
from revgan.training.runs import RunFolder

MOST_DIGITS = 10
"""Of a number of samples; a longer one is a name."""


@dataclass(frozen=True)
class Shown:
    """What of the samples a figure shows.

    Attributes:
        input_window: centre and width of the input's values, in the files' units; None for the
            first run's range.
        window: the same for translations and truth.
        plane: of volumes; None for all three side by side.
    """

    input_window: tuple[float, float] | None = None
    window: tuple[float, float] | None = None
    plane: Plane | None = None


def draw_samples(
    runs: Mapping[str, RunFolder],
    configs: Mapping[str, RunConfig],
    paths: Sequence[Path],
    direction: Direction,
    samples: Sequence[str],
    model: ModelChoice,
    console: Console,
    shown: Shown,
) -> None:
    """Translates test images with each run and draws them in rows: input, translations, truth.

    Args:
        runs: by their columns' names.
        configs: the runs'.
        paths: the files to write, each in the format of its suffix.
        direction: "AtoB" or "BtoA".
        samples: names of test images, or just a number of images, evenly spread.
        model: which model of each run.
        console: for the progress bar.
        shown: what of the samples is drawn.

    Raises:
        UserError: a run has no model or other test images, or a sample is not among these.
        OSError: a file can't be written.
    """
    if taken := {"input", "truth"} & set(runs):
        raise UsageError(
            f"{taken.pop()} is the name of another column; give the run a different name with "
            "--names"
        )
    write_figure(
        comparison_figure(
            _pictures(runs, configs, paths, direction, samples, model, console, shown)
        ),
        paths,
    )


def _pictures(
    runs: Mapping[str, RunFolder],
    configs: Mapping[str, RunConfig],
    paths: Sequence[Path],
    direction: Direction,
    samples: Sequence[str],
    model: ModelChoice,
    console: Console,
    shown: Shown,
) -> list[dict[str, Tensor]]:
    """Each sample's pictures by column, all on the first run's scale, or in windows."""
    names: list[str] = []
    rows: list[dict[str, Tensor]] = []
    seen: dict[str, Tested] = {}
    scale: Domain | None = None
    for run_name, run in runs.items():
        translator, data = open_trained(configs[run_name], run, console, model=model)
        source, target = data.sides(direction)
        if shown.plane and not data.kind.thin:
            raise UsageError(f"--plane is for volumes; {run.root} is of {data.kind.many}")
        inputs = {file.resolve() for ref in (*source.test, *target.test) for file in ref.files}
        for path in paths:
            if path.resolve() in inputs:
                raise UserError(f"{path} is a test image; name another file with --output")
        if not rows:
            names = _chosen(source, samples, data.kind.many)
            rows = [{} for _ in names]
        refs = {ref.name: (number, ref) for number, ref in enumerate(source.test)}
        named = list(zip(rows, names, strict=True))
        for row, name in track(named, f"translating by {run_name}", console):
            if name not in refs:
                raise UserError(
                    f"{name} isn't one of the test images of {run.root}, {_some(refs)}; compare "
                    "runs on the same data, or choose other --samples"
                )
            number, ref = refs[name]
            image = source.load(ref)
            tested = Tested.of(ref, image)
            if seen.setdefault(name, tested) != tested:
                raise UserError(
                    f"{name} in {run.root} differs from that of the run before in image, size or "
                    "channels; compare runs on the same data"
                )
            made = translator(image, direction)
            if shown.window is None:
                images = {run_name: on_scale(made, target, scale or target)}
            else:
                images = {run_name: windowed(target.from_unit(made), *shown.window)}
            if scale is None:
                images["input"] = _in_window(source, ref, shown.input_window)
            if "truth" not in row and data.test_aligned:
                images["truth"] = _in_window(target, target.test[number], shown.window, scale)
            row |= _flat(images, source.affine(ref), shown.plane)
        scale = scale or target
    columns = ("input", *runs, "truth")
    return [{name: row[name] for name in columns if name in row} for row in rows]


def on_scale(unit: Tensor, domain: Domain, scale: Domain) -> Tensor:
    """What a run's networks see or make, in [-1, 1] of the first run's range.

    So the same values look the same, whatever each run's intensity range is.
    """
    if domain.intensity == scale.intensity:
        return unit
    return torch.from_numpy(scale.intensity.to_unit(domain.from_unit(unit).numpy()))


def _in_window(
    domain: Domain, ref: ScanRef, window: tuple[float, float] | None, scale: Domain | None = None
) -> Tensor:
    """A test scan as a picture: of the window, or of the range of a run, by default its own."""
    if window is None:
        return on_scale(domain.load(ref), domain, scale or domain)
    return windowed(domain.values(ref), *window)


def _chosen(source: Domain, samples: Sequence[str], items: str) -> list[str]:
    """The samples' names: those given, with or without suffix, or a number of all."""
    if len(samples) == 1 and samples[0].isdecimal() and len(samples[0]) < MOST_DIGITS:
        chosen = [ref.name for ref in spread(source.test, min(int(samples[0]), len(source.test)))]
        if len(chosen) < int(samples[0]):
            notice(f"there are {len(chosen)} test {items}, not {samples[0]}: all of them are drawn")
        if not chosen:
            raise UsageError(f"--samples must be 1 or more, or names of test {items}")
        return chosen
    files = {ref.file_name: ref.name for ref in source.test}
    return list(dict.fromkeys(files.get(sample, sample) for sample in samples))


def _some(names: Iterable[str]) -> str:
    """The first few names, for an error."""
    first = list(names)
    return ", ".join(first[:5]) + (", ..." if len(first) > 5 else "")


def _flat(
    images: Mapping[str, Tensor], affine: Affine | None, plane: Plane | None
) -> dict[str, Tensor]:
    """Images as they are; volumes, which have a place in space, as slices."""
    if affine is None:
        return dict(images)
    return dict(zip(images, strips(list(images.values()), affine, plane), strict=True))
