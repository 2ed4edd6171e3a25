"""The options that commands about a whole run share."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jsonargparse import Namespace

from revgan.commands.options import Parser, check_config_file, option_values, run_config
from revgan.data.sets import BUILT_IN
from revgan.environment import require_device
from revgan.errors import UsageError, UserError
from revgan.evaluation.runs import ModelChoice
from revgan.training.config import Device, RunConfig, preset_names
from revgan.training.runs import RunFolder, existing_run


def run_parser(
    command: str,
    description: str,
    arguments: list[str],
    preset: str = "default",
    *,
    makes_run: bool = True,
) -> Parser:
    """The options of a whole run: its folder, presets, and every field of `RunConfig`."""
    preset = [preset, *option_values(arguments, "--preset")][-1]
    parser = Parser(command, f"{description} The defaults shown are those of the preset {preset}.")
    if makes_run:
        parser.add_argument(
            "--run",
            metavar="FOLDER",
            help="the folder to make for the run; by default one in runs/",
        )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help=f"where options start from: {', '.join(preset_names())}; --preset NAME --help shows "
        "its values",
    )
    parser.add_argument(
        "--config",
        action="config",
        metavar="FILE",
        help="a YAML file with options, such as the config.yaml of a run; later options override "
        "it",
    )
    parser.add_run_options(preset)
    return parser


def parse_run(parser: Parser, arguments: list[str]) -> Namespace:
    """The options given, once the files that ``--config`` names are found to hold options."""
    for path in option_values(arguments, "--config"):
        check_config_file(Path(path))
    return parser.parse_args(arguments)


def checked_config(options: Namespace) -> RunConfig:
    """The configuration of a training that can start on this machine.

    Raises:
        UserError: there is no data or no such device, or a memory budget that nothing would keep.
    """
    config = run_config(options)
    if not config.data.path:
        sets = ", ".join(BUILT_IN)
        raise UsageError(f"give a folder of images or volumes to train on, or a sample set: {sets}")
    require_device(config.runtime.device, "runtime.device")
    if config.runtime.memory_budget is not None and config.generator.memory != "auto":
        raise UsageError(
            "--memory-budget is for generator.memory auto to use, not for "
            f"{config.generator.memory}; give --generator.memory auto, or --memory-budget null"
        )
    if config.runtime.memory_budget is not None and config.generator.core == "ode":
        raise UsageError(
            "--memory-budget can't be kept with generator.core ode, whose memory is not predicted; "
            "omit it"
        )
    path = Path(config.data.path)
    # Absolute, so that the run can be resumed and evaluated from another folder.
    if config.data.path not in BUILT_IN and path.is_dir():
        config = replace(config, data=replace(config.data, path=str(path.resolve())))
    return config


def require_images(config: RunConfig, run: RunFolder, remedy: str) -> None:
    """Refuses a run whose images have been moved away.

    Args:
        config: the run's.
        run: its folder.
        remedy: what to do then.
    """
    path = config.data.path
    if path not in BUILT_IN and not Path(path).is_dir():
        raise UserError(f"the images of the run {run.root} are no longer in {path}; {remedy}")


def add_test_options(parser: Parser) -> None:
    """The options of commands that translate the test of runs, which `trained_config` reads."""
    parser.add_argument("--device", type=Device, default="auto", help="where to run")
    parser.add_argument(
        "--model",
        type=ModelChoice,
        default="last",
        help="of each run: of the last step, or the best by training.best_by",
    )
    parser.add_argument(
        "--resize",
        metavar="PIXELS",
        type=int | None,
        help="scale the shorter side of test images to so many pixels, rather than to the run's "
        "data.resize; such as data.crop, where data.resize is only there to crop from",
    )


def trained_config(run: RunFolder, options: Namespace) -> RunConfig:
    """The configuration of a run that is there, to translate its test in float32.

    Raises:
        UserError: its images are gone, there is no such device, or its images can't be so scaled.
    """
    arguments = ["--config", str(run.config), f"--runtime.device={options.device}"]
    arguments.append("--runtime.precision=float32")
    if options.resize is not None:
        arguments.append(f"--data.resize={options.resize}")
    config = checked_config(parse_run(run_parser("evaluate", "", arguments), arguments))
    require_images(config, run, f"write the new place as data.path into {run.config}")
    return config


def named_runs(folders: Sequence[str], names: Sequence[str] | None) -> dict[str, RunFolder]:
    """Runs by the names that tables and figures give them; by default, those of their folders.

    Raises:
        UserError: a folder holds no run.
        UsageError: names are too few, too many, or not apart.
    """
    runs = [existing_run(Path(folder)) for folder in folders]
    if names is None:
        names = [run.root.resolve().name for run in runs]
        if len(set(names)) < len(names):
            names = [str(run.root) for run in runs]
    if len(names) != len(runs) or len(set(names)) < len(names):
        raise UsageError(
            f"--names must be a name for each of {len(runs)} runs, all different, not "
            f"{', '.join(names)}"
        )
    return dict(zip(names, runs, strict=True))
