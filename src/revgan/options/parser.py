"""A parser that reports mistakes in one sentence, and describes types in words."""

from argparse import SUPPRESS, Action
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from math import isfinite
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from revgan.errors import LARGEST, WORDS, UsageError, short
from revgan.options.habits import of_other_tools
from revgan.plain_yaml import parse_yaml

MOST_SAID = 600
"""Characters of a mistake's description, which quotes what was given."""

ALL = "all"
"""What ``--help`` takes to list rarely set options too."""

PRINTING = "--print_config"
"""The option that prints all others, once their defaults are known, and ends."""

LISTED_IN_USAGE = 20
"""The most options that a command's usage line lists one by one."""


class HelpFormatter(DefaultHelpFormatter):
    """Describes types in words, and omits what the help says already.

    That means types beside a list of choices, and missing defaults. Argparse and jsonargparse
    format help in methods that start with an underscore; there are no others to override.
    """

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[Action],
        groups: Iterable[Any],
        prefix: str | None = None,
    ) -> None:
        """Long lists of options aren't repeated in the usage line."""
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
        # Docstrings put other options' names in backticks, which a terminal would show.
        return text.replace("type: %(type)s", "%(type)s").replace("`", "")

    def _get_type_str(self, action: Action) -> str | None:
        has_type = super()._get_type_str(action) is not None
        return _accepted(action) if has_type and "{" not in str(action.metavar) else None


class _Help(Action):
    """``--help``, with the defaults chosen by the options before it."""

    def __call__(self, parser: Any, namespace: Any, values: Any, *_: Any) -> None:
        parser.start(namespace)
        if values != ALL and parser.shorten_help():
            parser.epilog = f"{parser.prog} --help {ALL} lists all options."
        parser.print_help()
        parser.exit()


class Parser(ArgumentParser):
    """jsonargparse's parser, but mistakes raise `UsageError` with one sentence.

    Args:
        command: the command's name after ``revgan``.

    Attributes:
        common: of the options with a dot in their names, those that a short help lists; None lists
            all.
        start: called with the options to set defaults that some options choose, such as a preset's;
            the options are then read again on top.
    """

    def __init__(self, command: str = "") -> None:
        super().__init__(
            prog=f"revgan {command}",
            allow_abbrev=False,
            add_help=False,
            formatter_class=HelpFormatter,
        )
        self.common: Collection[str] | None = None
        self.start: Callable[[Namespace], None] = _leave_defaults
        self._tasks: Any = None
        self.add_argument(
            "-h",
            "--help",
            action=_Help,
            nargs="?",
            metavar=ALL,
            dest=SUPPRESS,
            help="show this help and exit",
        )

    def shorten_help(self) -> bool:
        """Leaves options that few people set out of the help; whether there are any."""
        if self.common is None:
            return False
        # argparse has no public list of its options.
        for action in self._actions:
            if "." in action.dest and action.dest not in self.common:
                action.help = SUPPRESS
        return True

    def add_task(self, name: str, task: "Parser", what: str, *, required: bool = False) -> None:
        """Adds a command below this one.

        Args:
            name: its name, also in the option `task`.
            task: its parser, whose options go into the namespace `name`.
            what: its description for the help.
            required: whether one of the tasks must be named.
        """
        if self._tasks is None:
            self._tasks = self.add_subcommands(dest="task", title="tasks", required=required)
        prog = task.prog
        self._tasks.add_subcommand(name, task, help=what)
        task.prog = prog  # without the options of this command

    # jsonargparse's `args` may be left out; here they never are.
    def parse_args(  # type: ignore[override]
        self, args: Sequence[str], namespace: Namespace | None = None, **how: Any
    ) -> Namespace:
        """Reads the options.

        Raises:
            UsageError: the options are wrong.
        """
        if "" in args:
            raise UsageError(f"an argument is empty; fill it or omit it, see {self.prog} --help")
        try:
            if self.start is not _leave_defaults:
                asked = [word for word in args if not word.startswith(PRINTING)]
                self.start(super().parse_args(asked, namespace, **how))
            options = super().parse_args(args, namespace, **how)
        except RecursionError as error:
            raise UsageError(f"an option's value is nested too deep; {self._remedy()}") from error
        _check_finite(options)
        return options

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Raises `UsageError`; jsonargparse calls it with a report of several lines."""
        wrong = (self.mistake(name, value) for name, value in self._given())
        if said := next(filter(None, wrong), None):
            raise UsageError(said) from ex
        raise UsageError(f"{short(message, MOST_SAID).rstrip('.')}; {self._remedy()}") from ex

    def mistake(self, name: str, value: Any) -> str | None:
        """A sentence about a value that an option doesn't take; None if it takes it.

        It knows numbers, truth values, choices, texts and lists of these.

        Args:
            name: of the option, with dashes.
            value: as text, or as YAML reads it.
        """
        # argparse has no public list of its options.
        action = self._option_string_actions.get(name)
        if action is None or not hasattr(action, "_typehint"):
            return None
        if _takes_any(_kinds_of(action), value):
            return None
        return f"{name} must be {_accepted(action)}, not {short(value)}; {self._remedy()}"

    def _given(self) -> Iterable[tuple[str, str]]:
        """The options of the command line with a value, or, if they take several, with each."""
        name, several = "", False
        for word in getattr(self, "args", ()):  # none where a file is read
            option, separator, value = word.partition("=")
            if word.startswith("--"):
                name = option
                action = self._option_string_actions.get(name)
                several = action is not None and action.nargs is not None
                if separator:
                    yield name, value
            elif name:
                yield name, word
                name = name if several else ""

    def _remedy(self) -> str:
        """Suggests the option that a misspelt one may mean, or where all are listed."""
        # argparse has no public list of its options.
        known = [name for name in self._option_string_actions if name.startswith("--")]
        for argument in getattr(self, "args", ()):  # none where a file is read
            name = argument.partition("=")[0]
            if name.startswith("--") and name not in known:
                if hint := of_other_tools(name, known):
                    return hint
                # A section alone, such as --data, means its first option.
                within = [option for option in known if option.startswith(f"{name}.")]
                if near := within or get_close_matches(name, known, n=1):
                    return f"did you mean {near[0]}"
                break
        return f"see {self.prog} --help"


def _leave_defaults(options: Namespace) -> None:
    """No option chooses defaults."""


def _check_finite(options: Namespace) -> None:
    """Refuses infinite numbers and NaN.

    Raises:
        UsageError: the message names the first.
    """
    for name, value in vars(options.as_flat()).items():
        for number in value if isinstance(value, list | tuple) else (value,):
            if isinstance(number, int | float) and not -LARGEST <= number <= LARGEST:
                raise UsageError(f"--{name} must be a finite number, not {short(number)}")


def _accepted(option: Action) -> str:
    """The values that an option accepts, in words."""
    return " or ".join(map(_kind, _kinds_of(option)))


def _kinds_of(option: Action) -> tuple[Any, ...]:
    """The types that an option accepts."""
    hint = getattr(option, "_typehint", str)
    return _alternatives(hint)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """The types that a type is a union of, or that type alone."""
    alone = isinstance(hint, type) or get_origin(hint) in (Literal, tuple)
    return (hint,) if alone else get_args(hint)


def _takes_any(kinds: Iterable[Any], value: Any) -> bool:
    return any(_takes(kind, value) for kind in kinds)


def _takes(kind: Any, value: Any) -> bool:
    """Whether a value, or a text that stands for one, is of a type."""
    if get_origin(kind) is tuple:
        return _takes_list(get_args(kind), value)
    if kind is str:
        return isinstance(value, str)
    text = "null" if value is None else str(value)
    if get_origin(kind) is Literal:
        return text in map(str, get_args(kind))
    if kind is NoneType:
        return text.lower() in ("null", "~", "")
    if kind is bool:
        return text.lower() in ("true", "false")
    if kind in (int, float):
        with suppress(ValueError):
            return isfinite(kind(text)) and not isinstance(value, bool)
    return False


def _takes_list(kinds: tuple[Any, ...], value: Any) -> bool:
    """Whether a value is a list of such types, as of `tuple`, or YAML that says so."""
    if isinstance(value, str):
        try:
            value = parse_yaml(value)
        except ValueError:
            return False
    if not isinstance(value, list | tuple):
        return False
    if kinds[1:] == (...,):
        kinds = kinds[:1] * len(value)
    return len(kinds) == len(value) and all(
        _takes_any(_alternatives(kind), item) for kind, item in zip(kinds, value, strict=True)
    )


def _kind(hint: Any) -> str:
    if get_origin(hint) is not Literal:
        return _KINDS[hint]
    values = get_args(hint)
    return f"one of {', '.join(map(str, values))}" if len(values) > 1 else str(values[0])


_KINDS: dict[Any, str] = {
    **WORDS,
    tuple[str, ...]: "a list of texts such as [x, y]",
    tuple[str | int, ...]: "a list such as [DAPI, 2]",
    tuple[float, float, float]: "three numbers such as [1, 1, 1]",
    tuple[float, ...]: "several such as [0, -25]",
    tuple[int, ...]: "whole numbers such as [64, 64, 12]",
}
