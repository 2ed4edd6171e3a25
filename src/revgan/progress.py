"""The one kind of progress bar."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, ProgressColumn

Item = TypeVar("Item")


def progress_bar(console: Console, *columns: ProgressColumn, transient: bool = True) -> Progress:
    """A bar to enter as a context; in a file or a pipe, where it would only be noise, it is silent.

    Args:
        console: where it is drawn.
        columns: what it shows; by default description, bar, share done and time left.
        transient: remove the bar at the end.
    """
    return Progress(*columns, console=console, transient=transient, disable=not console.is_terminal)


def track(items: Sequence[Item], description: str, console: Console) -> Iterator[Item]:
    """The items, one by one, behind a bar."""
    with progress_bar(console) as bar:
        yield from bar.track(items, description=description)
