"""The results of `revgan benchmark paper`: JSON to go on from, and tables beside the paper's."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

from rich import box
from rich.table import Table

from revgan.benchmark.conditions import Conditions, markdown_table, read_results, write_results
from revgan.benchmark.paper_lines import HEADINGS, TEXTS, row_lines, without_deviation
from revgan.benchmark.paper_measuring import (
    MEMORY_STEPS,
    Figures,
    Measurement,
    MemoryUse,
    Spread,
)
from revgan.benchmark.paper_tables import (
    TITLES,
    Mode,
    PaperCase,
    PaperRow,
    TableNumber,
    paper_rows,
)
from revgan.files import write_text

WIDE = 140
"""Columns of a terminal that standard deviations need."""

NOTES: dict[TableNumber, str] = {
    2: "The paper's figures look like those of 256 x 256 images, though its text says 128 x 128: "
    "its CycleGAN takes the memory of Table 4's at depth 6 to the digit, its RevGAN of width 56, "
    "saving memory, as much less than Table 4's of width 58 as its width is less.",
    3: "From Table 2 to Table 3, the paper's Pix2pix grows by half of CycleGAN's model memory and "
    "by a quarter of its activations: it seems to be trained in one direction, by one generator. "
    "Here it has two, one a direction, as many parameters as the paper prints.",
    4: "The parameters printed for Unpaired RevGAN are those of width 32 to 0.1 million, while "
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
    "paper's, which stored the activations of all losses. lean: naive beside the memory mode lean. "
    "joint: all losses at once through plain layers, as in the paper's code, with every activation "
    "stored and with the core's recomputed.",
    "Unpaired training has the identity loss here. The paper's activations, four times Pix2pix's, "
    "look like the four passes of the two cycles without it.",
)

_DEVICES = {
    "cpu": f"Memory is the allocator's, in {MEMORY_STEPS} steps of their own, as measuring slows "
    "them.",
    "cuda": "Memory is the allocator's. driver: memory of the whole GPU as nvidia-smi shows it; "
    "for the model with the CUDA context, and with PyTorch's cache emptied; for training, what "
    "comes on top, the cache included.",
}


class PaperResults:
    """What is in a folder: `results.json` and `table.md`.

    Args:
        folder: where the files are, or will be.
        conditions: those of rows to come, with the settings warmup and samples.
        device: "cpu" or "cuda".
        command: the command line as it was typed.

    Raises:
        UserError: the folder holds results under other conditions, or something else of that name.
    """

    def __init__(self, folder: Path, conditions: Conditions, device: str, command: str) -> None:
        self.folder = folder
        self.conditions = conditions
        self.command = command
        self.legend = "\n\n".join(_LEGEND).format(**conditions.settings, device=_DEVICES[device])
        self._path = folder / "results.json"
        rows = read_results(self._path, conditions, _from_entry, "revgan benchmark paper")
        self._measured = {(row.case, row.mode): row for row in rows}

    def has(self, case: PaperCase, mode: Mode) -> bool:
        """Whether a case was measured, or found not to fit into memory."""
        return (case, mode) in self._measured

    def add(self, measurement: Measurement) -> None:
        """Takes one in, and writes both files."""
        self._measured[measurement.case, measurement.mode] = measurement
        entries = [asdict(row) for row in self._measured.values()]
        write_results(self._path, self.conditions, self.command, entries)
        write_text(self.folder / "table.md", self._markdown())

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
        modes: tuple[Mode, ...] = get_args(Mode)
        return {mode: self._measured[row.case, mode] for mode in modes if self.has(row.case, mode)}

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


def _from_entry(entry: dict[str, Any]) -> Measurement:
    figures = entry["figures"]
    if figures is not None:
        driver = figures["driver"]
        figures = Figures(
            parameters=figures["parameters"],
            seconds=Spread(**figures["seconds"]),
            allocator=_memory_use(figures["allocator"]),
            driver=None if driver is None else _memory_use(driver),
        )
    return Measurement(**entry | {"case": PaperCase(**entry["case"]), "figures": figures})


def _memory_use(entry: dict[str, Any]) -> MemoryUse:
    return MemoryUse(entry["model_bytes"], Spread(**entry["activation_bytes"]))
