"""Ctrl-C and SIGTERM as a request to stop after the current step."""

import signal
from time import monotonic
from types import FrameType, TracebackType

import torch
from accelerate import Accelerator

from revgan.errors import Stopped
from revgan.training.processes import together


class StopRequest:
    """Within the context, the first SIGINT or SIGTERM is only recorded; a second Ctrl-C acts at
    once.

    A repeated SIGTERM doesn't: launchers pass on signals that their whole group has received
    already. Before `begin`, there is nothing to save, and the first acts at once too.

    Args:
        max_hours: after which it is `late`; None for no limit.

    Attributes:
        signal: the signal received, or None.

    Raises:
        Stopped: raised wherever the process is, if a signal acts at once.
    """

    watched = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, max_hours: float | None = None) -> None:
        self._end = None if max_hours is None else monotonic() + 3600 * max_hours
        self.signal: signal.Signals | None = None
        self._begun = False

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in self.watched}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return self._end is not None and monotonic() >= self._end

    def begin(self) -> None:
        """From now on, a signal waits for the end of a step."""
        self._begun = True

    def agreed(self, accelerator: Accelerator, *, failed: bool) -> bool:
        """Whether any process was asked to stop or has to; then all stop after the same step.

        Every process calls this, before the first step and after every one.

        Args:
            accelerator: the training's.
            failed: whether this process can't go on.

        Raises:
            LostProcessError: another process is gone.
        """
        stop = failed or self.signal is not None
        if accelerator.num_processes == 1:
            return stop
        flag = torch.tensor(float(stop), device=accelerator.device)
        with together():
            return bool(accelerator.reduce(flag) > 0)

    def _note(self, number: int, frame: FrameType | None) -> None:
        at_once = not self._begun or (self.signal is not None and number == signal.SIGINT)
        # Recorded in any case: an exception that is raised within a destructor gets lost.
        self.signal = self.signal or signal.Signals(number)
        if at_once:
            raise Stopped(number)


def leave_signals_to_parent(worker: int) -> None:
    """Makes a loader's worker process ignore signals that are sent to the whole group.

    A terminal's Ctrl-C and a scheduler's SIGTERM reach workers as well; they end with the parent.
    """
    for number in StopRequest.watched:
        signal.signal(number, signal.SIG_IGN)
