"""`revgan train`: train a model on a folder of images, or continue a run."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console

from revgan.errors import UsageError
from revgan.options import (
    Parser,
    add_class_trust,
    add_folder_option,
    add_run_options,
    check_startable,
    networks_of,
    require_images,
    run_config,
    start_from,
    stored_config,
    trust_all,
    trust_given,
)

if TYPE_CHECKING:
    from revgan.training.config import RunConfig
    from revgan.training.runs import RunFolder


def add_options(parser: Parser) -> None:
    """The options of a run, which start from a preset or, with ``--resume``, from the run's."""
    parser.description = "Train a model on your images, or continue a run."
    add_folder_option(parser)
    add_run_options(parser)
    add_class_trust(parser)
    parser.add_argument(
        "images",
        nargs="?",
        help=(
            "a folder with trainA and trainB (testA and testB), or with train (test) that has A "
            "and B side by side; or earth, the built-in sample set of 64 x 64 tiles (with "
            "--data.crop 64). With --preset volumes, a folder with trainA and trainB that hold "
            "volumes, or the built-in sets brain and brain-super-resolution. The same as "
            "--data.path"
        ),
    )
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help=(
            "continue the run in this folder with its own images and options; other options given "
            "here override them"
        ),
    )
    parser.add_argument(
        "--accept-new-data",
        action="store_true",
        help="with --resume, continue even if files of the run's data have changed, gone or come",
    )
    parser.start = partial(_start, parser)


def _start(parser: Parser, options: Namespace) -> None:
    trust_given(parser)
    given = {argument.partition("=")[0] for argument in parser.args}
    if options.images is not None and "--data.path" in given:
        raise UsageError(
            f"the images are given twice, as {options.images} and as --data.path; omit one of them"
        )
    files = [] if options.resume is None else [_resumed(options).config]
    pretrained = None if files else options["training.pretrained"]
    start_from(parser, options.preset, *files, values=networks_of(pretrained))
    mode = parser.get_defaults()["generator.memory"]
    if files and "--generator.memory" in given and options["generator.memory"] != mode:
        # They belong to the run's old mode.
        parser.set_defaults({"generator.stored_blocks": 0, "generator.slabs": None})
    steps = (options if "--training.steps" in given else parser.get_defaults())["training.steps"]
    if "--training.epochs" in given and steps is not None:
        raise UsageError(
            f"--training.epochs does nothing beside training.steps {steps}; omit it, or give "
            "--training.steps null"
        )


def run(options: Namespace, console: Console) -> int:
    """Trains a new run, or continues one."""
    from revgan.training.runs import new_run
    from revgan.training.session import run_training

    trust_all(options)
    resume = options.resume is not None
    if resume:
        folder = _resumed(options)
        config = _resumed_config(options, folder, console)
    else:
        if options.accept_new_data:
            raise UsageError(
                "--accept-new-data is for a run that continues; give --resume, or omit it"
            )
        if options.images is not None:
            options["data.path"] = options.images
        config = check_startable(run_config(options))
        folder = new_run(config, Path(options.run) if options.run else None)
    outcome = run_training(
        config, folder, resume=resume, console=console, accept_new_data=options.accept_new_data
    )
    return 128 + outcome.signal if outcome.signal else 0


def _resumed(options: Namespace) -> "RunFolder":
    from revgan.training.runs import existing_run

    folder = existing_run(Path(options.resume))
    if folder.step is not None:
        raise UsageError(
            f"--resume continues a run from its last checkpoint; give its folder, {folder.root}, "
            f"or start another run with --from {folder.trained}"
        )
    return folder


def _resumed_config(options: Namespace, folder: "RunFolder", console: Console) -> "RunConfig":
    """The configuration of a continued run.

    Raises:
        UserError: an option would make it a different run, or its images are gone.
    """
    for name, given in (("the folder of images", options.images), ("--run", options.run)):
        if given is not None:
            raise UsageError(
                f"--resume continues the run in its folder, on its images; omit {name}"
            )
    if options.preset is not None:
        raise UsageError("--resume uses the run's own options; omit --preset")
    before, config = stored_config(folder.config), run_config(options)
    if config.training.pretrained != before.training.pretrained:
        raise UsageError("--resume continues with the run's own weights; omit --from")
    now, then = config.generator.use_of_memory, before.generator.use_of_memory
    if now == then != "auto" and config.runtime.memory_budget is not None:
        console.print(
            f"memory {now}, as before, whatever the budget; --generator.memory auto chooses again",
            soft_wrap=True,
        )
        config = replace(config, runtime=replace(config.runtime, memory_budget=None))
    config = check_startable(config)
    if changed := before.changed_networks(config):
        raise UsageError(
            f"--resume continues with the run's networks; omit --{changed[0]}, or train again"
        )
    require_images(config, folder.root, "give the new place as --data.path")
    if now != then:
        same = config.generator.slabs == before.generator.slabs and now != "auto"
        rounding = "" if same else "; results may differ by rounding"
        console.print(f"memory {now} from here on, not {then}{rounding}", soft_wrap=True)
    return config
