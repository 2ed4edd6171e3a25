"""Errors that end a command, notices that don't, and checks that raise or recognise them."""

import warnings
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class UserError(Exception):
    """Something the user can fix, in one sentence.

    The message says what is wrong, where, and what would be right.

    Attributes:
        status: the exit status of a command that ends with it.
    """

    status = 1


class UsageError(UserError):
    """The command line is wrong."""

    status = 2


class Notice(UserWarning):
    """Something that the user should know, said once in one sentence."""


def notice(message: str) -> None:
    """Tells the user something, but only once; commands print it to stderr."""
    warnings.warn(message, Notice, stacklevel=2)


class Stopped(KeyboardInterrupt):
    """A signal came when there was nothing to save.

    Args:
        signal: its number.
    """

    def __init__(self, signal: int) -> None:
        super().__init__()
        self.signal = signal


def io_sentence(error: OSError) -> str:
    """What is wrong with the file, in one sentence."""
    return f"{error.filename or 'a file'} can't be read or written: {error.strerror or error}"


def one_line(error: object, at_most: int | None = None) -> str:
    """A library's error message on one line, to be quoted in our own.

    Args:
        error: an exception, or its text.
        at_most: how many characters to keep, from the start, or from the end if negative.
    """
    said: object = error
    if isinstance(error, OSError) and error.strerror:  # without Python's [Errno 2]
        said = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    text = " ".join(str(said).split())
    if at_most is None:
        return text
    return text[at_most:] if at_most < 0 else text[:at_most]


def visible(text: object, keep: str = "") -> str:
    """A text with what can't be printed, such as control characters, as Python's escapes.

    Names of files may hold anything; those that aren't UTF-8 hold lone surrogates (PEP 383).

    Args:
        text: the text, or an object to be put in words.
        keep: characters to leave alone.
    """
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in str(text)
    )


def optional(package: str, extra: str, what: str) -> Any:
    """Imports a package that not everybody needs.

    Args:
        package: its name.
        extra: the extra of revgan that brings it.
        what: needs it, as the sentence's subject.

    Raises:
        UserError: it isn't installed; says how to get it.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise missing_package(package, extra, what) from error


def require_package(package: str, extra: str, what: str, name: str = "") -> None:
    """As `optional`, but looks only whether the package is there, as importing may take long.

    Args:
        package: its name.
        extra: the extra of revgan that brings it.
        what: needs it, as the sentence's subject.
        name: what pip calls the package, if not so.

    Raises:
        UserError: it isn't installed; says how to get it.
    """
    if find_spec(package) is None:
        raise missing_package(name or package, extra, what)


def missing_package(name: str, extra: str, what: str) -> "UserError":
    """What `optional` raises."""
    return UserError(f"{what} needs the package {name}: pip install 'revgan[{extra}]'")


WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    NoneType: "null",
    tuple: "a list",
}
"""What users call types."""


def check_types(config: "DataclassInstance") -> None:
    """Checks the types of a dataclass's fields, and the choices of those that are a `Literal`.

    Raises:
        ValueError: a field has a value that its type doesn't list, or another type.
    """
    types = get_type_hints(type(config))
    for field in fields(config):
        value, hint = getattr(config, field.name), types[field.name]
        known = get_args(hint)
        if get_origin(hint) is Literal:
            if not any(type(value) is type(each) and value == each for each in known):
                listed = ", ".join(map(str, known))
                raise ValueError(f"{field.name} must be one of {listed}, not {short(repr(value))}")
        elif not _is(value, hint):
            kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
            right = " or ".join(WORDS.get(get_origin(kind) or kind, str(kind)) for kind in kinds)
            raise ValueError(f"{field.name} must be {right}, not {short(repr(value))}")


def _is(value: object, hint: Any) -> bool:
    """Whether a value has a type, as far as types of options go."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_is(value, each) for each in inner)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in inner)
    if origin is tuple:
        if not isinstance(value, tuple | list):
            return False
        kinds = inner[:1] * len(value) if inner[1:] == (...,) else inner
        return len(kinds) == len(value) and all(map(_is, value, kinds))
    if hint is float:
        return isinstance(value, Real) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    return not isinstance(hint, type) or isinstance(value, hint)


LARGEST = 1e38
"""The largest number that options accept; float32 ends soon after it."""


def check_numbers(config: "DataclassInstance", **ranges: tuple[float, float]) -> None:
    """Checks the fields of a dataclass that hold numbers, alone or in tuples.

    Args:
        config: the dataclass.
        **ranges: the least and the largest value of fields; other fields may have any finite
            float32 value.

    Raises:
        ValueError: a number is out of its range, infinite or NaN.
    """
    for field in fields(config):
        value = getattr(config, field.name)
        least, most = ranges.get(field.name, (-LARGEST, LARGEST))
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if not least <= number <= most:
                wanted = f"{least} or more" if number < least else f"{most} or less"
                raise ValueError(f"{field.name} must be {wanted}, not {short(number)}")


def short(value: object, length: int = 40) -> str:
    """A value as text, shortened if it is long."""
    text = one_line(value)
    return text if len(text) <= length else f"{text[: length - 3]}..."


def solver_failed(error: AssertionError) -> bool:
    """Whether an ODE solver gave up: its steps became too small, or values infinite.

    Torchdiffeq raises a plain AssertionError for both.
    """
    return any(phrase in str(error) for phrase in ("underflow in dt", "non-finite values in state"))


def out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch or Python failed to allocate memory.

    PyTorch has a special error only for GPUs; on the CPU it raises a plain RuntimeError.
    """
    if isinstance(error, MemoryError):
        return True
    phrases = ("out of memory", "can't allocate memory", "size calculation overflowed")
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in phrases)
