"""Imports a room's public names on first use, so configurations and help don't wait for them."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def face(room: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a room's `__init__.py` (PEP 562).

    Args:
        room: its package, such as "revgan.memory".
        homes: the module that each name comes from.
    """

    def find(name: str) -> Any:
        if name in homes:
            return getattr(import_module(f"{room}.{homes[name]}"), name)
        raise AttributeError(f"module {room!r} has no attribute {name!r}")

    return find
