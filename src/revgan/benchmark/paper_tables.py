"""The paper's Tables 2, 3 and 4: what their rows train, and what they print of it."""

import csv
from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast

from revgan.networks import GeneratorConfig
from revgan.networks.config import Memory
from revgan.training import RunConfig

TableNumber = Literal[2, 3, 4]
PaperModel = Literal["CycleGAN", "Unpaired RevGAN", "Pix2pix", "Paired RevGAN"]

Mode = Literal["naive", "reversible", "lean", "joint", "joint-reversible"]
"""Ways to train a row: our memory modes, loss by loss; and "joint", with all losses in one graph as
in the paper's code, in plain layers and off the grid. "joint" stores every activation,
"joint-reversible" all but the core's."""

_MEMORY: dict[Mode, Memory] = {
    "naive": "naive",
    "reversible": "reversible",
    "lean": "lean",
    "joint": "naive",
    "joint-reversible": "reversible",
}

TITLES: dict[TableNumber, str] = {
    2: "Table 2: Cityscapes, 128 x 128",
    3: "Table 3: Maps, 256 x 256",
    4: "Table 4: Maps, 256 x 256, over depth",
}

_PRINTED = Path(__file__).with_name("paper_tables.csv")
"""All rows as printed, in the paper's order; memory in MB, an empty cell where it has n/a."""


@dataclass(frozen=True)
class PaperCase:
    """What one row of a table trains.

    Attributes:
        model: the baselines are two ResNet generators, one for each direction, trained unpaired
            ("CycleGAN") or paired ("Pix2pix").
        size: side of the images.
        width: K, channels after the generator's first convolution.
        depth: R, blocks of the generator, or of each of the two.
    """

    model: PaperModel
    size: int
    width: int
    depth: int

    @property
    def title(self) -> str:
        """Such as: Paired RevGAN, 128 x 128, width 32, depth 6."""
        size = f"{self.size} x {self.size}"
        return f"{self.model}, {size}, width {self.width}, depth {self.depth}"

    @property
    def reversible(self) -> bool:
        """Whether there is a core whose activations can be recomputed."""
        return self.model.endswith("RevGAN")

    def modes(self, chosen: Collection[Mode]) -> list[Mode]:
        """Those in which this can be trained, "naive" always among them."""
        return [
            mode
            for mode, memory in _MEMORY.items()
            if (mode == "naive" or mode in chosen) and (self.reversible or memory == "naive")
        ]

    def config(self, mode: Mode) -> RunConfig:
        """The run: by default but for generator and objective, so with batches of 1 (Table 1)."""
        generator = GeneratorConfig(
            model="revgan" if self.reversible else "resnet",
            width=self.width,
            depth=self.depth,
            exact=not (self.reversible and is_joint(mode)),
            memory=_MEMORY[mode],
        )
        paired = self.model in ("Pix2pix", "Paired RevGAN")
        return RunConfig(objective="paired" if paired else "unpaired", generator=generator)


@dataclass(frozen=True)
class PaperRow:
    """A row as the paper prints it.

    Attributes:
        case: what was trained.
        parameters: of the generators of both directions, in millions.
        model_memory: MB "to store model parameters", by nvidia-smi: mean ± standard deviation.
        naive_memory: MB of activations beyond that, where all are stored.
        naive_seconds: per sample.
        saving_memory: the same, where the core's activations are recomputed; None without a core.
        saving_seconds: per sample.
    """

    case: PaperCase
    parameters: str
    model_memory: str
    naive_memory: str
    naive_seconds: str
    saving_memory: str | None = None
    saving_seconds: str | None = None


def is_joint(mode: Mode) -> bool:
    """Whether all losses are backpropagated together."""
    return mode.startswith("joint")


def paper_rows(table: TableNumber) -> list[PaperRow]:
    """The rows of a table, in the paper's order."""
    with _PRINTED.open(encoding="utf-8", newline="") as file:
        return [_row(cells) for cells in csv.DictReader(file) if cells["table"] == str(table)]


def _row(cells: dict[str, str]) -> PaperRow:
    size, width, depth = (int(cells[name]) for name in ("size", "width", "depth"))
    case = PaperCase(cast(PaperModel, cells["model"]), size, width, depth)
    printed: dict[str, Any] = {
        field.name: cells[field.name] or None for field in fields(PaperRow)[1:]
    }
    return PaperRow(case, **printed)
