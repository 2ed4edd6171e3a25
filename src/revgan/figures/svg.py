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

BLUE, ORANGE = "#3d87c9", "#d9772b"
"""Readable on light and on dark pages, and apart for the colour-blind."""

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


def loss_curves(history: Sequence[Mapping[str, float]]) -> str:
    """Losses and scores over training as SVG: a panel per kind, smoothed over the faint raw curve.

    Args:
        history: the lines of metrics.jsonl: "step", the losses by the names that the objectives
            give them, and the scores of validations. Each may be missing from some lines; other
            entries are ignored.

    Raises:
        ValueError: no line has a loss or a score.
    """
    names = {name for line in history for name in line}
    panels = {
        title: [series for series in all_series if series.name in names]
        for title, all_series in (_LOSSES | _SCORES).items()
    }
    panels = {title: drawn for title, drawn in panels.items() if drawn}
    if not panels:
        raise ValueError("the history has no losses to draw")
    figure = Figure(figsize=(3.4 * len(panels), 3.4), layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, drawn) in zip(all_axes, panels.items(), strict=True):
        for series in drawn:
            _draw_curve(axes, series, [line for line in history if series.name in line])
        _style_curves(axes, title, zero=title in _LOSSES)
    return to_svg(figure)


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


def _style_curves(axes: Axes, title: str, *, zero: bool) -> None:
    axes.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
    axes.set_xlabel("training step", color=INK, fontsize=10)
    if zero:  # scores are far from it
        axes.axhline(0, color=INK, linewidth=0.8)
    axes.grid(axis="y", color=INK, alpha=0.2, linewidth=0.8)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9, length=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.locator_params(axis="x", nbins=4, integer=True, min_n_ticks=1)
    axes.locator_params(axis="y", nbins=5)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, -0.2),
        ncols=2,
        fontsize=9,
        labelcolor=INK,
        frameon=False,
        borderaxespad=0,
    )


def memory_chart(naive: int | None, reversible: int) -> str:
    """Two bars as SVG: the peaks, in bytes, of a step that stores or recomputes activations.

    Args:
        naive: the peak with every activation stored; None where it was not measured.
        reversible: the peak with the core's activations recomputed.
    """
    figure = Figure(figsize=(5.4, 1.3), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(
        ["naive", "reversible"], [naive or 0, reversible], height=0.62, color=[ORANGE, BLUE]
    )
    labels = [format_bytes(naive) if naive else "too large to measure", format_bytes(reversible)]
    axes.bar_label(bars, labels, padding=6, color=INK, fontsize=11)
    axes.invert_yaxis()
    axes.margins(x=0.2)  # room for the longer bar's label
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="y", colors=INK, labelsize=11, length=0)
    axes.xaxis.set_visible(False)
    return to_svg(figure)


def to_svg(figure: Figure) -> str:
    """The figure as one `<svg>` element that may stand beside others in a page.

    What is drawn in `INK` takes the colour of the text around it.
    """
    buffer = StringIO()
    # The salt makes a figure's SVG reproducible. Text stays text: small, and found by a search.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "revgan"}):
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    # Groups are numbered, and images named, alike in every figure; a page may have an id only once.
    return re.sub(r' id="image[^"]*"', "", re.sub(r'<g id="[^"]*"', "<g", svg))
