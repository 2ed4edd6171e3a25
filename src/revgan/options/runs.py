"""The options of a run: every field of `RunConfig`, from presets, files and the command line."""

import inspect
from argparse import SUPPRESS
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import (  # type: ignore[attr-defined]  # handed out on first use
    ActionConfigFile,
    Namespace,
)

from revgan.data.config import upgraded
from revgan.environment import require_device
from revgan.errors import UsageError, UserError
from revgan.networks import GeneratorConfig
from revgan.networks.meaning import without_meaning
from revgan.options.parser import Parser
from revgan.plain_yaml import read_yaml
from revgan.training.config import RunConfig, preset_names, preset_path

SECTIONS: dict[str, Any] = {f.name: f.type for f in fields(RunConfig) if is_dataclass(f.type)}
"""The dataclasses in `RunConfig`, by field."""


COMMON = {
    *("data.spatial_dims", "data.a", "data.b", "data.resize", "data.crop", "data.flip"),
    *("data.cache", "data.intensity_a", "data.intensity_b"),
    *("generator.model", "generator.width", "generator.depth", "generator.norm"),
    *("generator.memory", "optimizer.lr", "training.epochs", "training.steps"),
    *("training.batch_size", "training.seed", "training.best_by", "training.pretrained"),
    *("runtime.device", "runtime.precision", "runtime.memory_budget"),
}
"""What most people set, and a short help lists."""

FOR_PAIRS = {"default": "pairs", "cyclegan": "pix2pix", "volumes": "volume-pairs"}
"""What takes a preset's place where the objective that is asked for is paired."""


class _ConfigFile(ActionConfigFile):
    """``--config``, which refuses files that hold anything but a run's options."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
        # With today's options: the file may be from an earlier version.
        read = _read(Path(values))
        content = yaml.safe_dump(read)
        try:
            # jsonargparse has no types here.
            super().__call__(parser, cfg, content, option_string)  # type: ignore[no-untyped-call]
        except UsageError as error:
            flat = {
                f"{name}.{key}": value
                for name, section in read.items()
                if isinstance(section, dict)
                for key, value in section.items()
            } | {name: value for name, value in read.items() if not isinstance(value, dict)}
            wrong = (parser.mistake(f"--{name}", value) for name, value in flat.items())
            said = next(filter(None, wrong), str(error)).removeprefix("--")
            raise UsageError(f"{values}: {said}") from error


def add_folder_option(parser: Parser) -> None:
    """``--run``, for commands that make a run."""
    parser.add_argument(
        "--run",
        metavar="FOLDER",
        help="the folder to make for the run; by default one in runs/",
    )


def add_run_options(parser: Parser) -> None:
    """``--preset``, ``--config``, and an option for every field of `RunConfig`.

    `parser.start` sets their defaults with `start_from`; here, to the given preset.
    """
    swapped = ", ".join(f"{name} becomes {pairs}" for name, pairs in FOR_PAIRS.items())
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help=(
            f"the preset to start from: {', '.join(preset_names())}; by default default. With "
            f"--objective paired, {swapped}. --preset NAME --help shows its values"
        ),
    )
    parser.add_argument(
        "--config",
        action=_ConfigFile,
        metavar="FILE",
        help="a YAML file with options, such as the config.yaml of a run; later options override "
        "it",
    )
    parser.add_class_arguments(RunConfig, skip=set(SECTIONS))
    for name, section in SECTIONS.items():
        title = inspect.cleandoc(section.__doc__).splitlines()[0].rstrip(".")
        # Without a jsonargparse group, which would also accept a whole section as --data.
        group = parser.add_argument_group(title)
        group.add_class_arguments(section, name, as_group=False, instantiate=False)
    parser.add_argument(
        "--memory-budget",
        dest="runtime.memory_budget",
        type=str | None,
        default=SUPPRESS,  # the long form has the default
        help="short for --runtime.memory_budget",
    )
    parser.add_argument(
        "--from",
        metavar="MODEL",
        dest="training.pretrained",
        type=str | None,
        default=SUPPRESS,
        help="short for --training.pretrained",
    )
    parser.common = COMMON
    parser.start = lambda options: start_from(
        parser, options.preset, values=networks_of(options["training.pretrained"]), asked=options
    )


def start_from(
    parser: Parser,
    preset: str | None,
    *files: Path,
    values: Mapping[str, Any] | None = None,
    asked: Namespace | None = None,
) -> None:
    """Sets defaults.

    Args:
        parser: with the options of `add_run_options`.
        preset: the first defaults; None for none with files, else for the preset called default.
            For a paired objective, its counterpart in `FOR_PAIRS` takes its place.
        files: runs' configurations, each on top of the ones before.
        values: the topmost values, by the options' names.
        asked: what the command line asks for. What the preset has for a generator, but what means
            nothing in the one that is asked for, is left out.

    Raises:
        UsageError: there is no such preset, or a file isn't a configuration.
    """
    usual = parser.get_defaults()
    by_preset: set[str] = set()
    if preset is not None or not files:
        preset = "default" if preset is None else preset
        if preset not in preset_names():
            known = ", ".join(preset_names())
            raise UsageError(f"there is no preset {preset!r}; the presets are {known}")
        if asked is not None and asked.objective == "paired":
            preset = FOR_PAIRS.get(preset, preset)
        by_preset = _add_file(parser, preset_path(preset))
        shown = f"The defaults shown are from the preset {preset}."
        parser.description = f"{parser.description or ''} {shown}".strip()
    above = {name for path in files for name in _add_file(parser, path)} | set(values or {})
    parser.set_defaults(dict(values or {}))
    if asked is not None:
        generator = {
            name: asked[option] if asked[option] != usual[option] else parser.get_default(option)
            for name, option in ((f.name, f"generator.{f.name}") for f in fields(GeneratorConfig))
        }
        idle = {
            f"generator.{name}" for name, _ in without_meaning(generator, GeneratorConfig.usual())
        }
        parser.set_defaults({name: usual[name] for name in idle & by_preset - above})


def _add_file(parser: Parser, path: Path) -> set[str]:
    """Sets the defaults that a configuration has, and returns their names."""
    content = _read(path)
    try:
        options = parser.parse_object(content)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    names = set(_given(content))
    parser.set_defaults({name: options[name] for name in names})
    return names


def networks_of(model: str | None) -> dict[str, Any]:
    """The options that a trained model decides, given where it is; none without a model.

    Raises:
        UserError: there is no such model.
    """
    if model is None:
        return {}
    from revgan.networks.places import StoredModel

    config, spatial_dims = StoredModel.find(model).architecture()
    networks = {f"generator.{name}": value for name, value in config.architecture.items()}
    return {"data.spatial_dims": spatial_dims, **networks}


def _given(content: Mapping[str, Any]) -> Iterable[str]:
    """The options in a file, as the command line names them."""
    for name, value in content.items():
        yield from (f"{name}.{key}" for key in value) if name in SECTIONS else (name,)


def run_config(options: Namespace) -> RunConfig:
    """The configuration that the options describe.

    Raises:
        UsageError: a value is out of its range.
    """
    sections = {}
    for name, section in SECTIONS.items():
        try:
            sections[name] = section(**options[name].as_dict())
        except ValueError as error:  # the error starts with the field's name
            raise UsageError(f"--{name}.{error}") from error
    try:
        return RunConfig(objective=options.objective, **sections)
    except ValueError as error:  # the error starts with an option's name
        raise UsageError(f"--{error}") from error


def stored_config(path: Path, changes: Mapping[str, Any] | None = None) -> RunConfig:
    """The configuration in a run's file.

    Args:
        path: its config.yaml.
        changes: other values, by the options' names.

    Raises:
        UsageError: the file isn't a configuration, or a value is out of its range.
    """
    parser = Parser("train")
    add_run_options(parser)
    _add_file(parser, path)
    parser.set_defaults(dict(changes or {}))
    return run_config(parser.get_defaults())


def check_startable(config: RunConfig) -> RunConfig:
    """The configuration with an absolute path, if training can start on this machine.

    Raises:
        UserError: there is no data or no such device, or the memory budget would have no effect.
    """
    from revgan.data.sets import BUILT_IN

    if not config.data.path and config.data.a is not None:
        config = replace(config, data=replace(config.data, path="."))
    if not config.data.path:
        sets = ", ".join(BUILT_IN)
        raise UsageError(f"give a folder of images or volumes to train on, or a sample set: {sets}")
    require_device(config.runtime.device, "runtime.device")
    if config.runtime.memory_budget is not None and config.generator.memory != "auto":
        raise UsageError(
            f"--memory-budget needs generator.memory auto, not {config.generator.memory}; give "
            "--generator.memory auto, or --memory-budget null"
        )
    if config.runtime.memory_budget is not None and config.generator.core == "ode":
        raise UsageError(
            "--memory-budget can't be guaranteed for generator.core ode, whose memory can't be "
            "predicted; omit it"
        )
    path = Path(config.data.path)
    # Absolute, so that the run can be resumed and evaluated from another folder.
    if config.data.path not in BUILT_IN and path.is_dir():
        config = replace(config, data=replace(config.data, path=str(path.resolve())))
    model = config.training.pretrained
    if model is not None and Path(model).exists():
        model = str(Path(model).resolve())
        config = replace(config, training=replace(config.training, pretrained=model))
    return config


def require_images(config: RunConfig, run: Path, remedy: str) -> None:
    """Refuses a run whose images are no longer there.

    Args:
        config: the run's.
        run: its folder.
        remedy: what the message tells the user to do.
    """
    from revgan.data.sets import BUILT_IN

    path = config.data.path
    if path not in BUILT_IN and not Path(path).is_dir():
        raise UserError(f"the images of the run {run} are no longer in {path}; {remedy}")


def _read(path: Path) -> dict[str, Any]:
    """Reads a YAML file that holds only options.

    Raises:
        UsageError: it can't be read, isn't YAML, or has unknown keys.
    """
    try:
        content = read_yaml(path)
    except OSError as error:
        raise UsageError(
            f"the configuration {path} can't be read ({error.strerror}); give a YAML file"
        ) from error
    except ValueError as error:
        raise UsageError(f"{path} {error}; write it like the config.yaml of a run") from error
    _check_keys(path, content, [field.name for field in fields(RunConfig)])
    for name, section in SECTIONS.items():
        if name in content:
            _check_keys(path, content[name], [field.name for field in fields(section)], f"{name}.")
    checked: dict[str, Any] = content
    if "data" in checked:
        checked["data"] = upgraded(checked["data"])
    return checked


def _check_keys(path: Path, content: Any, known: list[str], section: str = "") -> None:
    if not isinstance(content, dict):
        where = f"{section.rstrip('.')} in {path}" if section else str(path)
        raise UsageError(f"{where} must hold options by name: {', '.join(known)}")
    for key in content:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"did you mean {section}{near[0]}" if near else f"use {', '.join(known)}"
            raise UsageError(f"{path} has the unknown key {section}{key}; {hint}")
