"""The paper's Tables 2, 3 and 4: their rows, and what they print of them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from revgan.networks import GeneratorConfig
from revgan.networks.config import Memory
from revgan.training.config import RunConfig

TableNumber = Literal[2, 3, 4]
PaperModel = Literal["CycleGAN", "Unpaired RevGAN", "Pix2pix", "Paired RevGAN"]

Mode = Literal["naive", "reversible", "lean", "joint", "joint-reversible"]
"""Ways to train a row: our memory modes, loss by loss; and "joint", with all losses in one graph as
in the paper's code, in plain layers and off the grid, every activation stored or all but the
core's."""

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

_SIZES: dict[TableNumber, int] = {2: 128, 3: 256, 4: 256}

# Model | width | depth | parameters in millions | model memory | naive: activations | seconds |
# memory saving: activations | seconds; all as printed, memory in MB.
_PRINTED: dict[TableNumber, str] = {
    2: """
CycleGAN        | 32 |  6 |  3.9 | 367.0±0.00 | 650.0±0.00 | 0.63±0.02
Unpaired RevGAN | 32 |  6 |  1.3 | 334.8±0.43 | 682.3±0.43 | 0.67±0.03 | 366.53±0.50 | 0.63±0.02
Unpaired RevGAN | 56 |  6 |  3.9 | 357.8±0.43 | 1184.5±0.50 | 0.91±0.02 | 640.50±0.50 | 1.03±0.02
Pix2pix         | 32 |  6 |  3.9 | 341.0±0.00 | 163.0±0.00 | 0.31±0.00
Paired RevGAN   | 32 |  6 |  1.3 | 333.5±0.50 | 341.0±1.00 | 0.46±0.03 | 183.0±0.00 | 0.44±0.02
Paired RevGAN   | 56 |  6 |  3.9 | 356.0±0.00 | 592.0±0.00 | 0.58±0.02 | 320.0±0.59 | 0.59±0.02
""",
    3: """
CycleGAN        | 32 |  9 |  5.7 | 391.0±0.00 | 800.0±0.00 | 0.73±0.01
Unpaired RevGAN | 32 |  9 |  1.7 | 337.5±0.50 | 844.5±0.50 | 0.82±0.02 | 338.3±0.49 | 0.74±0.01
Unpaired RevGAN | 58 |  9 |  5.6 | 371.1±0.69 | 1540.0±0.52 | 1.17±0.02 | 663.7±0.47 | 1.34±0.02
Unpaired RevGAN | 64 |  9 |  6.8 | 404.0±0.00 | 1687.0±0.00 | 1.19±0.01 | 723.0±0.00 | 1.39±0.01
Pix2pix         | 32 |  9 |  5.7 | 353.0±0.00 | 200.0±0.00 | 0.37±0.00
Paired RevGAN   | 32 |  9 |  1.7 | 336.0±0.00 | 422.0±0.00 | 0.54±0.02 | 183.0±0.00 | 0.50±0.02
Paired RevGAN   | 58 |  9 |  5.6 | 368.0±0.00 | 770.0±0.00 | 0.72±0.02 | 332.0±0.00 | 0.79±0.01
Paired RevGAN   | 64 |  9 |  6.8 | 417.0±0.00 | 830.0±0.00 | 0.72±0.01 | 361.0±0.00 | 0.82±0.01
""",
    4: """
CycleGAN        | 32 |  6 |  3.9 | 367.0±0.00 | 650±0.00 | 0.61±0.02
CycleGAN        | 32 |  9 |  5.7 | 391.0±0.00 | 800±0.00 | 0.73±0.01
CycleGAN        | 32 | 12 |  7.5 | 415.7±0.00 | 950±0.00 | 0.84±0.02
CycleGAN        | 32 | 18 | 11.0 | 463.7±0.00 | 1250±0.00 | 1.07±0.02
CycleGAN        | 32 | 30 | 18.1 | 559.0±0.00 | 1850±0.00 | 1.51±0.02
Unpaired RevGAN | 58 |  6 |  1.2 | 358.78±0.64 | 1243.28±0.72 | 0.95±0.03 | 663.37±0.70 | 1.10±0.02
Unpaired RevGAN | 58 |  9 |  1.7 | 371.19±0.78 | 1540.11±0.53 | 1.16±0.02 | 663.67±0.47 | 1.35±0.02
Unpaired RevGAN | 58 | 12 |  2.1 | 382.87±0.77 | 1837.33±0.47 | 1.39±0.02 | 663.50±0.50 | 1.64±0.02
Unpaired RevGAN | 58 | 18 |  3.1 | 406.88±0.32 | 2431.43±0.59 | 1.83±0.02 | 663.12±0.32 | 2.18±0.02
Unpaired RevGAN | 58 | 30 |  4.8 | 454.69±0.46 | 3619.00±0.75 | 2.74±0.03 | 663.31±0.46 | 3.27±0.01
""",
}


@dataclass(frozen=True)
class PaperCase:
    """What one row of a table trains.

    Attributes:
        model: the baselines are two ResNet generators, one a direction, trained unpaired
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
        """The run: all but the generator and the objective as by default, which is batch 1."""
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
        saving_memory: likewise, where the core's activations are recomputed; None without a core.
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
    return [_parse(table, line) for line in _PRINTED[table].strip().splitlines()]


def _parse(table: TableNumber, line: str) -> PaperRow:
    name, width, depth, *printed = (cell.strip() for cell in line.split("|"))
    model: PaperModel = name  # type: ignore[assignment]  # the text above names no other
    case = PaperCase(model, _SIZES[table], int(width), int(depth))
    return PaperRow(case, *(text.replace("±", " ± ") for text in printed))
