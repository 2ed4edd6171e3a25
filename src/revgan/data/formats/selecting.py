"""Looks up a `Selection` in a file with series, channels, planes and points in time."""

from collections.abc import Sequence
from pathlib import Path

from revgan.errors import UserError

LISTED = 12
"""The most names that an error lists."""


def series(path: Path, wanted: str | None, names: Sequence[str]) -> int:
    """The number of the wanted series, or of the only one.

    Args:
        path: the file.
        wanted: its number or name; None for the only one.
        names: the names of all series.

    Raises:
        UserError: there is no such series, or there are several and none was chosen.
    """
    if wanted is None:
        if len(names) == 1:
            return 0
        raise UserError(
            f"{path} holds {len(names)} images ({_listed(names)}); choose one by series, such as "
            "series 0"
        )
    found = _number(wanted, names)
    if found is None:
        raise UserError(
            f"{path} has no series {wanted}; give a number from 0 to {len(names) - 1} or one of "
            f"{_listed(names)}"
        )
    return found


def channels(
    path: Path, wanted: Sequence[str] | None, names: Sequence[str], count: int
) -> list[int]:
    """The numbers of the wanted channels, in that order; by default all.

    Args:
        path: the file.
        wanted: their numbers or names.
        names: the names of all channels, if the file gives any.
        count: how many there are.

    Raises:
        UserError: there is no such channel, or one was chosen twice.
    """
    if wanted is None:
        return list(range(count))
    known = names or [str(number) for number in range(count)]
    found = [_number(each, known) for each in wanted]
    for each, number in zip(wanted, found, strict=True):
        if number is None:
            said = f" or one of {_listed(names)}" if names else ""
            raise UserError(
                f"{path} has no channel {each}; give numbers from 0 to {count - 1}{said}"
            )
    chosen = [number for number in found if number is not None]
    if not chosen or len(set(chosen)) < len(chosen):
        raise UserError(
            f"{path} can't be read with channels {', '.join(wanted) or '(empty)'}; name each "
            "wanted channel once"
        )
    return chosen


def plane(path: Path, what: str, wanted: int | None, count: int) -> int:
    """The number of the wanted plane or point in time, or of the only one.

    Args:
        path: the file.
        what: z or t.
        wanted: its number; None for the only one.
        count: how many there are.

    Raises:
        UserError: there is no such plane or point, or there are several and none was chosen.
    """
    things = {"z": "planes in depth", "t": "points in time"}[what]
    if wanted is None and count > 1:
        raise UserError(f"{path} has {count} {things}; choose one by {what}, from 0 to {count - 1}")
    number = wanted or 0
    if not 0 <= number < count:
        held = f"{count} {things}" if count > 1 else f"only one of {things}"
        raise UserError(f"{path} has {held}; give {what} from 0 to {count - 1}")
    return number


def _number(wanted: str, names: Sequence[str]) -> int | None:
    """Names take precedence: a channel may be called 488."""
    if wanted in names:
        return list(names).index(wanted)
    if wanted.isdecimal() and int(wanted) < len(names):
        return int(wanted)
    return None


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
