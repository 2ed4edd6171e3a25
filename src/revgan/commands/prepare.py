"""`revgan prepare`: finds the task."""

from collections.abc import Callable
from dataclasses import dataclass

from jsonargparse import Namespace
from rich.console import Console

from revgan.commands import prepare_hcp, prepare_images
from revgan.commands.options import Parser, UsageError


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


TASKS = {
    "cityscapes": Task(
        "photos and label maps of streets, the paper's pairs of 128 x 128",
        "Make photos (A) and label maps (B) of one size, with class ids for scores, from the "
        "official archives of Cityscapes.",
        prepare_images.add_cityscapes_options,
        prepare_images.run_cityscapes,
    ),
    "maps": Task(
        "satellite images and street maps, the paper's pairs of 256 x 256",
        "Make satellite images (A) and street maps (B) of one size from the archive of pix2pix.",
        prepare_images.add_maps_options,
        prepare_images.run_maps,
    ),
    "hcp": Task(
        "super-resolution of diffusion tensors, the paper's task in 3D",
        "Make the data set of the paper's task in 3D, super-resolution of diffusion tensors, from "
        "diffusion-weighted volumes with b-values and gradients.",
        prepare_hcp.add_options,
        prepare_hcp.run_hcp,
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
