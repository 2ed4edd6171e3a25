"""Ctrl-C and SIGTERM as a request to stop after the current step."""

import signal
from types import FrameType, TracebackType

import torch
from accelerate import Accelerator


class StopRequest:
    """Within the context, the first SIGINT or SIGTERM is noted; a second Ctrl-C acts at once.

    A repeated SIGTERM doesn't: launchers pass on what their whole group received already.

    Attributes:
        signal: what was received, or None.
    """

    watched = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

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

    def agreed(self, accelerator: Accelerator) -> bool:
        """Whether any process was asked to stop: then all do, after the same step.

        Every process calls this, after every step.
        """
        stop = self.signal is not None
        if accelerator.num_processes == 1:
            return stop
        flag = torch.tensor(float(stop), device=accelerator.device)
        return bool(accelerator.reduce(flag) > 0)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = self.signal or signal.Signals(number)


def leave_signals_to_parent(worker: int) -> None:
    """Makes a loader's worker process ignore signals that are sent to the whole group.

    A terminal's Ctrl-C and a scheduler's SIGTERM reach workers as well; they end with the parent.
    """
    for number in StopRequest.watched:
        signal.signal(number, signal.SIG_IGN)
