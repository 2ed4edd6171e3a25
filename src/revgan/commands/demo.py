"""`revgan demo`: train on a built-in set, translate the held-out part, write a report."""

from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace
from rich.console import Console

from revgan.errors import UsageError, visible
from revgan.options import (
    Parser,
    add_folder_option,
    add_run_options,
    check_startable,
    run_config,
    start_from,
)
from revgan.text import shell_word

Dataset = Literal[
    "earth-map",
    "earth",
    "earth-small",
    "earth-labels",
    "earth-labels-small",
    "brain",
    "brain-super-resolution",
]

PRESETS: dict[Dataset, str] = {
    "earth-map": "demo-map",
    "earth": "demo",
    "earth-small": "demo",
    "earth-labels": "demo",
    "earth-labels-small": "demo",
    "brain": "demo-brain",
    "brain-super-resolution": "demo-super-resolution",
}
"""The preset for each set."""

PRETRAINED: dict[Dataset, str] = {"earth-map": "earth"}
"""The shipped model that the training starts from."""


def add_options(parser: Parser) -> None:
    """The options of a run, which start from the set's preset."""
    parser.description = (
        "Show what a model that comes with revgan makes of places that it never saw, fine-tune it "
        "to another style of map, and write a report; or train on a built-in sample set."
    )
    add_folder_option(parser)
    add_run_options(parser)
    parser.add_argument(
        "--dataset",
        type=Dataset | None,
        help="earth-map (the default): satellite image (A) and flat map (B), from the model earth; "
        "earth: satellite image and relief map of 256 x 256 pixels; earth-small: the same of "
        "64 x 64 (the default with --from-scratch); earth-labels: satellite image and label map of "
        "the land cover, 256 x 256; earth-labels-small: 64 x 64; brain: T1 and grey matter in 3D; "
        "brain-super-resolution: T1 at half resolution and T1",
    )
    parser.add_argument(
        "--from-scratch", action="store_true", help="train without a model to start from"
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="train for the same steps from scratch as well, and show both scores",
    )
    parser.start = partial(_start, parser)


def _start(parser: Parser, options: Namespace) -> None:
    if options.dataset is None:
        options.dataset = "earth-small" if options.from_scratch else "earth-map"
    model = None if options.from_scratch else PRETRAINED.get(options.dataset)
    if options.compare and model is None:
        raise UsageError("--compare needs a model to start from; omit --from-scratch and --dataset")
    parser.set_defaults({"dataset": options.dataset})
    start_from(
        parser,
        PRESETS[options.dataset] if options.preset is None else options.preset,
        values={"data.path": options.dataset, "training.pretrained": model},
        asked=options,
    )


def run(options: Namespace, console: Console) -> int:
    """Trains and evaluates; ends with the report's path, or with how to get a report."""
    from revgan.evaluation.comparison import compare
    from revgan.evaluation.pretrained import show_pretrained
    from revgan.evaluation.runs import TITLES, run_evaluation
    from revgan.evaluation.tables import rows_to_rich
    from revgan.training.runs import new_run
    from revgan.training.session import run_training

    config = check_startable(run_config(options))
    folder = Path(options.run) if options.run else _unused(Path("runs") / "demo")
    trainings = {"fine-tuned" if config.training.pretrained else "RevGAN": (config, folder)}
    if options.compare:
        scratch = replace(config, training=replace(config.training, pretrained=None))
        trainings["from scratch"] = scratch, _unused(folder.with_name(f"{folder.name}-scratch"))
    evaluations = {}
    for name, (config, folder) in trainings.items():
        run = new_run(config, folder)
        if config.training.pretrained and options.dataset in PRETRAINED:
            picture = run.root / "pretrained.png"
            show_pretrained(config.training.pretrained, picture, console, config.runtime.device)
        outcome = run_training(config, run, resume=False, console=console)
        if not outcome.finished:  # an interrupted training isn't evaluated
            command = f"revgan evaluate {shell_word(run.root)}"
            console.print(f"and then, for the report: {command}", soft_wrap=True)
            break
        evaluations[name] = run_evaluation(config, run, console)
        single = evaluations[name].titled()
        tables = compare(evaluations) if len(evaluations) > 1 else single
        for title, rows in tables.items():
            if not title.startswith(TITLES["round_trip"]):
                console.print(rows_to_rich(rows, title, evaluations[name].items))
        console.print(f"The report: {visible(run.report)}", soft_wrap=True)
    return 128 + outcome.signal if outcome.signal else 0


def _unused(root: Path) -> Path:
    """The folder, or runs/demo-2 and so on if it is taken."""
    if not root.exists():
        return root
    numbered = (root.with_name(f"{root.name}-{number}") for number in count(2))
    return next(path for path in numbered if not path.exists())
