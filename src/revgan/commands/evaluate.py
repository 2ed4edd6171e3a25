"""`revgan evaluate`: scores, translated test images or volumes, and the report of a run."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from rich.console import Console
from rich.progress import track
from torch import Tensor

from revgan.commands.results import Results, open_results
from revgan.commands.scoring import Scoring, means
from revgan.commands.step_memory import compare_memory
from revgan.commands.train import checked_data
from revgan.commands.windowing import AUTO, WindowOptions
from revgan.data.domains import DataSet, Domain
from revgan.errors import UserError
from revgan.evaluation.metrics import Row, rows_to_json, score_pairs
from revgan.evaluation.report import (
    Example,
    MemoryComparison,
    ReportContent,
    library_versions,
    write_report,
)
from revgan.files import write_text
from revgan.inference import Translator
from revgan.networks import Direction
from revgan.training.config import RunConfig
from revgan.training.pictures import spread
from revgan.training.runs import RunFolder
from revgan.training.setup import make_accelerator

DOMAIN_NAMES = {
    "earth": ("satellite", "map"),
    "earth-labels": ("satellite", "land cover"),
    "brain": ("T1", "grey matter"),
    "brain-super-resolution": ("half resolution", "full resolution"),
}
"""What A and B of the built-in sets are called."""


@dataclass(frozen=True)
class Evaluation:
    """What came of the test images or volumes.

    Attributes:
        rows: scores against the truth, with reference rows; empty where none is known.
        mask_rows: likewise, inside the volumes' masks alone; empty without masks.
        cycle_rows: scores of the round trip against the input.
        examples: what the report shows, by direction.
    """

    rows: list[Row]
    mask_rows: list[Row]
    cycle_rows: list[Row]
    examples: dict[str, list[Any]]

    def to_json(self) -> str:
        """Scores as they stand in scores.json."""
        content = {
            "test": rows_to_json(self.rows),
            "test_inside_masks": rows_to_json(self.mask_rows),
            "round_trip": rows_to_json(self.cycle_rows),
        }
        return json.dumps(content, indent=2)


def run_evaluation(
    config: RunConfig,
    run: RunFolder,
    console: Console,
    windows: WindowOptions = AUTO,
) -> Evaluation:
    """Translates the test images or volumes both ways; writes results/, scores.json, report.html.

    Args:
        config: of the run.
        run: its folder.
        console: for progress bars.
        windows: whether and how what is too large for one pass is cut.

    Raises:
        UserError: the run has no model, or its data set nothing for the test.
    """
    accelerator = make_accelerator(config.runtime)
    translator = Translator.from_pretrained(run.root, accelerator.device)
    translator.windows = windows.decide(translator)
    data = checked_data(_read_once(config), console, run.model)
    if not data.a.test and not data.b.test:
        sides = "" if config.data.spatial_dims == 3 else " (or test, side by side)"
        raise UserError(
            f"{config.data.path} has no test {_kind(config)}; add testA and testB{sides}"
        )
    evaluation = evaluate(translator, data, run, console, config.model_name)
    write_text(run.scores, evaluation.to_json() + "\n")
    memory = compare_memory(config, data, accelerator)
    write_report(run.report, _content(config, run, data, evaluation, memory))
    return evaluation


def _read_once(config: RunConfig) -> RunConfig:
    """The configuration without a cache in memory, which pays where epoch follows epoch."""
    if config.data.cache != "memory":
        return config
    return replace(config, data=replace(config.data, cache="none"))


def evaluate(
    translator: Translator,
    data: DataSet,
    run: RunFolder,
    console: Console,
    method: str = "RevGAN",
) -> Evaluation:
    """Translates all that is for the test there and back, writes the results and scores them.

    One image or volume is in memory at a time, besides the report's examples: of volumes, these
    are slices. Volumes are scored as the networks see them, at the model's orientation and spacing.
    """
    evaluation = Evaluation([], [], [], {})
    for direction in get_args(Direction):
        source, target = (data.a, data.b) if direction == "AtoB" else (data.b, data.a)
        if source.test:
            results = open_results(run.root / "results" / direction, source, target)
            scoring = Scoring(direction, data, method) if data.test_aligned else None
            test = _Test(direction, source, target, results, scoring)
            round_trips = score_pairs(test.round_trips(translator, console))
            evaluation.cycle_rows.append(Row(f"{direction}to{direction[0]}", method, round_trips))
            evaluation.examples[direction] = test.examples
            if scoring is not None:
                evaluation.rows.extend(means(scoring.rows))
                evaluation.mask_rows.extend(means(scoring.mask_rows))
    return evaluation


@dataclass(frozen=True)
class _Test:
    """The test of one direction: images or volumes in, files out, some kept for the report."""

    direction: Direction
    source: Domain[Any]
    target: Domain[Any]
    results: Results
    scoring: Scoring | None
    examples: list[Any] = field(default_factory=list)

    def round_trips(
        self, translator: Translator, console: Console
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Translates, writes and scores each; yields what comes back of it, and what it was."""
        back: Direction = "BtoA" if self.direction == "AtoB" else "AtoB"
        count = len(self.source.test)
        shown = spread(range(count), self.results.examples)
        for number in track(
            range(count),
            f"translating {self.direction}",
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ):
            image = self.source.load(self.source.test[number])
            translation = translator(image, self.direction)
            round_trip = translator(translation, back)
            written = self.results.write(number, translation)
            truth = None
            if self.scoring is not None:
                truth = self.target.load(self.target.test[number])
                self.scoring.score(number, image, written, truth)
            if number in shown:
                example = Example(image, translation, truth, round_trip)
                self.examples.append(self.results.shown(number, example))
            yield round_trip, image


def _content(
    config: RunConfig,
    run: RunFolder,
    data: DataSet,
    evaluation: Evaluation,
    memory: MemoryComparison | None,
) -> ReportContent:
    history = run.history()
    done = history[-1]["step"] if history else 0
    return ReportContent(
        title=f"{config.model_name}: {run.root.name}",
        summary=(
            f"{config.objective.capitalize()} training on {config.data.path}, {done} steps; width "
            f"{config.generator.width}, depth {config.generator.depth}. Scores and pictures are of "
            f"{len(data.a.test)} test {_kind(config)} of A and {len(data.b.test)} of B, which "
            "training did not use."
        ),
        examples=evaluation.examples,
        rows=evaluation.rows,
        mask_rows=evaluation.mask_rows,
        cycle_rows=evaluation.cycle_rows,
        history=history,
        memory=memory,
        configuration=run.config.read_text(encoding="utf-8"),
        versions=library_versions(),
        domain_names=DOMAIN_NAMES.get(config.data.path, ("A", "B")),
    )


def _kind(config: RunConfig) -> str:
    return "images" if config.data.spatial_dims == 2 else "volumes"
