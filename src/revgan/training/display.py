"""What users see while training runs."""

import time
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from revgan.progress import progress_bar
from revgan.scores.metrics import Scores

LINE_EVERY = 30.0
"""Seconds between lines without a terminal."""


class _Losses(ProgressColumn):
    """The losses, on one line: where a terminal is narrow, they are cut, and nothing else."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["losses"], no_wrap=True, overflow="ellipsis")


class Display:
    """A progress bar with losses, speed and remaining time; plain lines if there is no terminal.

    Args:
        console: where to show it.
        first: steps done before.
        total: steps in all.
    """

    def __init__(self, console: Console, first: int, total: int) -> None:
        self._console = console
        self._first, self._total = first, total
        self._start = time.perf_counter()
        self._next_line = self._start
        self._bar = progress_bar(
            console,
            TextColumn("step"),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            BarColumn(bar_width=10, table_column=Column(no_wrap=True)),
            TimeRemainingColumn(
                elapsed_when_finished=True, table_column=Column(no_wrap=True, min_width=7)
            ),
            TextColumn("{task.fields[speed]}"),
            _Losses(),
            transient=False,
        )
        self._task = self._bar.add_task("", total=total, completed=first, speed="", losses="")

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def advance(self, done: int) -> None:
        """Advances the bar to `done` steps."""
        self._bar.update(self._task, completed=done)

    def show(
        self,
        done: int,
        losses: Mapping[str, float | None],
        images_per_second: float,
        skipped: int = 0,
    ) -> None:
        """Shows the losses, summed over directions and discriminators, and skipped steps."""
        text = "  ".join(f"{name} {value:.3g}" for name, value in summary(losses).items())
        if skipped:
            text = f"{text}  skipped {skipped}".strip()
        speed = f"{images_per_second:.1f} images/s"
        self._bar.update(self._task, losses=text, speed=speed)
        now = time.perf_counter()
        if self._console.is_terminal or (now < self._next_line and done < self._total):
            return
        self._next_line = now + LINE_EVERY
        pace = (now - self._start) / max(1, done - self._first)
        left = timedelta(seconds=round(pace * (self._total - done)))
        line = f"step {done}/{self._total}  {left} left  {speed}  {text}"
        self._console.print(line, soft_wrap=True)

    def show_scores(self, done: int, scores: Mapping[str, Scores], *, best: bool) -> None:
        """Shows the scores of a validation, and whether they are the best so far."""
        told = ";  ".join(
            f"{direction} {of.psnr:.2f} dB, SSIM {of.ssim:.3f}, MAE {of.mae:.2f}"
            for direction, of in scores.items()
        )
        line = f"step {done}/{self._total}  validation  {told}{'  best so far' if best else ''}"
        self._console.print(line, soft_wrap=True)


def summary(losses: Mapping[str, float | None]) -> dict[str, float]:
    """The losses summed by kind: gan, cycle or l1, identity, and the discriminators' as d.

    Skipped steps' losses, which are None, are omitted.
    """
    sums: dict[str, float] = {}
    for name, value in losses.items():
        if value is None:
            continue
        kind = name.split("_")[0]
        sums[kind] = sums.get(kind, 0.0) + value
    return sums


class Clock:
    """Measures speed.

    Args:
        images_per_step: per domain, over all processes.
        first: steps done before.
    """

    def __init__(self, images_per_step: int, first: int) -> None:
        self._images_per_step = images_per_step
        self._step = first
        self._time = time.perf_counter()

    def images_per_second(self, step: int) -> float:
        """The speed since the last call, when `step` steps are done."""
        now = time.perf_counter()
        speed = (step - self._step) * self._images_per_step / max(now - self._time, 1e-9)
        self._step, self._time = step, now
        return speed
