"""Charts as SVG text that takes its ink from the page around it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revgan.memory import format_bytes

INK = "#7f7e7d"
"""Stands for the text colour while a chart is drawn; in the SVG it becomes `currentColor`."""

BLUE, ORANGE, GREEN = "#3d87c9", "#d9772b", "#2f9a6c"
"""Readable on light and on dark pages, and apart for the colour-blind."""

SIZE = (3.6, 2.9)
"""Inches: about as wide as a phone shows them, so that their text is as large as the page's."""

MIB = 2**20

MAX_POINTS = 400
"""Points drawn of a curve: more than a chart has room for would only make the report heavy."""


@dataclass(frozen=True)
class _Series:
    """How one of the losses or scores in metrics.jsonl is drawn."""

    name: str
    label: str
    colour: str
    style: str = "-"


# Colour tells where an image started (or the domain judged), dashes the second kind of loss.
_LOSSES = {
    "Adversarial, generator": (
        _Series("gan_AtoB", "A → B", BLUE),
        _Series("gan_BtoA", "B → A", ORANGE),
    ),
    "Reconstruction, generator": (
        _Series("l1_AtoB", "L1, A → B", BLUE),
        _Series("l1_BtoA", "L1, B → A", ORANGE),
        _Series("cycle_a", "cycle, A", BLUE),
        _Series("cycle_b", "cycle, B", ORANGE),
        _Series("identity_a", "identity, A", BLUE, "--"),
        _Series("identity_b", "identity, B", ORANGE, "--"),
    ),
    "Adversarial, discriminators": (
        _Series("d_a_real", "A, real", BLUE),
        _Series("d_b_real", "B, real", ORANGE),
        _Series("d_a_fake", "A, generated", BLUE, "--"),
        _Series("d_b_fake", "B, generated", ORANGE, "--"),
    ),
    "Consensus regulariser": (_Series("consensus", "all networks", BLUE),),
}
_SCORES = {
    "Validation, PSNR in dB": (
        _Series("psnr_AtoB", "A → B", BLUE),
        _Series("psnr_BtoA", "B → A", ORANGE),
        _Series("psnr_AtoBtoA", "A → B → A", BLUE),
        _Series("psnr_BtoAtoB", "B → A → B", ORANGE),
    ),
}


def loss_curves(history: Sequence[Mapping[str, float]]) -> list[str]:
    """Losses and scores over training as SVG: a chart per kind, smoothed over the faint raw curve.

    Args:
        history: the lines of metrics.jsonl: "step", the losses by the names that the objectives
            give them, and the scores of validations. Each may be missing from some lines; other
            entries are ignored.

    Raises:
        ValueError: no line has a loss or a score.
    """
    names = {name for line in history for name in line}
    charts = {
        title: [series for series in all_series if series.name in names]
        for title, all_series in (_LOSSES | _SCORES).items()
    }
    if not any(charts.values()):
        raise ValueError("the history has no losses to draw")
    return [_curves(title, drawn, history) for title, drawn in charts.items() if drawn]


def _curves(title: str, drawn: Sequence[_Series], history: Sequence[Mapping[str, float]]) -> str:
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    for series in drawn:
        _draw_curve(axes, series, [line for line in history if series.name in line])
    if title in _LOSSES:  # scores are far from zero
        axes.axhline(0, color=INK, linewidth=0.8)
    _style(axes, title, "training step")
    return to_svg(figure, title)


def _draw_curve(axes: Axes, series: _Series, lines: Sequence[Mapping[str, float]]) -> None:
    steps = [line["step"] for line in lines]
    values = [line[series.name] for line in lines]
    thin = slice(None, None, -(-len(lines) // MAX_POINTS))
    axes.plot(steps[thin], values[thin], color=series.colour, alpha=0.22, linewidth=0.8)
    axes.plot(
        steps[thin],
        _smoothed(values)[thin],
        series.style,
        color=series.colour,
        marker="o" if len(lines) == 1 else "",  # one point makes no line
        linewidth=1.8,
        label=series.label,
    )


def _smoothed(values: Iterable[float]) -> list[float]:
    """The moving average over about a thirtieth of the curve, with weights that fade backwards."""
    values = list(values)
    decay = 1 - 1 / max(1.0, len(values) / 30)
    total = weight = 0.0
    averages = []
    for value in values:
        total, weight = decay * total + value, decay * weight + 1
        averages.append(total / weight)
    return averages


def style(axes: Axes, title: str, x_label: str, ink: str = INK) -> None:
    """Gives axes the looks of all charts: a title, a faint grid, and no frame."""
    axes.set_title(title, loc="left", color=ink, fontsize=11, fontweight="bold")
    axes.set_xlabel(x_label, color=ink, fontsize=10)
    axes.grid(axis="y", color=ink, alpha=0.2, linewidth=0.8)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=ink, labelsize=9, length=0)
    axes.locator_params(nbins=5)


def _style(axes: Axes, title: str, x_label: str) -> None:
    style(axes, title, x_label)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.locator_params(axis="x", nbins=4, integer=True, min_n_ticks=1)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, -0.24),
        ncols=2,
        fontsize=9,
        labelcolor=INK,
        frameon=False,
        borderaxespad=0,
    )


_MODES = {"naive": (ORANGE, "o"), "reversible": (BLUE, "s"), "lean": (GREEN, "^")}


def memory_chart(
    over_depth: Mapping[str, Sequence[tuple[int, int]]], measured: Mapping[str, int], depth: int
) -> str:
    """Memory of a training step over the core's depth, as SVG: a line for each memory mode.

    Args:
        over_depth: by mode, pairs of a depth and the peak predicted for it, in bytes.
        measured: by mode, the peak measured at `depth`, in bytes, as a marker.
        depth: of the core that was measured.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    for mode, points in over_depth.items():
        colour, marker = _MODES[mode]
        depths, peaks = zip(*points, strict=True)
        axes.plot(depths, [peak / MIB for peak in peaks], color=colour, linewidth=1.8)
        known = [measured[mode] / MIB] if mode in measured else []
        axes.plot([depth] * len(known), known, marker, color=colour, markersize=6, clip_on=False)
        label = f"{mode}, {format_bytes(measured[mode])}" if known else mode
        axes.plot([], [], f"{marker}-", color=colour, label=label)
    axes.set_ylim(bottom=0)
    _style(axes, "Peak of a training step, MiB", "depth: couplings of the core")
    return to_svg(figure, "memory")


def to_svg(figure: Figure, name: str) -> str:
    """The figure as one `<svg>` element that may stand beside others in a page.

    What is drawn in `INK` takes the colour of the text around it.

    Args:
        figure: the chart.
        name: unlike those of the others, as ids are made from it.
    """
    buffer = StringIO()
    # The salt makes a figure's ids reproducible, and its own. Text stays text: small, and found by
    # a search.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    # Groups are numbered alike in every figure; a page may have an id only once.
    return re.sub(r'<g id="[^"]*"', "<g", svg)
