"""`revgan evaluate`: scores, translated test images and the report of a run."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args, overload

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.progress import track
from torch import Tensor

from revgan.commands.train import checked_data
from revgan.data.folders import ImageRef
from revgan.data.images import to_array, write_image
from revgan.data.sampling import load_image
from revgan.data.sets import DataConfig, DataSet
from revgan.errors import UserError
from revgan.evaluation.metrics import Row, mean_colour, rows_to_json, score_direction, score_pairs
from revgan.evaluation.report import (
    Example,
    MemoryComparison,
    ReportContent,
    library_versions,
    write_report,
)
from revgan.files import write_text
from revgan.inference import Translator
from revgan.memory import measure_step
from revgan.networks import Direction
from revgan.training.config import RunConfig
from revgan.training.objectives import Batch
from revgan.training.pictures import spread
from revgan.training.planning import free_budget
from revgan.training.runs import RunFolder
from revgan.training.setup import build_trainer, make_accelerator
from revgan.training.workload import Workload, predict_training

EXAMPLES = 8
"""Test images shown in the report, per direction."""


@dataclass(frozen=True)
class Evaluation:
    """What came of the test images.

    Attributes:
        rows: scores against the truth, with reference rows; empty without aligned test images.
        cycle_rows: scores of the round trip against the input.
        examples: pictures by direction.
    """

    rows: list[Row]
    cycle_rows: list[Row]
    examples: dict[str, list[Example]]

    def to_json(self) -> str:
        """Scores as they stand in scores.json."""
        content = {
            "test": rows_to_json(self.rows),
            "round_trip": rows_to_json(self.cycle_rows),
        }
        return json.dumps(content, indent=2)


def run_evaluation(config: RunConfig, run: RunFolder, console: Console) -> Evaluation:
    """Translates the test images both ways; writes results/, scores.json and report.html.

    Raises:
        UserError: the run has no model, or its data set no test images.
    """
    accelerator = make_accelerator(config.runtime)
    translator = Translator.from_pretrained(run.root, accelerator.device)
    data = checked_data(config, console)
    if not data.a.test and not data.b.test:
        raise UserError(
            f"{config.data.path} has no test images; add testA and testB (or test, side by side)"
        )
    evaluation = evaluate(translator, data, config.data, run, console, config.model_name)
    write_text(run.scores, evaluation.to_json() + "\n")
    memory = compare_memory(config, data, accelerator)
    write_report(run.report, _content(config, run, data, evaluation, memory))
    return evaluation


def evaluate(
    translator: Translator,
    data: DataSet,
    config: DataConfig,
    run: RunFolder,
    console: Console,
    method: str = "RevGAN",
) -> Evaluation:
    """Translates every test image there and back, writes the results, and scores what it wrote."""
    evaluation = Evaluation([], [], {})
    for direction in get_args(Direction):
        source, target = (data.a, data.b) if direction == "AtoB" else (data.b, data.a)
        if not source.test:
            continue
        test = _Test(
            direction,
            inputs=_Images(source.test, source.format.channels, config),
            truths=_Images(target.test, target.format.channels, config),
            aligned=data.test_aligned,
            results=_result_files(run.root / "results" / direction, source.test),
            bits=target.format.bits,
        )
        round_trips = score_pairs(test.round_trips(translator, console))
        evaluation.cycle_rows.append(Row(f"{direction}to{direction[0]}", method, round_trips))
        evaluation.examples[direction] = test.examples
        if data.test_aligned:
            colour = mean_colour(_Images(target.train, target.format.channels, config))
            written = [ImageRef(path) for path in test.results]
            translations = _Images(written, target.format.channels, config)
            rows = score_direction(
                direction, test.inputs, translations, test.truths, colour, method
            )
            evaluation.rows.extend(rows)
    return evaluation


@dataclass(frozen=True)
class _Images(Sequence[Tensor]):
    """Images that are read when they are looked at, so that a large test set needs no memory."""

    refs: Sequence[ImageRef]
    channels: int
    config: DataConfig

    def __len__(self) -> int:
        return len(self.refs)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> "_Images": ...

    def __getitem__(self, index: int | slice) -> "Tensor | _Images":
        if isinstance(index, slice):
            return replace(self, refs=self.refs[index])
        return load_image(self.refs[index], self.channels, self.config)


@dataclass(frozen=True)
class _Test:
    """The test of one direction: images in, files out, and some examples kept for the report."""

    direction: Direction
    inputs: _Images
    truths: _Images
    aligned: bool
    results: list[Path]
    bits: Literal[8, 16]
    examples: list[Example] = field(default_factory=list)

    def round_trips(
        self, translator: Translator, console: Console
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Translates and writes each image; yields what comes back of it, and the image."""
        back: Direction = "BtoA" if self.direction == "AtoB" else "AtoB"
        shown = spread(range(len(self.inputs)), EXAMPLES)
        for number in track(
            range(len(self.inputs)),
            f"translating {self.direction}",
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ):
            image = self.inputs[number]
            translation = translator(image, self.direction)
            round_trip = translator(translation, back)
            write_image(self.results[number], to_array(translation, self.bits))
            if number in shown:
                truth = self.truths[number] if self.aligned else None
                self.examples.append(Example(image, translation, truth, round_trip))
            yield round_trip, image


def _result_files(folder: Path, refs: Sequence[ImageRef]) -> list[Path]:
    """A PNG file in the folder, which is made, for each image; named after it."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [ref.name for ref in refs]
    if len(set(names)) < len(names):  # x.png beside x.jpg
        names = [f"{number:05d}-{name}" for number, name in enumerate(names)]
    return [folder / f"{name}.png" for name in names]


def _content(
    config: RunConfig,
    run: RunFolder,
    data: DataSet,
    evaluation: Evaluation,
    memory: MemoryComparison | None,
) -> ReportContent:
    history = run.history()
    done = history[-1]["step"] if history else 0
    names = ("satellite", "map") if config.data.path == "earth" else ("A", "B")
    return ReportContent(
        title=f"{config.model_name}: {run.root.name}",
        summary=(
            f"{config.objective.capitalize()} training on {config.data.path}, {done} steps; width "
            f"{config.generator.width}, depth {config.generator.depth}. Scores and pictures are of "
            f"{len(data.a.test)} test images of A and {len(data.b.test)} of B, which training did "
            "not use."
        ),
        examples=evaluation.examples,
        rows=evaluation.rows,
        cycle_rows=evaluation.cycle_rows,
        history=history,
        memory=memory,
        configuration=run.config.read_text(encoding="utf-8"),
        versions=library_versions(),
        domain_names=names,
    )


def compare_memory(
    config: RunConfig, data: DataSet, accelerator: Accelerator
) -> MemoryComparison | None:
    """Measures one training step in both memory modes, each where it fits into the free memory.

    None where not even reversible fits, for models that have one mode or whose memory can't be
    predicted, and on devices that can't be measured.
    """
    device = accelerator.device
    comparable = "reversible" in config.memory_modes and config.generator.core != "ode"
    if device.type not in ("cpu", "cuda") or not comparable:
        return None
    crop, batch_size = config.data.crop, config.training.batch_size
    channels = data.a.format.channels, data.b.format.channels
    workload = Workload(config, crop, channels=channels, device_type=device.type)
    naive = workload.with_generator(memory="naive", stored_blocks=0)
    reversible = workload.with_generator(memory="reversible", stored_blocks=0)
    budget = free_budget(device)
    if predict_training(reversible).total > budget:
        return None
    batch = Batch(*(torch.rand(batch_size, c, crop, crop, device=device) * 2 - 1 for c in channels))

    def peak(workload: Workload) -> int:
        trainer = build_trainer(workload.config, data, accelerator, total=2)
        trainer.step(batch, 0)  # brings the optimizers' states to life
        return measure_step(lambda: trainer.step(batch, 1), device).peak

    naive_fits = predict_training(naive).total <= budget
    precision = {"no": "float32"}.get(accelerator.mixed_precision, accelerator.mixed_precision)
    where = "the CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)
    return MemoryComparison(
        naive=peak(naive) if naive_fits else None,
        reversible=peak(reversible),
        step=(
            f"One {config.objective} training step of this configuration, {batch_size} x {crop} x "
            f"{crop} pixels, measured in {precision} on {where}: the peak above what is held "
            "between steps."
        ),
    )
