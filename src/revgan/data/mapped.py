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

parsing = Lock()
"""To be held where a header is parsed."""

if hasattr(os, "register_at_fork"):  # a forked process has no thread that would release it
    os.register_at_fork(
        before=parsing.acquire, after_in_parent=parsing.release, after_in_child=parsing.release
    )


def mapped(path: Path, mode: Literal["r", "r+"] = "r") -> NDArray[Any]:
    """The array of a .npy file, memory-mapped.

    Raises:
        OSError, ValueError, EOFError, SyntaxError: the file can't be read, or is damaged.
    """
    with parsing:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode=mode)
    return array
