"""The results of `revgan benchmark paper`: what was measured, in tables beside the paper's."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from rich import box
from rich.table import Table

from revgan.benchmark.paper_measuring import (
    MEMORY_STEPS,
    Measurement,
    MemoryUse,
    Spread,
    TrainingCost,
)
from revgan.benchmark.paper_tables import (
    TITLES,
    Mode,
    PaperCase,
    PaperRow,
    TableNumber,
    paper_rows,
)
from revgan.benchmark.recording import Conditions, Recording, markdown_table

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

WIDE = 140
"""Columns of a terminal that standard deviations need."""

NOTES: dict[TableNumber, str] = {
    2: "The paper's figures look like those of 256 x 256 images, though its text says 128 x 128: "
    "its CycleGAN takes exactly the memory of Table 4's at depth 6, and its RevGAN of width 56, "
    "saving memory, takes less than Table 4's of width 58 in proportion to its width.",
    3: "From Table 2 to Table 3, the paper's Pix2pix grows by half of CycleGAN's model memory and "
    "by a quarter of its activations: it seems to be trained in one direction, by one generator. "
    "Here it has two, one for each direction, with as many parameters as the paper prints.",
    4: "The parameters printed for Unpaired RevGAN are those of width 32, to 0.1 million, but "
    "memory and time belong to width 58: at depth 9, they are Table 3's.",
}

_LEGEND = (
    "paper: by nvidia-smi on a K40m GPU, mean ± standard deviation of 100 samples after 100 of "
    "warm-up; its MB are MiB. here: of {samples} samples after {warmup}. {device}",
    "params: of the generators of both directions. model: what is held between steps, weights and "
    "optimizer states. naive, saving: what a step takes beyond that at its peak, activations and "
    "gradients; and the seconds per sample. ratio: saving / naive.",
    "here, naive stores every activation, and saving is the memory mode reversible. Both "
    "backpropagate each loss before the next is computed, so naive takes far less than the "
    "paper's, which stored the activations of all losses. lean: naive and the memory mode lean. "
    "joint: all losses at once through plain layers, as in the paper's code, with every activation "
    "stored and with the core's recomputed.",
    "Unpaired training has the identity loss here. The paper's activations, four times Pix2pix's, "
    "look like the four passes of the two cycles without it.",
)

_DEVICES = {
    "cpu": f"Memory is the allocator's, in {MEMORY_STEPS} steps of their own, because measuring "
    "slows them.",
    "cuda": "Memory is the allocator's. driver: memory of the whole GPU as nvidia-smi shows it; "
    "for the model with the CUDA context, and with PyTorch's cache emptied; for training, what "
    "comes on top, the cache included.",
}


class PaperResults(Recording[Measurement]):
    """What is in a folder: `results.json` and `table.md`.

    Args:
        folder: where the files are, or will be.
        conditions: those of rows to come, with the settings warmup and samples.
        device: "cpu" or "cuda".
        command: the command line as it was typed.

    Raises:
        UserError: the folder holds results under other conditions, or something else of that name.
    """

    maker = "revgan benchmark paper"

    def __init__(self, folder: Path, conditions: Conditions, device: str, command: str) -> None:
        super().__init__(folder, conditions, command)
        self.legend = "\n\n".join(_LEGEND).format(**conditions.settings, device=_DEVICES[device])

    def has(self, case: PaperCase, mode: Mode) -> bool:
        """Whether a case was measured, or found not to fit into memory."""
        return any(row.case == case and row.mode == mode for row in self.rows)

    def add(self, measurement: Measurement) -> None:
        """Takes one in, and writes both files."""
        self.rows.append(measurement)
        self._write()

    def tables(self, numbers: Sequence[TableNumber], width: int) -> Iterator[Table]:
        """Tables for a terminal of this width."""
        for number in numbers:
            caption = "\n".join([NOTES[number], *self._failures(number)])
            table = Table(title=TITLES[number], caption=caption, caption_justify="left")
            table.box, table.show_edge = box.SIMPLE, False
            table.padding = (0, 1 if width >= WIDE else 0, 0, 0)
            for heading in HEADINGS:
                justify: Literal["left", "right"] = "left" if heading in TEXTS else "right"
                table.add_column(heading.replace(" ", "\n"), justify=justify, no_wrap=True)
            for lines in self._groups(number):
                for line in lines:
                    cells = line if width >= WIDE else map(without_deviation, line)
                    table.add_row(*cells, end_section=line is lines[-1])
            yield table

    def _groups(self, number: TableNumber) -> Iterator[list[list[str]]]:
        """The lines of each row of which there is a measurement."""
        for row in paper_rows(number):
            measured = self._of(row)
            if measured:
                yield row_lines(row, measured)

    def _of(self, row: PaperRow) -> dict[Mode, Measurement]:
        """What was measured of a row, by mode, in the order of modes."""
        found = {measured.mode: measured for measured in self.rows if measured.case == row.case}
        modes: tuple[Mode, ...] = get_args(Mode)
        return {mode: found[mode] for mode in modes if mode in found}

    def _failures(self, number: TableNumber) -> list[str]:
        return [
            f"{measured.case.title}, {mode}: {measured.failure}"
            for row in paper_rows(number)
            for mode, measured in self._of(row).items()
            if measured.failure
        ]

    def _markdown(self) -> str:
        sections = [f"{self.legend}\n"]
        numbers: tuple[TableNumber, ...] = get_args(TableNumber)
        for number in numbers:
            lines = [line for group in self._groups(number) for line in group]
            if lines:
                failures = "\n".join(f"- {failure}" for failure in self._failures(number))
                table = markdown_table(HEADINGS, lines, left=TEXTS)
                parts = [f"### {TITLES[number]}", table, failures, NOTES[number]]
                sections.append("\n\n".join(part for part in parts if part) + "\n")
        return "\n".join(sections)

    def _entry(self, row: Measurement) -> dict[str, Any]:
        return asdict(row)

    def _row(self, entry: dict[str, Any]) -> Measurement:
        cost = entry["figures"]
        if cost is not None:
            driver = cost["driver"]
            cost = TrainingCost(
                parameters=cost["parameters"],
                seconds=Spread(**cost["seconds"]),
                allocator=_memory_use(cost["allocator"]),
                driver=None if driver is None else _memory_use(driver),
            )
        return Measurement(**entry | {"case": PaperCase(**entry["case"]), "figures": cost})


def _memory_use(entry: dict[str, Any]) -> MemoryUse:
    return MemoryUse(entry["model_bytes"], Spread(**entry["activation_bytes"]))


@dataclass(frozen=True)
class _Cell:
    """A cell, and the number in it that ratios are made of."""

    text: str
    mean: float | None = None


_Half = tuple[_Cell, _Cell]
"""Activations and seconds, naive or saving."""

_NOT_MEASURED, _IMPOSSIBLE, _FAILED = _Cell("-"), _Cell("n/a"), _Cell("failed")


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


def _measured_lines(measured: dict[Mode, Measurement], absent: _Cell) -> Iterator[list[str]]:
    """A line for each pair of modes with something new, and one for the driver's figures."""
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
    return [source, parameters, model, *(cell.text for cell in (*naive, *saving)), *ratios]


def _half(measurement: Measurement | None, absent: _Cell) -> _Half:
    if measurement is None:
        return absent, absent
    figures = measurement.figures
    if figures is None:
        return _FAILED, _FAILED
    return _memory(figures.allocator), _seconds(figures.seconds)


def _driver_half(measurement: Measurement | None, absent: _Cell) -> _Half:
    """The driver's memory; the time is in the line above."""
    memory, _ = _half(measurement, absent)
    if measurement and measurement.figures and measurement.figures.driver:
        memory = _memory(measurement.figures.driver)
    return memory, _Cell("")


def _printed(text: str | None) -> _Cell:
    return _IMPOSSIBLE if text is None else _Cell(text, float(without_deviation(text)))


def _memory(memory: MemoryUse) -> _Cell:
    spread = memory.activation_bytes
    return _spread(spread, decimals=1 if spread.mean < 1000 * MIB else 0, unit=MIB)


def _seconds(spread: Spread) -> _Cell:
    return _spread(spread, decimals=3 if spread.mean < 1 else 2)


def _spread(spread: Spread, decimals: int, unit: int = 1) -> _Cell:
    mean, sd = (f"{value / unit:.{decimals}f}" for value in (spread.mean, spread.sd))
    return _Cell(f"{mean} ± {sd}", spread.mean)


def _mib(count: int) -> str:
    return f"{count / MIB:.1f}"


def _ratio(saving: _Cell, naive: _Cell) -> str:
    if saving.mean is None or naive.mean is None:
        return saving.text if saving in (_IMPOSSIBLE, _Cell("")) else "-"
    return f"{saving.mean / naive.mean:.2f}"
