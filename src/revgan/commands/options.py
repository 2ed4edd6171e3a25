"""Command-line options whose mistakes are told in one sentence."""

import re
from argparse import SUPPRESS, Action
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from revgan.errors import UsageError
from revgan.training.config import RunConfig, preset_names, preset_path

LISTED_IN_USAGE = 20
"""Options of a command that its usage line still names one by one."""


class HelpFormatter(DefaultHelpFormatter):
    """Says types in words, and leaves out what the help says already.

    That is: types beside a list of choices, absent defaults.
    """

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[Action],
        groups: Iterable[Any],
        prefix: str | None = None,
    ) -> None:
        """Many options are named once only, in their list, and not in the usage as well."""
        actions = list(actions)
        inputs = [action for action in actions if not action.option_strings]
        if len(actions) - len(inputs) > LISTED_IN_USAGE:
            names = [f"[{each.dest}]" if each.nargs == "?" else each.dest for each in inputs]
            usage = " ".join(["%(prog)s", "[options]", *names])
        super().add_usage(usage, actions, groups, prefix)

    def _get_help_string(self, action: Action) -> str:
        text: str = super()._get_help_string(action)
        if action.default in (None, ""):
            text = text.replace(", default: %(default)s", "").replace(" (default: %(default)s)", "")
        # Docstrings mark the names of other options with backticks, which a terminal would show.
        return text.replace("type: %(type)s", "%(type)s").replace("`", "")

    def _get_type_str(self, action: Action) -> str | None:
        has_type = super()._get_type_str(action) is not None
        return _accepted(action) if has_type and "{" not in str(action.metavar) else None


class Parser(ArgumentParser):
    """jsonargparse's parser, but a mistake raises `UsageError` with one sentence.

    Args:
        command: the command's name behind ``revgan``.
        description: what it does, for ``--help``.
    """

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=f"revgan {command}",
            description=description,
            allow_abbrev=False,
            formatter_class=HelpFormatter,
        )

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Raises `UsageError`; called by jsonargparse with its report of several lines."""
        raise UsageError(self._sentence(message)) from ex

    def add_run_options(self, preset: str | None) -> None:
        """Every field of `RunConfig`, with a preset's values as defaults.

        Raises:
            UsageError: there is no such preset.
        """
        self.add_class_arguments(RunConfig, as_group=True)
        for section in _sections():  # an option that takes a whole section invites mistakes
            self._option_string_actions.pop(f"--{section}").help = SUPPRESS
        self._add_short_form("--memory-budget", "--runtime.memory_budget")
        if preset is not None:
            if preset not in preset_names():
                known = ", ".join(preset_names())
                raise UsageError(f"there is no preset {preset!r}; the presets are {known}")
            self.set_defaults(_read_config(preset_path(preset)))

    def _add_short_form(self, short: str, option: str) -> None:
        action = self._option_string_actions[option]
        action.option_strings = [*action.option_strings, short]
        self._option_string_actions[short] = action

    def _sentence(self, message: str) -> str:
        """One sentence that says what would be right, for the report of jsonargparse."""
        text = " ".join(message.split())
        see = f"see {self.prog} --help"
        if unknown := re.match(r"unrecognized arguments: (\S+)", text):
            return self._unknown(unknown[1], see)
        if without := re.match(r"argument (\S+): expected (\d+)?", text):
            name = without[1].rpartition("/")[2]  # of an option with two names, the short one
            values = f"{without[2]} values" if without[2] else "a value"
            return f"{name} needs {values}; {see}"
        value = re.match(
            r'Parser key "([\w.]+)"(?: element \d+)?:.*(?:Got|Given) value: (.*)$', text
        )
        for option in self._option_string_actions.values():
            if value and option.dest == value[1]:
                name = option.option_strings[0]
                return f"{name} must be {_accepted(option)}, not {value[2]!r}"
        return f"{text.rstrip('.')}; {see}"

    def _unknown(self, argument: str, see: str) -> str:
        if not argument.startswith("-"):
            return f"{self.prog} has no use for the argument {argument!r}; {see}"
        known = [name for name in self._option_string_actions if name.startswith("--")]
        near = get_close_matches(argument.partition("=")[0], known, n=1)
        hint = f"did you mean {near[0]}" if near else see
        return f"{self.prog} knows no option {argument}; {hint}"


def run_config(options: Namespace) -> RunConfig:
    """The configuration that the options describe.

    Raises:
        UsageError: a value is out of its range.
    """
    sections = {}
    for name, section in _sections().items():
        try:
            sections[name] = section(**options[name].as_dict())
        except ValueError as error:  # its first word is the field
            raise UsageError(f"--{name}.{error}") from error
    try:
        return RunConfig(objective=options.objective, **sections)
    except ValueError as error:  # its first word is an option
        raise UsageError(f"--{error}") from error


def option_values(arguments: list[str], option: str) -> list[str]:
    """The values given as ``--option value`` or ``--option=value``."""
    values = []
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == option:
            values += [value] if equals else arguments[place + 1 : place + 2]
    return values


def check_config_file(path: Path) -> None:
    """Refuses a YAML file that holds anything but options.

    Raises:
        UsageError: it can't be read, is no YAML, or has unknown keys.
    """
    content = _read_config(path)
    sections = _sections()
    _check_keys(path, content, [field.name for field in fields(RunConfig)])
    for name, section in sections.items():
        if name in content:
            _check_keys(path, content[name], [f.name for f in fields(section)], f"{name}.")


def _read_config(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"the configuration {path} can't be read ({error.strerror}); give a YAML file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" from line {mark.line + 1} on" if mark else ""
        raise UsageError(
            f"{path} is no YAML{where}; write it like the config.yaml of a run"
        ) from error


def _check_keys(path: Path, content: Any, known: list[str], section: str = "") -> None:
    if not isinstance(content, dict):
        where = f"{section.rstrip('.')} in {path}" if section else str(path)
        raise UsageError(f"{where} must hold options by name: {', '.join(known)}")
    for key in content:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"did you mean {section}{near[0]}" if near else f"use {', '.join(known)}"
            raise UsageError(f"{path} has the unknown key {section}{key}; {hint}")


def _sections() -> dict[str, Any]:
    """The dataclasses within `RunConfig`, by field."""
    return {field.name: field.type for field in fields(RunConfig) if is_dataclass(field.type)}


def _accepted(option: Action) -> str:
    """What an option's value may be, in words."""
    hint = getattr(option, "_typehint", str)
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    return " or ".join(_KINDS[kind] for kind in get_args(hint) or (hint,))


_KINDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    NoneType: "null",
    str: "a text",
    tuple[float, float, float]: "three numbers such as [1, 1, 1]",
}
