"""Command-line options whose mistakes are told in one sentence."""

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from revgan.errors import UserError
from revgan.training.config import preset_names, preset_path


class UsageError(UserError):
    """The command line is wrong."""

    usage = True


class Parser(ArgumentParser):
    """jsonargparse's parser, but a mistake raises `UsageError` with one sentence.

    Args:
        command: the command's name behind ``revgan``.
        description: what it does, for ``--help``.
    """

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"revgan {command}", description=description)

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Raises `UsageError`; called by jsonargparse with its report of several lines."""
        raise UsageError(_sentence(message, self._option_names(), self.prog)) from ex

    def instantiate_options(self, options: Namespace) -> Namespace:
        """The options with dataclasses built, which validate themselves.

        Raises:
            UsageError: a value is out of its range.
        """
        try:
            instances: Namespace = self.instantiate(options)
        except ValueError as error:
            raise UsageError(" ".join(str(error).split())) from error
        return instances

    def _option_names(self) -> list[str]:
        return [name for name in self._option_string_actions if name.startswith("--")]


def preset_arguments(arguments: list[str], default: str) -> list[str]:
    """The ``--config`` arguments that stand for a preset or for the run to resume.

    They go before the user's own, which so override them.

    Raises:
        UsageError: there is no such preset.
        UserError: the folder to resume is no run.
    """
    from revgan.training.runs import existing_run

    resumed = _value(arguments, "--resume")
    if resumed is not None:
        return ["--config", str(existing_run(Path(resumed)).config)]
    preset = _value(arguments, "--preset") or default
    if preset not in preset_names():
        raise UsageError(
            f"there is no preset {preset}; the presets are {', '.join(preset_names())}"
        )
    return ["--config", str(preset_path(preset))]


def _value(arguments: list[str], option: str) -> str | None:
    """The value of ``--option value`` or ``--option=value``, if it is there."""
    for argument, following in zip(arguments, [*arguments[1:], None], strict=True):
        name, equals, value = argument.partition("=")
        if name == option:
            return value if equals else following
    return None


def _sentence(message: str, known: list[str], program: str) -> str:
    """One sentence for the report of jsonargparse, which says what would be right."""
    text = " ".join(message.split())
    key = re.search(r'key "([^"]+)"', text)
    where = f"--{key[1]}" if key else "an option"
    given = re.search(r"(?:Got value|Given value): (.*)$", text)
    if given and "Literal[" in text:
        values = ", ".join(
            re.findall(r"'([^']*)'", text.partition("Literal[")[2].partition("]")[0])
        )
        return f"{where} {given[1]} is unknown; it can be {values}"
    if given and "<class" in text:
        kinds = [_KINDS.get(kind, kind) for kind in re.findall(r"<class '(\w+)'>", text)]
        return f"{where} {given[1]} is not valid; it must be {' or '.join(dict.fromkeys(kinds))}"
    unknown = re.search(r"[Uu]nrecognized arguments: (\S+)", text)
    if unknown:
        near = get_close_matches(unknown[1].split("=")[0], known, n=1)
        hint = f"did you mean {near[0]}" if near else f"see {program} --help"
        return f"{program} knows no option {unknown[1]}; {hint}"
    return f"{text.rstrip('.')} (see {program} --help)"


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "NoneType": "null",
    "str": "a text",
}
