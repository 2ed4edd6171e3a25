"""Text that a terminal shows as it is: names of files may hold anything.

Names that aren't UTF-8 hold lone surrogates in Python (PEP 383).
"""

import os
import shlex
from pathlib import Path
from typing import Any

from rich.console import Console

from revgan.errors import visible


def shell_word(word: object) -> str:
    """A word of a command that can be pasted into a shell, though the name be odd.

    Args:
        word: the word; a path that looks like an option is put so that it is none.
    """
    text = str(word)
    if isinstance(word, Path) and text.startswith("-"):
        text = f"./{text}"
    if text.isprintable():
        return shlex.quote(text)
    parts = (
        char.replace("\\", r"\\").replace("'", r"\'")
        if char.isprintable()
        else "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
        for char in text
    )
    return f"$'{''.join(parts)}'"


def csv_cell(text: object) -> str:
    """A cell of a CSV file that spreadsheets don't take for a formula, which may run programs."""
    shown = visible(text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown


def markdown(text: object) -> str:
    """Text that Markdown shows as it is, in a table too."""
    return "".join(f"\\{char}" if char in r"\`*_[]<>|~&$" else char for char in visible(text))


class PlainConsole(Console):
    """A console that shows strings as they are: no markup, no emoji codes, no control characters.

    The same holds for strings in tables; `rich.text.Text` gives them a style.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        shown = (visible(each, "\n") if isinstance(each, str) else each for each in objects)
        super().print(*shown, **{"markup": False, "emoji": False} | options)
