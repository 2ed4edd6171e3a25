"""Plots of how translations agree with the truth: Bland and Altman's, and errors by intensity."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from revgan.figures.svg import BLUE, INK, ORANGE, SIZE, style, to_svg
from revgan.scores.agreement import LIMIT, Agreement, Limits

MINUS = "\N{MINUS SIGN}"

DIFFERENCE = f"translation {MINUS} truth"

PANEL = (4.2, 3.4)
"""Inches of a plot in a figure."""

FAINTEST = 0.12
"""How opaque bins with a single value are; that with the most is opaque."""

LEAST = 1e-4
"""The least share of all values that a band of intensities needs to be drawn: means over a handful
of values would set the scale."""

LABEL = 0.06
"""The share of a plot's height that a label takes, beside the outermost lines."""

Plot = Callable[[Axes, Agreement, str, str], None]


def agreement_charts(agreement: Agreement, name: str) -> dict[str, str]:
    """The plots of one direction as SVG, by their titles.

    Args:
        agreement: of its translations.
        name: unlike that of other directions in the page.
    """
    charts = {}
    for title, plot in PLOTS.items():
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        plot(axes, agreement, title, INK)
        charts[title] = to_svg(figure, f"{name} {title}")
    return charts


def agreement_figure(agreements: Mapping[str, Agreement]) -> Figure:
    """The plots of several models, a row for each, with the same scales.

    Args:
        agreements: by the models' names, at least one.

    Raises:
        ValueError: there is none.
    """
    if not agreements:
        raise ValueError("there are no models for a figure")
    width, height = PANEL
    size = (width * len(PLOTS), height * len(agreements))
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    rows = figure.subplots(len(agreements), len(PLOTS), squeeze=False)
    for axes_of_row, (name, agreement) in zip(rows, agreements.items(), strict=True):
        for axes, (title, plot) in zip(axes_of_row, PLOTS.items(), strict=True):
            head = title if len(agreements) == 1 else f"{name}\n{title}"
            plot(axes, agreement, head, "black")
    for column in rows.T:
        limits = np.array([(axes.get_xlim(), axes.get_ylim()) for axes in column])
        for axes in column:
            axes.set_xlim(limits[:, 0, 0].min(), limits[:, 0, 1].max())
            low, high = limits[:, 1, 0].min(), limits[:, 1, 1].max()
            room = LABEL * (high - low) if len(agreements) > 1 else 0
            axes.set_ylim(low - room, high + room)
    return figure


def _scans(axes: Axes, agreement: Agreement, title: str, ink: str) -> None:
    """A point for each scan: its mean difference over the mean of both."""
    means = [scan.mean for scan in agreement.scans]
    differences = [scan.difference for scan in agreement.scans]
    if agreement.limits is not None:
        _draw_limits(axes, agreement.limits, ink)
    axes.plot(means, differences, "o", color=BLUE, markersize=5, alpha=0.8)
    low, high = axes.get_ylim()
    room = high - low
    if low - room < 0 < high + room:  # where it is near; else it would squeeze all others
        axes.axhline(0, color=ink, linewidth=0.8)
        low, high = axes.get_ylim()
    axes.set_ylim(low - LABEL * room, high + LABEL * room)
    _label(axes, title, "mean of translation and truth", DIFFERENCE, ink)


def _values(axes: Axes, agreement: Agreement, title: str, ink: str) -> None:
    """How many values have which difference and mean; darker is more, by the logarithm."""
    counts = np.array(agreement.counts, float)
    known = np.log1p(counts) / max(1.0, float(np.log1p(counts).max()))
    picture = np.zeros((*counts.T.shape, 4))
    picture[..., :3] = to_rgb(BLUE)
    picture[..., 3] = np.where(counts > 0, FAINTEST + (1 - FAINTEST) * known, 0).T
    left, right = agreement.mean_edges[0], agreement.mean_edges[-1]
    bottom, top = agreement.difference_edges[0], agreement.difference_edges[-1]
    axes.imshow(
        picture,
        origin="lower",
        aspect="auto",
        interpolation="none",
        extent=(left, right, bottom, top),
        zorder=2,
    )
    axes.axhline(0, color=ink, linewidth=0.8)
    spread = LIMIT * agreement.deviation
    _draw_lines(
        axes,
        agreement.difference,
        agreement.difference - spread,
        agreement.difference + spread,
        ink,
    )
    axes.set_xlim(left, right)
    # Lines may lie beyond most values, and labels beyond lines.
    middle, reach = agreement.difference, 1.25 * spread
    axes.set_ylim(min(bottom, middle - reach), max(top, middle + reach))
    _label(axes, title, "mean of translation and truth", DIFFERENCE, ink)


def _bands(axes: Axes, agreement: Agreement, title: str, ink: str) -> None:
    """Mean error, its spread, and the mean of its size, over the truth."""
    total = sum(band.count for band in agreement.bands)
    bands = [band for band in agreement.bands if band.count >= LEAST * total]
    points = np.array(
        [((b.low + b.high) / 2, b.difference, b.deviation, b.mae) for b in bands], float
    )
    # Lines end where there is no band.
    gaps = [place for place, (one, other) in enumerate(pairwise(bands), 1) if one.high < other.low]
    middle, error, spread, size = np.insert(points, gaps, np.nan, axis=0).T
    axes.axhline(0, color=ink, linewidth=0.8)
    lines: dict[str, Any] = {"marker": ".", "markersize": 4, "linewidth": 1.8}
    axes.fill_between(middle, error - spread, error + spread, color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(middle, error, color=BLUE, label="mean ± 1 SD", **lines)
    axes.plot(middle, size, linestyle="--", color=ORANGE, label="mean size", **lines)
    _label(axes, title, "truth", DIFFERENCE, ink)
    axes.legend(loc="best", fontsize=9, labelcolor=ink, frameon=False)


PLOTS: Mapping[str, Plot] = {
    "Bland-Altman, scan by scan": _scans,
    "Bland-Altman, value by value": _values,
    "Error by intensity": _bands,
}
"""The plots by their titles."""


def _draw_limits(axes: Axes, limits: Limits, ink: str) -> None:
    for _, low, high in (limits.difference, limits.lower, limits.upper):
        if low is not None and high is not None:
            axes.axhspan(low, high, color=ORANGE, alpha=0.15, linewidth=0)
    _draw_lines(axes, limits.difference[0], limits.lower[0], limits.upper[0], ink)


def _draw_lines(axes: Axes, middle: float, lower: float, upper: float, ink: str) -> None:
    """Lines at the mean difference and the limits of agreement, with their numbers.

    The mean's is on the side away from 0, whose line would run through it.
    """
    for value, line, name, side in (
        (middle, "-", "mean", 1 if middle >= 0 else -1),
        (lower, "--", f"{MINUS}{LIMIT} SD", -1),
        (upper, "--", f"+{LIMIT} SD", 1),
    ):
        axes.axhline(value, linestyle=line, color=ORANGE, linewidth=1.4, zorder=3)
        axes.annotate(
            f"{name} {number(value, upper - lower)}",
            (1, value),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 2 * side),
            textcoords="offset points",
            ha="right",
            va="bottom" if side > 0 else "top",
            fontsize=8,
            color=ink,
            zorder=4,
        )


def number(value: float, among: float) -> str:
    """A value with as many digits as tell apart thousandths of `among`, such as 3.2 of 40."""
    digits = max(0, 2 - int(np.floor(np.log10(among)))) if among > 0 else 3
    return f"{value:.{min(digits, 12)}f}".replace("-", MINUS)


def _label(axes: Axes, title: str, x_label: str, y_label: str, ink: str) -> None:
    style(axes, title, x_label, ink)
    axes.set_ylabel(y_label, color=ink, fontsize=10)
