"""Many files one by one: the next is read and the last is written while one is translated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

from rich.console import Console

from revgan.errors import UserError, out_of_memory
from revgan.inference.jobs import FileJob
from revgan.load import heed
from revgan.progress import progress_bar


@dataclass
class Outcome:
    """What became of files.

    Attributes:
        written: those that were translated.
        failures: what was wrong with others.
        cut: how many were translated in parts.
    """

    written: list[FileJob] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    cut: int = 0


def translate_all(jobs: Sequence[FileJob], title: str, console: Console) -> Outcome:
    """Translates file by file, behind a bar for the files and one for the parts of a large one.

    A file that can't be translated doesn't stop the others. Besides the one that is
    translated, two are in memory at most: one read, one to be written.

    Args:
        jobs: the files.
        title: of the bar for files.
        console: for the bars, and for what is said of scratch files.
    """
    outcome = Outcome()
    with progress_bar(console) as bar, _Writer(outcome) as writer:
        files = bar.add_task(title, total=len(jobs), visible=len(jobs) > 1)
        parts = bar.add_task("parts", visible=False)

        def show(done: int, total: int) -> None:
            heed()
            bar.update(parts, completed=done, total=total, visible=True)

        def say(sentence: str) -> None:
            console.print(sentence, soft_wrap=True, markup=False, highlight=False)

        for job, read in _read_ahead(jobs):
            bar.reset(parts, visible=False)
            try:
                read.result()
                job.translate(show, say)
                outcome.cut += job.in_parts
                writer.take(job)
            except Exception as error:
                outcome.failures.append(_sentence(job, error))
            bar.advance(files)
    return outcome


def _read_ahead(jobs: Sequence[FileJob]) -> Iterator[tuple[FileJob, Future[None]]]:
    """Each job with its reading, while the next one's is under way."""
    with ThreadPoolExecutor(1, "reading") as pool:
        before: tuple[FileJob, Future[None]] | None = None
        try:
            for job in chain(jobs, [None]):
                current = before
                before = (job, pool.submit(job.read)) if job is not None else None
                if current is not None:
                    yield current
        finally:
            if before is not None:
                before[1].cancel()


class _Writer:
    """Writes files in a thread of its own; at most one waits."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome, self._pool = outcome, ThreadPoolExecutor(1, "writing")
        self._last: tuple[FileJob, Future[None]] | None = None

    def take(self, job: FileJob) -> None:
        """Begins to write a job's file as soon as the one before is written."""
        self._finish()
        self._last = job, self._pool.submit(job.write)

    def _finish(self) -> None:
        if self._last is None:
            return
        (job, future), self._last = self._last, None
        try:
            future.result()
            self._outcome.written.append(job)
        except Exception as error:
            self._outcome.failures.append(_sentence(job, error))

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._finish()
        finally:
            self._pool.shutdown()


def _sentence(job: FileJob, error: Exception) -> str:
    """What to say of a file that failed.

    Raises:
        Exception: the error itself, if it isn't the file's fault.
    """
    job.close()
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or job.source} can't be read or written: {error.strerror or error}"
    if out_of_memory(error):
        return (
            f"{job.source} needs more memory than there is; give a smaller --window, or another "
            "--device"
        )
    raise error
