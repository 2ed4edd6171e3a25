"""Turning pictures upright, as their orientation tag (EXIF and TIFF, 274) asks for."""

from dataclasses import dataclass

from revgan.data.formats.contract import Values, Window


@dataclass(frozen=True)
class Turn:
    """From what is stored to what is meant: rows and columns reversed, then swapped.

    Attributes:
        rows: the rows are reversed.
        columns: the columns are.
        swapped: rows become columns.
    """

    rows: bool = False
    columns: bool = False
    swapped: bool = False

    def shape(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """(H, W) upright."""
        return stored[::-1] if self.swapped else stored

    def upright(self, values: Values) -> Values:
        """A view of stored values (C, H, W)."""
        values = values[:, :: -1 if self.rows else 1, :: -1 if self.columns else 1]
        return values.swapaxes(1, 2) if self.swapped else values

    def stored(self, window: Window, shape: tuple[int, ...]) -> Window:
        """Where a window of an upright picture is stored.

        Args:
            window: of rows and columns.
            shape: (H, W) as stored.
        """
        turned = window[::-1] if self.swapped else window
        flips = (self.rows, self.columns)
        return tuple(
            _reversed(part, side) if flip else part
            for part, side, flip in zip(turned, shape, flips, strict=True)
        )


def _reversed(part: slice, side: int) -> slice:
    start, stop, _ = part.indices(side)
    return slice(side - stop, side - start)


TURNS = {
    2: Turn(columns=True),
    3: Turn(rows=True, columns=True),
    4: Turn(rows=True),
    5: Turn(swapped=True),
    6: Turn(rows=True, swapped=True),
    7: Turn(rows=True, columns=True, swapped=True),
    8: Turn(columns=True, swapped=True),
}


def turn(orientation: object) -> Turn:
    """What a tag asks for; nothing for values that it can't have, and without one."""
    return TURNS.get(orientation, Turn()) if isinstance(orientation, int) else Turn()
