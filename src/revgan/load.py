"""Sharing the cores with other processes: where this one's threads run, and how they wait.

PyTorch's OpenMP threads meet after every operation. Those that come first spin, which is quickest
where each has a core for itself. Where another process takes turns on one of the cores, they spin
while the last one waits for its turn: a step took two to four times as long as with one thread. One
thread, in turn, takes sums in another order, so results would differ in their last bits. Therefore
the same threads move to the cores that others leave free, and sleep while they wait
(`benchmarks/threads.py`).
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path
from typing import Self

import psutil

from revgan.environment import usable_cores

BUSY = 0.4
"""How much of a core others must take. A process that wants a whole one gets half of it if it
shares it with a spinning thread."""

PERIOD = 5.0
"""Seconds between two looks at the load."""

SAMPLE = 0.3
"""Seconds that the first look covers at least, so that brief activity doesn't count."""

GRAIN = 2**15
"""How many values PyTorch gives a thread at least."""

TRIFLES, SPINNING = 50, 0.02
"""Of so many small operations, whose threads share a core, so many seconds of computing mean that
threads spin: it took 0.2 s, and else 0.001."""


@dataclass(frozen=True)
class Clocks:
    """How time was spent up to a moment, in seconds.

    Attributes:
        now: the moment.
        idle: for each core, how long it had nothing to do.
        own: how long cores worked for this process.
    """

    now: float
    idle: dict[int, float]
    own: float

    @classmethod
    def read(cls, cores: set[int]) -> Self:
        """Those of some cores."""
        times, own = psutil.cpu_times(percpu=True), psutil.Process().cpu_times()
        idle = {core: times[core].idle + getattr(times[core], "iowait", 0.0) for core in cores}
        return cls(time.monotonic(), idle, own.user + own.system)


def others_between(before: Clocks, after: Clocks) -> float:
    """How many cores other processes took, as a mean."""
    passed = after.now - before.now
    idle = sum(after.idle.values()) - sum(before.idle.values())
    return len(after.idle) - (idle + after.own - before.own) / max(passed, 1e-9)


def cores_to_keep(
    before: Clocks, after: Clocks, kept: set[int], here: int, threads: int
) -> set[int]:
    """The cores that this process's threads should run on: all, or those that others use least.

    They are as few as can be: where 16 threads have 15 cores, two must share one, so an operation
    takes as long as on eight cores.

    Args:
        before: at the start of a while.
        after: at its end.
        kept: where the threads ran in between.
        here: where the main thread runs. It decides between cores that are alike, so that of two
            processes that look at the same time each keeps its own.
        threads: how many there are.
    """
    others, cores = others_between(before, after), sorted(after.idle)
    free = max(1, len(cores) - ceil(others))
    if others <= BUSY or threads <= free:
        return set(cores)
    passed = after.now - before.now
    used = {core: 1 - (after.idle[core] - before.idle[core]) / passed for core in cores}
    # Of what the kept cores did, only the sum of this process's part is known.
    own = (after.own - before.own) / passed
    used |= dict.fromkeys(kept, (sum(used[core] for core in kept) - own) / len(kept))
    order = sorted(cores, key=lambda core: (round(used[core], 1), core != here))
    on_a_core = ceil(threads / free)
    return set(order[: ceil(threads / on_a_core)])


class Load:
    """Follows what other processes take of the cores, and moves this one's threads.

    For commands, which have their process for themselves. If the user has set one of OpenMP's
    variables, it does nothing.

    Attributes:
        all_cores: what the process may run on.
        kept: where its threads run now.
    """

    def __init__(self) -> None:
        self._unset = "torch" not in sys.modules and not any("OMP_" in name for name in os.environ)
        self.all_cores = self.kept = usable_cores()
        self._before = Clocks.read(self.all_cores)
        self._due = self._before.now + SAMPLE
        self._looking = threading.Lock()  # `revgan serve` has several threads
        self._awake: threading.Event | None = None  # while threads sleep

    def before_torch(self) -> None:
        """Where threads can't be moved, as on macOS, lets them sleep from the start if others work.

        OpenMP reads the policy when PyTorch is imported.
        """
        if not self._unset or hasattr(os, "sched_setaffinity"):
            return
        time.sleep(max(0.0, self._due - time.monotonic()))
        if others_between(self._before, Clocks.read(self.all_cores)) > BUSY:
            os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Within, `heed` heeds this load."""
        global _followed
        movable = hasattr(os, "sched_setaffinity") and Path("/proc/self/task").exists()
        if not (self._unset and movable and len(self.all_cores) > 1):
            yield
            return
        _followed = self
        try:
            yield
        finally:
            _followed = None
            self._release()

    def look(self) -> None:
        """Moves the threads if the load has changed, but looks only now and then."""
        if time.monotonic() < self._due or not self._looking.acquire(blocking=False):
            return
        try:
            import torch  # here, as help doesn't wait for it

            after, here = Clocks.read(self.all_cores), psutil.Process().cpu_num()
            self._due, threads = after.now + PERIOD, torch.get_num_threads()
            if threads > 1 and not torch.cuda.is_initialized():
                self._keep(cores_to_keep(self._before, after, self.kept, here, threads), threads)
            self._before = after
        finally:
            self._looking.release()

    def _keep(self, cores: set[int], threads: int) -> None:
        if cores == self.kept:
            return
        if cores == self.all_cores:
            self._release()
            return
        first = self._awake is None
        self._awake = self._awake or let_threads_sleep(threads, len(self.all_cores))
        _move(cores)
        self.kept = cores
        if first and threads_spin(threads):  # another OpenMP, whose threads block each other now
            self._due = inf
            self._release()

    def _release(self) -> None:
        """Lets threads run anywhere, and spin."""
        if self._awake is not None:
            _move(self.all_cores)
            self._awake.set()
        self.kept, self._awake = self.all_cores, None


_followed: Load | None = None


def heed() -> None:
    """In a command that follows the load, moves the threads if it has changed.

    To be called between steps or files, after PyTorch was imported. Results stay the same.
    """
    if _followed is not None:
        _followed.look()


@contextmanager
def on_all_cores() -> Iterator[None]:
    """Within, this thread may run on any core, and so may processes that it starts for good."""
    load = _followed
    if load is None:
        yield
        return
    os.sched_setaffinity(0, load.all_cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, load.kept)


def let_threads_sleep(threads: int, cores: int) -> threading.Event:
    """Lets OpenMP's waiting threads sleep instead of spin, until the event is set.

    GNU's OpenMP lets them spin for about a microsecond only while it has more threads than there
    are cores (GOMP_SPINCOUNT in its manual). It keeps threads for each thread that computes
    something in parallel; so others do, once.

    Args:
        threads: that compute something together.
        cores: that OpenMP knows of.
    """
    end = threading.Event()
    for _ in range((cores - 1) // (threads - 1)):
        begun = threading.Event()
        holder = threading.Thread(target=_hold, args=(threads, begun, end), daemon=True)
        holder.start()
        begun.wait()
    return end


def _hold(threads: int, begun: threading.Event, end: threading.Event) -> None:
    try:
        _compute(threads, 1)
    finally:
        begun.set()
    end.wait()


def threads_spin(threads: int) -> bool:
    """Whether waiting threads spin, where several share a core."""
    return _compute(threads, TRIFLES) > SPINNING


def _compute(threads: int, times: int) -> float:
    """Seconds that this thread is busy with small operations of all threads."""
    import torch

    values = torch.zeros(threads * GRAIN)
    start = time.thread_time()
    for _ in range(times):
        values.add_(1)
    return time.thread_time() - start


def _move(cores: set[int]) -> None:
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it may have ended, and some sandboxes forbid it
            os.sched_setaffinity(int(task.name), cores)
