"""`revgan prepare`: finds the task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from revgan.commands.options import Parser
from revgan.data import labels
from revgan.data.datasets import cityscapes, maps
from revgan.data.datasets.diffusion_scans import B0_LIMIT
from revgan.data.datasets.hcp import prepare_hcp
from revgan.data.datasets.prepared import Role
from revgan.data.datasets.squares import prepare_pairs
from revgan.errors import UsageError


@dataclass(frozen=True)
class Task:
    """A data set that can be made.

    Attributes:
        what: it is, for the list of tasks.
        description: for the task's help.
        add_options: adds the task's options to a parser.
        run: makes the data set.
    """

    what: str
    description: str
    add_options: Callable[[Parser], None]
    run: Callable[[Namespace, Console], None]


TEST_SHARE = 0.2
MAX_B = 1500.0


def _add_cityscapes_options(parser: Parser) -> None:
    """The options of `revgan prepare cityscapes`."""
    parser.add_argument(
        "source", help="the folder with leftImg8bit and gtFine, as the archives unpack"
    )
    _add_target_options(parser, side=128)


def _run_cityscapes(options: Namespace, console: Console) -> None:
    """Prepares Cityscapes as the options say, and tells what came of it.

    Raises:
        UsageError: the size is below 1.
        UserError, OSError: the source or the target is not usable; scenes before it are written.
    """
    side, target = _side(options), Path(options.target)
    scenes = cityscapes.find_scenes(Path(options.source))
    counts = prepare_pairs("cityscapes", scenes, target, side, console)
    if not (target / labels.FILE).is_file():
        cityscapes.PALETTE.write(target)
    _told("photos (A), label maps (B) and class ids (Labels)", target, side, counts, console)


def _add_maps_options(parser: Parser) -> None:
    """The options of `revgan prepare maps`."""
    parser.add_argument("source", help="the folder maps, as the archive unpacks")
    _add_target_options(parser, side=256)


def _run_maps(options: Namespace, console: Console) -> None:
    """Prepares Maps as the options say, and tells what came of it.

    Raises:
        UsageError: the size is below 1.
        UserError, OSError: the source or the target is not usable; images before it are written.
    """
    side, target = _side(options), Path(options.target)
    sheets = maps.find_sheets(Path(options.source))
    counts = prepare_pairs("maps", sheets, target, side, console)
    _told("satellite images (A) and maps (B)", target, side, counts, console)


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


def _told(what: str, target: Path, side: int, counts: Mapping[Role, int], console: Console) -> None:
    console.print(
        f"Wrote {what} of {side} x {side} pixels to {target}, pairs for training: "
        f"{counts['train']:,}, for the test: {counts['test']:,}",
        soft_wrap=True,
    )


def _add_hcp_options(parser: Parser) -> None:
    """The options of `revgan prepare hcp`."""
    parser.add_argument("source", help="a folder with a folder for each subject")
    parser.add_argument("target", help="the folder to make, or to complete")
    parser.add_argument(
        "--test-share",
        type=float | None,
        metavar="SHARE",
        help="share of the subjects that is held out for the test; of a single subject, share of "
        f"the length of its brain; by default {TEST_SHARE:g}",
    )
    parser.add_argument(
        "--test-subjects",
        type=str,
        nargs="+",
        metavar="SUBJECT",
        help="the subjects that are held out instead, by the names of their folders",
    )
    parser.add_argument(
        "--max-b",
        type=float,
        default=MAX_B,
        metavar="B",
        help="the highest b-value to use, in s/mm2; far above 1500, signals don't follow a tensor",
    )


def _run_hcp(options: Namespace, console: Console) -> None:
    """Prepares what the options say, and tells what came of it.

    Raises:
        UsageError: the options contradict each other, or one is out of its range.
        UserError, OSError: as `prepare_hcp`.
    """
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


TASKS = {
    "cityscapes": Task(
        "photos and label maps of streets, the paper's pairs of 128 x 128",
        "Make photos (A) and label maps (B) of one size, with class ids for scores, from the "
        "official archives of Cityscapes.",
        _add_cityscapes_options,
        _run_cityscapes,
    ),
    "maps": Task(
        "satellite images and street maps, the paper's pairs of 256 x 256",
        "Make satellite images (A) and street maps (B) of one size from the archive of pix2pix.",
        _add_maps_options,
        _run_maps,
    ),
    "hcp": Task(
        "super-resolution of diffusion tensors, the paper's task in 3D",
        "Make the data set of the paper's task in 3D, super-resolution of diffusion tensors, from "
        "diffusion-weighted volumes with b-values and gradients.",
        _add_hcp_options,
        _run_hcp,
    ),
}


def run_prepare(arguments: list[str], console: Console) -> None:
    """Makes the data set that the first argument names, or prints the help.

    Raises:
        UsageError: there is no such task, or its options are wrong.
        UserError, OSError: the source or the target is not usable.
    """
    if arguments[:1] in (["-h"], ["--help"]):
        print(_overview())
        return
    known = ", ".join(TASKS)
    if not arguments:
        raise UsageError(f"revgan prepare needs a task; give one of {known}")
    name, rest = arguments[0], arguments[1:]
    if name not in TASKS:
        raise UsageError(f"revgan prepare knows no task {name!r}; give one of {known}")
    task = TASKS[name]
    parser = Parser(f"prepare {name}", task.description)
    task.add_options(parser)
    task.run(parser.parse_args(rest), console)


def _overview() -> str:
    return "\n".join(
        [
            "usage: revgan prepare TASK SOURCE TARGET ...",
            "",
            "Make a data set of the paper for training, from what its makers give out.",
            "",
            "tasks:",
            *(f"  {name:<10} {task.what}" for name, task in TASKS.items()),
            "",
            "revgan prepare TASK --help tells a task's options.",
        ]
    )
