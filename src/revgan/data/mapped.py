"""Headers of .npy files, which one thread at a time may parse.

NumPy parses them by `ast`. In Python up to 3.11.7, several threads that do so at once now and then
end in a SystemError (CPython's issue 106905).
"""

import os
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


class _Parsing:
    """Holds off other threads; a forked process begins with none."""

    def __init__(self) -> None:
        self._lock = Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @property
    def under_way(self) -> bool:
        """Whether a thread parses."""
        return self._lock.locked()


parsing = _Parsing()
"""To be entered where a header is parsed."""


def mapped(path: Path, mode: Literal["r", "r+"] = "r") -> NDArray[Any]:
    """The array of a .npy file, memory-mapped.

    Raises:
        OSError, ValueError, EOFError, SyntaxError: the file can't be read, or is damaged.
    """
    with parsing:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode=mode)
    return array
