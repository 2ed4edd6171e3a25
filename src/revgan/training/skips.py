"""Steps that are left out because they diverge."""

from dataclasses import dataclass


@dataclass
class Skips:
    """Counts the steps that were left out: their losses or gradients were infinite or NaN.

    Attributes:
        limit: how many in a row may be; 0 leaves none out, and looks at no gradient.
        total: how many were.
        row: how many of the last ones in a row.
        now: whether the present step is.
    """

    limit: int = 0
    total: int = 0
    row: int = 0
    now: bool = False

    def count(self) -> None:
        """Notes what became of the step that ends."""
        self.total += self.now
        self.row = self.row + 1 if self.now else 0

    @property
    def excess(self) -> str | None:
        """Why training has to stop, in one sentence, if it has to."""
        if self.row <= self.limit:
            return None
        return (
            f"{self.row} steps in a row had losses or gradients that are infinite or not numbers, "
            f"and training.on_nan allows {self.limit}; lower --optimizer.lr, or use "
            "--runtime.precision float32"
        )
