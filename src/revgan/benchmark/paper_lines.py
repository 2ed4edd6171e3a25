"""The lines of a row of the paper's tables: its own, and under it what was measured here."""

from collections.abc import Iterator
from dataclasses import dataclass

from revgan.benchmark.paper_measuring import Measurement, MemoryUse, Spread
from revgan.benchmark.paper_tables import Mode, PaperRow

HEADINGS = (
    "model",
    "width",
    "depth",
    "source",
    "params (M)",
    "model MiB",
    "naive MiB",
    "naive s",
    "saving MiB",
    "saving s",
    "ratio MiB",
    "ratio s",
)
TEXTS = {"model", "source"}
"""Headings of columns that hold words."""

PAIRS: dict[str, tuple[Mode, Mode]] = {
    "here": ("naive", "reversible"),
    "lean": ("naive", "lean"),
    "joint": ("joint", "joint-reversible"),
}
"""What stands in the columns naive and saving, by the line's source."""

MIB = 2**20


@dataclass(frozen=True)
class _Figure:
    """A cell, and the number in it that ratios are made of."""

    text: str
    mean: float | None = None


_Half = tuple[_Figure, _Figure]
"""Activations and seconds, naive or saving."""

_NOT_MEASURED, _IMPOSSIBLE, _FAILED = _Figure("-"), _Figure("n/a"), _Figure("failed")


def row_lines(row: PaperRow, measured: dict[Mode, Measurement]) -> list[list[str]]:
    """The cells of a row's lines, in the order of `HEADINGS`.

    Args:
        row: what the paper prints.
        measured: our measurements of it, by mode.
    """
    case = row.case
    naive = _printed(row.naive_memory), _printed(row.naive_seconds)
    saving = _printed(row.saving_memory), _printed(row.saving_seconds)
    printed = _line("paper", row.parameters, row.model_memory, naive, saving)
    ours = _measured_lines(measured, _NOT_MEASURED if case.reversible else _IMPOSSIBLE)
    return [
        [case.model, str(case.width), str(case.depth), *printed],
        *(["", "", "", *line] for line in ours),
    ]


def without_deviation(cell: str) -> str:
    """A cell with the mean alone."""
    return cell.split(" ± ")[0]


def _measured_lines(measured: dict[Mode, Measurement], absent: _Figure) -> Iterator[list[str]]:
    """A line for each pair of modes that tells something new, and one for the driver's figures."""
    told: set[Mode] = set()
    for source, pair in PAIRS.items():
        new = measured.keys() & set(pair) - told
        told |= new
        if not new:
            continue
        naive, saving = (measured.get(mode) for mode in pair)
        of_both = [half.figures for half in (naive, saving) if half and half.figures]
        if not of_both:
            yield _line(source, "-", "-", _half(naive, absent), _half(saving, absent))
            continue
        whole = of_both[0]  # parameters and model are the same in both
        parameters, model = f"{whole.parameters / 1e6:.2f}", _mib(whole.allocator.model_bytes)
        yield _line(source, parameters, model, _half(naive, absent), _half(saving, absent))
        if whole.driver:
            halves = _driver_half(naive, absent), _driver_half(saving, absent)
            yield _line("driver", "", _mib(whole.driver.model_bytes), *halves)


def _line(source: str, parameters: str, model: str, naive: _Half, saving: _Half) -> list[str]:
    ratios = [_ratio(*pair) for pair in zip(saving, naive, strict=True)]
    return [source, parameters, model, *(figure.text for figure in (*naive, *saving)), *ratios]


def _half(measurement: Measurement | None, absent: _Figure) -> _Half:
    if measurement is None:
        return absent, absent
    figures = measurement.figures
    if figures is None:
        return _FAILED, _FAILED
    return _memory(figures.allocator), _seconds(figures.seconds)


def _driver_half(measurement: Measurement | None, absent: _Figure) -> _Half:
    """The driver's memory; the time is told in the line above."""
    memory, _ = _half(measurement, absent)
    if measurement and measurement.figures and measurement.figures.driver:
        memory = _memory(measurement.figures.driver)
    return memory, _Figure("")


def _printed(text: str | None) -> _Figure:
    return _IMPOSSIBLE if text is None else _Figure(text, float(without_deviation(text)))


def _memory(memory: MemoryUse) -> _Figure:
    spread = memory.activation_bytes
    return _spread(spread, decimals=1 if spread.mean < 1000 * MIB else 0, unit=MIB)


def _seconds(spread: Spread) -> _Figure:
    return _spread(spread, decimals=3 if spread.mean < 1 else 2)


def _spread(spread: Spread, decimals: int, unit: int = 1) -> _Figure:
    mean, sd = (f"{value / unit:.{decimals}f}" for value in (spread.mean, spread.sd))
    return _Figure(f"{mean} ± {sd}", spread.mean)


def _mib(count: int) -> str:
    return f"{count / MIB:.1f}"


def _ratio(saving: _Figure, naive: _Figure) -> str:
    if saving.mean is None or naive.mean is None:
        return saving.text if saving in (_IMPOSSIBLE, _Figure("")) else "-"
    return f"{saving.mean / naive.mean:.2f}"
