"""Line charts of measurements, as files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revgan.files import replacing

# Okabe and Ito's colours, apart for the colour-blind, with a darker yellow, and grey; markers tell
# lines apart that coincide.
_STYLES = (
    ("#000000", "s"),
    ("#e69f00", "o"),
    ("#009e73", "v"),
    ("#cc79a7", "^"),
    ("#56b4e9", "D"),
    ("#d55e00", "P"),
    ("#0072b2", "*"),
    ("#b8a800", "X"),
    ("#7f7f7f", "p"),
)

Points = Sequence[tuple[float, float]]
"""Pairs (x, y), from left to right."""


@dataclass(frozen=True)
class Panel:
    """One set of axes.

    Attributes:
        title: above it.
        x_label: what x is.
        y_label: what y is, with its unit; the axis starts at 0.
        lines: by the name in the legend.
    """

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, Points]


def line_chart(rows: Sequence[Sequence[Panel]], names: Sequence[str]) -> Figure:
    """Panels in rows and columns over one legend.

    Args:
        rows: of panels, all of the same length.
        names: of all lines, in the legend's order, at most 9; a name has one style in all panels.
    """
    columns = len(rows[0])
    figure = Figure(figsize=(4.6 * columns, 3.1 * len(rows) + 0.6))
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    all_axes = figure.subplots(len(rows), columns, squeeze=False)
    styles = dict(zip(names, _STYLES, strict=False))
    handles = {}
    for row_axes, row in zip(all_axes, rows, strict=True):
        for axes, panel in zip(row_axes, row, strict=True):
            for name, points in panel.lines.items():
                colour, marker = styles[name]
                x, y = zip(*points, strict=True)
                (handles[name],) = axes.plot(
                    x, y, color=colour, marker=marker, markersize=6, linewidth=1.6, alpha=0.85
                )
            _style(axes, panel)
    shown = [name for name in names if name in handles]
    if not shown:
        return figure
    figure.legend(
        [handles[name] for name in shown],
        shown,
        loc="outside lower center",
        ncols=len(shown),
        frameon=False,
        fontsize=9,
        columnspacing=1.4,
        handletextpad=0.5,
    )
    return figure


def _style(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel(panel.x_label, fontsize=9)
    axes.set_ylabel(panel.y_label, fontsize=9)
    points = [point for line in panel.lines.values() for point in line]
    axes.set_xticks(sorted({x for x, _ in points}))
    axes.set_ylim(0, 1.08 * max((y for _, y in points), default=1.0))
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure in the format that the suffix names, whole or not at all.

    Raises:
        OSError: the disk is full or not writable.
    """
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format=path.suffix[1:], dpi=150)


def write_figure(figure: Figure, paths: Sequence[Path]) -> None:
    """Writes a figure for papers into files, each whole or not at all, in its suffix's format.

    Raises:
        OSError: a file can't be written.
    """
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        # TrueType fonts: journals refuse matplotlib's default, Type 3.
        with replacing(path) as unfinished, mpl.rc_context({"pdf.fonttype": 42}):
            figure.savefig(unfinished, format=path.suffix[1:].lower())
