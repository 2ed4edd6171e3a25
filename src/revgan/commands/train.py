"""`revgan train`: train a model on a folder of images, or continue a run."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console

from revgan.errors import UsageError, visible
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
from revgan.text import shell_word

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
            "and B side by side; or earth, the built-in sample set of 256 x 256 tiles "
            "(earth-small: 64 x 64, with --data.crop 64). With --preset volumes, a folder with "
            "trainA and trainB that hold volumes, or the built-in sets brain and "
            "brain-super-resolution. The same as --data.path"
        ),
    )
    parser.add_argument(
        "--folds",
        metavar="N",
        type=int | None,
        help=(
            "cross-validation: train N runs, RUN/fold-1 to RUN/fold-N, each with another part of "
            "the subjects held out for its test; the same command goes on after a stop, and "
            "`revgan evaluate RUN` joins the folds"
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
    start_from(parser, options.preset, *files, values=networks_of(pretrained), asked=options)
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
    if options.folds is not None:
        return _run_folds(options, console)
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


def _run_folds(options: Namespace, console: Console) -> int:
    """Trains the folds of a cross-validation one after the other; those that are done are kept."""
    from revgan.training.runs import RunFolder, fold_folder, new_run
    from revgan.training.session import run_training

    if options.resume is not None:
        raise UsageError("--folds goes on by itself; give the first command again, not --resume")
    if options.images is not None:
        options["data.path"] = options.images
    options["data.folds"], options["data.fold"] = options.folds, 1
    first = check_startable(run_config(options))
    name = f"{Path(first.data.path).name}-{first.objective}-folds"
    root = Path(options.run) if options.run else Path("runs") / name
    for fold in range(1, options.folds + 1):
        config = replace(first, data=replace(first.data, fold=fold))
        folder = RunFolder(fold_folder(root, fold))
        console.print(f"Fold {fold} of {options.folds}: {visible(folder.root)}", soft_wrap=True)
        resume = folder.config.exists()
        if resume:
            config = _same_fold(folder, config)
        else:
            folder = new_run(config, folder.root)
        outcome = run_training(
            config, folder, resume=resume, console=console, accept_new_data=options.accept_new_data
        )
        if outcome.signal:
            return 128 + outcome.signal
    console.print(f"All folds together: revgan evaluate {shell_word(root)}", soft_wrap=True)
    return 0


def _same_fold(folder: "RunFolder", config: "RunConfig") -> "RunConfig":
    """The configuration of a fold that was trained before, which has to be the same.

    Raises:
        UsageError: it differs in what makes folds comparable.
    """
    before = stored_config(folder.config)
    sections = ("data", "training", "losses", "optimizer")
    differ = [name for name in sections if getattr(before, name) != getattr(config, name)]
    if differ or before.changed_networks(config):
        raise UsageError(
            f"{folder.root} was trained with other options; give the same again, or another --run"
        )
    return before


def _resumed(options: Namespace) -> "RunFolder":
    from revgan.training.runs import existing_run

    folder = existing_run(Path(options.resume))
    if folder.step is not None:
        raise UsageError(
            f"--resume continues a run from its last checkpoint; give its folder, {folder.root}, "
            f"or start another run with --from {shell_word(folder.trained)}"
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
