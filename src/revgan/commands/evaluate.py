"""`revgan evaluate`: scores, translated test images and the report of a run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from revgan.commands.train import checked_data
from revgan.data.folders import ImageRef
from revgan.data.images import to_array, write_image
from revgan.data.sampling import load_image
from revgan.data.sets import DataConfig, DataSet, Domain
from revgan.errors import UserError
from revgan.evaluation.metrics import Row, mean_colour, rows_to_json, score_direction, score_pairs
from revgan.evaluation.report import (
    Example,
    MemoryComparison,
    ReportContent,
    library_versions,
    write_report,
)
from revgan.inference import Translator
from revgan.memory import measure_step
from revgan.networks import Direction
from revgan.networks.generator import Memory
from revgan.networks.pretrained import write_text
from revgan.training.config import RunConfig
from revgan.training.objectives import Batch
from revgan.training.pictures import spread
from revgan.training.runs import RunFolder
from revgan.training.setup import build_trainer, make_accelerator

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
    evaluation = evaluate(translator, data, config.data, run, console)
    write_text(run.scores, evaluation.to_json() + "\n")
    write_report(run.report, _content(config, run, data, evaluation))
    return evaluation


def evaluate(
    translator: Translator, data: DataSet, config: DataConfig, run: RunFolder, console: Console
) -> Evaluation:
    """Translates every test image there and back, keeps the results, and scores them."""
    evaluation = Evaluation([], [], {})
    for direction in get_args(Direction):
        source, target = (data.a, data.b) if direction == "AtoB" else (data.b, data.a)
        refs, truths = source.test, target.test if data.test_aligned else ()
        if not refs:
            continue
        examples = [
            _translate(translator, source, target, refs[i], truths[i : i + 1], config, direction)
            for i in track(
                range(len(refs)),
                f"translating {direction}",
                console=console,
                transient=True,
                disable=not console.is_terminal,
            )
        ]
        folder = run.root / "results" / direction
        folder.mkdir(parents=True, exist_ok=True)
        for ref, example in zip(refs, examples, strict=True):
            pixels = to_array(example.translation, target.format.bits)
            write_image(folder / f"{ref.name}.png", pixels)
        round_trips = score_pairs((e.round_trip, e.input) for e in examples)
        cycle = f"{direction}to{direction[0]}"
        evaluation.cycle_rows.append(Row(cycle, "RevGAN", round_trips))
        evaluation.examples[direction] = spread(examples, EXAMPLES)
        if truths:
            colour = mean_colour(_training_images(target, config))
            evaluation.rows.extend(_score(direction, examples, colour))
    return evaluation


def _translate(
    translator: Translator,
    source: Domain,
    target: Domain,
    ref: ImageRef,
    truth: Sequence[ImageRef],
    config: DataConfig,
    direction: Direction,
) -> Example:
    back: Direction = "BtoA" if direction == "AtoB" else "AtoB"
    image = load_image(ref, source.format.channels, config)
    translation = translator(image, direction)
    return Example(
        input=image,
        translation=translation,
        truth=load_image(truth[0], target.format.channels, config) if truth else None,
        round_trip=translator(translation, back),
    )


def _score(direction: str, examples: list[Example], colour: Tensor) -> list[Row]:
    truths = [example.truth for example in examples if example.truth is not None]
    inputs = [example.input for example in examples]
    translations = [example.translation for example in examples]
    return score_direction(direction, inputs, translations, truths, colour)


def _training_images(domain: Domain, config: DataConfig) -> list[Tensor]:
    return [load_image(ref, domain.format.channels, config) for ref in domain.train]


def _content(
    config: RunConfig, run: RunFolder, data: DataSet, evaluation: Evaluation
) -> ReportContent:
    history = run.history()
    done = history[-1]["step"] if history else 0
    names = ("satellite", "map") if config.data.path == "earth" else ("A", "B")
    return ReportContent(
        title=f"RevGAN: {run.root.name}",
        summary=(
            f"{config.objective.capitalize()} training on {config.data.path}, {done} steps; width "
            f"{config.generator.width}, depth {config.generator.depth}. Scores and pictures are of "
            f"{len(data.a.test)} test images of A and {len(data.b.test)} of B, none of which was "
            "seen in training."
        ),
        examples=evaluation.examples,
        rows=evaluation.rows,
        cycle_rows=evaluation.cycle_rows,
        history=history,
        memory=compare_memory(config, data),
        configuration=run.config.read_text(encoding="utf-8"),
        versions=library_versions(),
        domain_names=names,
    )


def compare_memory(config: RunConfig, data: DataSet) -> MemoryComparison | None:
    """Measures one training step of the configuration in both memory modes; None where it can't."""
    accelerator = make_accelerator(config.runtime)
    device = accelerator.device
    if device.type not in ("cpu", "cuda"):
        return None
    crop, batch_size = config.data.crop, config.training.batch_size
    images = [
        torch.rand(batch_size, domain.format.channels, crop, crop, device=device) * 2 - 1
        for domain in (data.a, data.b)
    ]
    batch = Batch(*images)

    def peak(memory: Memory) -> int:
        generator = replace(config.generator, memory=memory)
        trainer = build_trainer(replace(config, generator=generator), data, accelerator, total=2)
        trainer.step(batch, 0)  # brings the optimizers' states to life
        return measure_step(lambda: trainer.step(batch, 1), device).peak

    where = "the CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)
    return MemoryComparison(
        naive=peak("naive"),
        reversible=peak("reversible"),
        step=(
            f"One {config.objective} training step of this configuration, {batch_size} x {crop} x "
            f"{crop} pixels, measured on {where}: the peak above what is held between steps."
        ),
    )
