"""`revgan prepare cityscapes` and `maps`: the paper's data sets in 2D, as folders of pairs."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from revgan.commands.options import Parser, UsageError
from revgan.data import cityscapes, labels, maps
from revgan.data.prepared import open_target
from revgan.data.square_images import ImageSample, write_squares


def add_cityscapes_options(parser: Parser) -> None:
    """The options of `revgan prepare cityscapes`."""
    parser.add_argument(
        "source", help="the folder with leftImg8bit and gtFine, as the archives unpack"
    )
    _add_target_options(parser, side=128)


def run_cityscapes(options: Namespace, console: Console) -> None:
    """Prepares Cityscapes as the options say, and tells what came of it.

    Raises:
        UsageError: the size is below 1.
        UserError, OSError: the source or the target is not usable; scenes before it are written.
    """
    side, target = _side(options), Path(options.target)
    scenes = cityscapes.find_scenes(Path(options.source))
    _open("cityscapes", scenes, target, side)
    if not (target / labels.FILE).is_file():
        cityscapes.PALETTE.write(target)
    _write("photos (A), label maps (B) and class ids (Labels)", scenes, target, side, console)


def add_maps_options(parser: Parser) -> None:
    """The options of `revgan prepare maps`."""
    parser.add_argument("source", help="the folder maps, as the archive unpacks")
    _add_target_options(parser, side=256)


def run_maps(options: Namespace, console: Console) -> None:
    """Prepares Maps as the options say, and tells what came of it.

    Raises:
        UsageError: the size is below 1.
        UserError, OSError: the source or the target is not usable; images before it are written.
    """
    side, target = _side(options), Path(options.target)
    sheets = maps.find_sheets(Path(options.source))
    _open("maps", sheets, target, side)
    _write("satellite images (A) and maps (B)", sheets, target, side, console)


def _add_target_options(parser: Parser, side: int) -> None:
    parser.add_argument("target", help="the folder to make, or to complete")
    parser.add_argument(
        "--size",
        type=int,
        default=side,
        metavar="PIXELS",
        help="width and height of what is written",
    )


def _side(options: Namespace) -> int:
    side: int = options.size
    if side < 1:
        raise UsageError(f"--size must be 1 or more, not {side}")
    return side


def _open(task: str, samples: Sequence[ImageSample], target: Path, side: int) -> None:
    open_target(target, {"task": task, "size": side} | _names(samples), samples, "images")


def _names(samples: Sequence[ImageSample]) -> dict[str, list[str]]:
    """By what they are for."""
    names: dict[str, list[str]] = {"train": [], "test": []}
    for sample in samples:
        names[sample.role].append(sample.name)
    return names


def _write(
    what: str, samples: Sequence[ImageSample], target: Path, side: int, console: Console
) -> None:
    columns = *Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(target.name, total=len(samples))
        write_squares(samples, target, side, lambda: bar.advance(task))
    train, test = (f"{len(names):,}" for names in _names(samples).values())
    console.print(
        f"Wrote {what} of {side} x {side} pixels to {target}, pairs for training: {train}, for the "
        f"test: {test}",
        soft_wrap=True,
    )
