"""Ctrl-C and SIGTERM as a request to stop after the current step."""

import signal
from types import FrameType, TracebackType


class StopRequest:
    """Within the context, the first SIGINT or SIGTERM is noted; a second one acts at once.

    Attributes:
        signal: what was received, or None.
    """

    _watched = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in self._watched}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)


def leave_signals_to_parent(worker: int) -> None:
    """Makes a loader's worker process ignore Ctrl-C, which a terminal sends to it as well."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
