"""Skips steps that diverge."""

from dataclasses import dataclass


@dataclass
class Skips:
    """Counts skipped steps, whose losses or gradients were infinite or NaN.

    Attributes:
        limit: how many in a row may be skipped; with 0, none are, and gradients aren't checked.
        total: how many were skipped.
        row: how many of the latest were skipped in a row.
        now: whether the current step is skipped.
    """

    limit: int = 0
    total: int = 0
    row: int = 0
    now: bool = False

    def count(self) -> None:
        """Records whether the finished step was skipped."""
        self.total += self.now
        self.row = self.row + 1 if self.now else 0

    @property
    def excess(self) -> str | None:
        """Why training must stop, in one sentence, if it must."""
        if self.row <= self.limit:
            return None
        return (
            f"{self.row} steps in a row had infinite or NaN losses or gradients, but "
            f"training.on_nan allows {self.limit}; lower --optimizer.lr, or use "
            "--runtime.precision float32"
        )
