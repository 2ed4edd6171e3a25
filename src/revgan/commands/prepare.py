"""`revgan prepare`: one of the paper's data sets for training from its original files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console

from revgan.errors import UsageError, visible
from revgan.options import Parser

if TYPE_CHECKING:
    from revgan.data.datasets.prepared import Role

TEST_SHARE = 0.2
MAX_B = 1500.0


def add_options(parser: Parser) -> None:
    """The data sets that can be made, each with its own options."""
    parser.description = "Make one of the paper's data sets for training from its original files."
    for name, (what, add_task_options, _) in TASKS.items():
        task = Parser(f"prepare {name}")
        add_task_options(task)
        parser.add_task(name, task, what, required=True)


def run(options: Namespace, console: Console) -> int:
    """Makes the data set, and says what it made."""
    _, _, make = TASKS[options.task]
    make(options[options.task], console)
    return 0


def _add_cityscapes_options(parser: Parser) -> None:
    parser.description = (
        "Make photos (A) and label maps (B) of one size, with class ids for scores, from the "
        "official Cityscapes archives."
    )
    parser.add_argument(
        "source", help="the folder with leftImg8bit and gtFine, where the archives were unpacked"
    )
    _add_target_options(parser, side=128)


def _make_cityscapes(options: Namespace, console: Console) -> None:
    from revgan.data import labels
    from revgan.data.datasets import cityscapes
    from revgan.data.datasets.squares import prepare_pairs

    side, target = _side(options), Path(options.target)
    scenes = cityscapes.find_scenes(Path(options.source))
    counts = prepare_pairs("cityscapes", scenes, target, side, console)
    if not (target / labels.FILE).is_file():
        cityscapes.PALETTE.write(target)
    _told("photos (A), label maps (B) and class ids (Labels)", target, side, counts, console)


def _add_maps_options(parser: Parser) -> None:
    parser.description = (
        "Make satellite images (A) and street maps (B) of one size from the pix2pix archive."
    )
    parser.add_argument("source", help="the folder maps from the unpacked archive")
    _add_target_options(parser, side=256)


def _make_maps(options: Namespace, console: Console) -> None:
    from revgan.data.datasets import maps
    from revgan.data.datasets.squares import prepare_pairs

    side, target = _side(options), Path(options.target)
    sheets = maps.find_sheets(Path(options.source))
    counts = prepare_pairs("maps", sheets, target, side, console)
    _told("satellite images (A) and maps (B)", target, side, counts, console)


def _add_target_options(parser: Parser, side: int) -> None:
    parser.add_argument("target", help="the folder to make or to complete")
    parser.add_argument(
        "--size",
        type=int,
        default=side,
        metavar="PIXELS",
        help="width and height of the written images",
    )


def _side(options: Namespace) -> int:
    side: int = options.size
    if side < 1:
        raise UsageError(f"--size must be 1 or more, not {side}")
    return side


def _told(
    what: str, target: Path, side: int, counts: "Mapping[Role, int]", console: Console
) -> None:
    console.print(
        f"Wrote {what} of {side} x {side} pixels to {visible(target)}, pairs for training: "
        f"{counts['train']:,}, for the test: {counts['test']:,}",
        soft_wrap=True,
    )


def _add_hcp_options(parser: Parser) -> None:
    parser.description = (
        "Make the data set for the paper's 3D task, super-resolution of diffusion tensors, from "
        "diffusion-weighted volumes with b-values and gradients."
    )
    parser.add_argument("source", help="a folder with one folder per subject")
    parser.add_argument("target", help="the folder to make or to complete")
    parser.add_argument(
        "--test-share",
        type=float | None,
        metavar="SHARE",
        help=(
            "share of the subjects to hold out for the test; for a single subject, share of its "
            f"brain's length; by default {TEST_SHARE:g}"
        ),
    )
    parser.add_argument(
        "--test-subjects",
        type=str,
        nargs="+",
        metavar="SUBJECT",
        help="the subjects to hold out instead, by their folders' names",
    )
    parser.add_argument(
        "--max-b",
        type=float,
        default=MAX_B,
        metavar="B",
        help="the highest b-value to use, in s/mm2; far above 1500, signals don't follow a tensor",
    )


def _make_hcp(options: Namespace, console: Console) -> None:
    from revgan.data.datasets.diffusion_scans import B0_LIMIT
    from revgan.data.datasets.hcp import prepare_hcp

    share, subjects = options.test_share, options.test_subjects
    if share is not None and subjects is not None:
        raise UsageError("--test-share and --test-subjects both choose the test; omit one of them")
    if share is not None and not 0 < share < 1:
        raise UsageError(f"--test-share must be above 0 and below 1, not {share:g}")
    if options.max_b <= B0_LIMIT:
        raise UsageError(f"--max-b must be above {B0_LIMIT:g}, not {options.max_b:g}")
    test = subjects or share or TEST_SHARE
    roles = prepare_hcp(Path(options.source), Path(options.target), test, options.max_b, console)
    console.print(
        f"Wrote tensors at half (A) and full resolution (B) to {options.target}, volumes for "
        f"training: {roles.count('train')}, for the test: {roles.count('test')}",
        soft_wrap=True,
    )


Task = tuple[str, Callable[[Parser], None], Callable[[Namespace, Console], None]]

TASKS: dict[str, Task] = {
    "cityscapes": (
        "photos and label maps of streets, the paper's pairs of 128 x 128",
        _add_cityscapes_options,
        _make_cityscapes,
    ),
    "maps": (
        "satellite images and street maps, the paper's pairs of 256 x 256",
        _add_maps_options,
        _make_maps,
    ),
    "hcp": (
        "super-resolution of diffusion tensors, the paper's 3D task",
        _add_hcp_options,
        _make_hcp,
    ),
}
"""For each: its description, its options, and the function that makes it."""
