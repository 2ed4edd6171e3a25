"""The package's progress bar."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, ProgressColumn

Item = TypeVar("Item")


def progress_bar(console: Console, *columns: ProgressColumn, transient: bool = True) -> Progress:
    """A progress bar, used as a context; silent in a file or pipe, where it would be noise.

    Args:
        console: where to draw it.
        columns: what it shows; by default description, bar, share done and time left.
        transient: whether to remove the bar at the end.
    """
    return Progress(*columns, console=console, transient=transient, disable=not console.is_terminal)


def track(items: Sequence[Item], description: str, console: Console) -> Iterator[Item]:
    """Yields the items, with a progress bar."""
    with progress_bar(console) as bar:
        yield from bar.track(items, description=description)
