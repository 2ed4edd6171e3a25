"""Numbers that come from a file and are going to be drawn."""

from collections.abc import Mapping
from typing import Any

LARGEST = 1e100
"""What none may reach: axes can't be drawn that far."""


def require_numbers(values: Any) -> None:
    """Refuses what isn't a number, or not a usable one, anywhere in lists and mappings.

    Args:
        values: as JSON has them. None is passed over: it is what isn't known.

    Raises:
        ValueError: there is text, a truth value, NaN, or a number that is infinite or nearly so.
    """
    if values is None:
        return
    if isinstance(values, Mapping):
        values = list(values.values())
    if isinstance(values, list):
        for value in values:
            require_numbers(value)
    elif type(values) not in (int, float) or not -LARGEST < values < LARGEST:
        raise ValueError(f"{values!r} isn't a number that can be drawn")
