"""How translations agree with the truth, as the report and `revgan figure` show it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from markupsafe import Markup

from revgan.directions import Direction
from revgan.errors import UserError
from revgan.figures import agreement_charts, agreement_figure, write_figure
from revgan.figures.agreement import number
from revgan.scores.agreement import LIMIT, Agreement
from revgan.text import shell_word
from revgan.training.runs import RunFolder, folder_of_folds

DPI = 200
"""Dots per inch of a figure."""


@dataclass(frozen=True)
class AgreementView:
    """A direction's plots in a report.

    Attributes:
        charts: as SVG, with what they show in a word or two.
        said: the numbers in them, in sentences.
    """

    charts: list[tuple[str, Markup]]
    said: str

    @classmethod
    def of(cls, agreement: Agreement, direction: str, items: str) -> Self:
        """The plots of one direction, of "images" or "volumes"."""
        charts = agreement_charts(agreement, direction)
        return cls(
            [(title, Markup(chart)) for title, chart in charts.items()],
            said_of_agreement(agreement, items),
        )


def said_of_agreement(agreement: Agreement, items: str) -> str:
    """The mean difference and the limits of agreement, over scans and over all values."""
    spread = agreement.deviation
    where = " inside the masks" if agreement.masked else ""
    low, high = (agreement.difference + side * LIMIT * spread for side in (-1, 1))
    said = (
        f"Over all {agreement.count:,} values{where}, translation minus truth is "
        f"{number(agreement.difference, spread)} on average, with a standard deviation of "
        f"{number(spread, spread)} and limits of agreement from {number(low, spread)} to "
        f"{number(high, spread)}."
    )
    if agreement.limits is None:
        return said
    among = agreement.limits.upper[0] - agreement.limits.lower[0]

    def with_interval(ends: tuple[float, float | None, float | None]) -> str:
        value, *interval = (end if end is None else number(end, among) for end in ends)
        return f"{value} [{', '.join(map(str, interval))}]" if None not in interval else f"{value}"

    scans = agreement.limits
    return (
        f"Over {len(agreement.scans)} {items}, their mean differences average "
        f"{with_interval(scans.difference)}, and their limits of agreement are "
        f"{with_interval(scans.lower)} and {with_interval(scans.upper)}. {said}"
    )


def draw_agreement(
    models: Mapping[str, Sequence[RunFolder]], direction: Direction, paths: Sequence[Path]
) -> None:
    """Draws how the translations of models agree with the truth, a row for each model.

    Args:
        models: the runs of each by its name, evaluated: one, or all folds of a cross-validation.
        direction: "AtoB" or "BtoA".
        paths: the files to write, each in the format of its suffix.

    Raises:
        UserError: a run wasn't evaluated, or no truth is known, or several runs of one name aren't
            folds.
        OSError: a file can't be written.
    """
    found = {
        name: read_agreement(_joint(name, runs).agreement, direction)
        for name, runs in models.items()
    }
    figure = agreement_figure(found)
    figure.set_dpi(DPI)
    write_figure(figure, paths)


def _joint(name: str, runs: Sequence[RunFolder]) -> RunFolder:
    joint = runs[0] if len(runs) == 1 else folder_of_folds(runs)
    if joint is None:
        raise UserError(
            f"{len(runs)} runs are called {name}, but they aren't all folds of one folder; give "
            "each its own name, or the folder of the folds"
        )
    return joint


def read_agreement(path: Path, direction: Direction) -> Agreement:
    """What `revgan evaluate` wrote of a direction.

    Raises:
        UserError: there is no such file, it is damaged, or has nothing of this direction.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} doesn't exist; it is written by revgan evaluate {shell_word(path.parent)}"
        ) from None
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path} can't be read; write it again by revgan evaluate") from error
    if not isinstance(content, dict) or direction not in content:
        raise UserError(
            f"{path} has nothing of {direction}, as no truth is known there; the test images of A "
            "and B have to pair"
        )
    try:
        return Agreement.from_dict(content[direction])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged; write it again by revgan evaluate") from error
