"""`revgan evaluate`: scores, translated test images or volumes, and the report of a run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rich.console import Console
from torch import Tensor

from revgan.data.domains import DataSet
from revgan.data.labels import FILE
from revgan.data.mappings import TypeRange
from revgan.directions import DIRECTIONS, Direction, DomainName, ends
from revgan.environment import library_versions
from revgan.errors import UserError
from revgan.evaluation.cases import Case, Kind, Side, make_case, room
from revgan.evaluation.label_scorers import ClassScorer
from revgan.evaluation.report import ClassTable, MemoryComparison, ReportContent, write_report
from revgan.evaluation.samples import Sample, Tested, TestSamples
from revgan.evaluation.scales import Scale, said_of_scores
from revgan.evaluation.scan_tables import RANKING, tables_of_scans
from revgan.evaluation.scans import ScanRow, joined, scans_to_csv, scans_to_json
from revgan.evaluation.scorers import Scorer
from revgan.evaluation.scoring import Scoring
from revgan.evaluation.step_memory import compare_memory
from revgan.evaluation.tables import Row, Tables, add_row, rows_to_json
from revgan.evaluation.tally import Tally
from revgan.evaluation.wanted import ModelChoice, ScoreOptions
from revgan.evaluation.windows import Window, windows_of
from revgan.files import write_text
from revgan.inference import Translator
from revgan.inference.planning import AUTO, WindowOptions
from revgan.scores.agreement import Agreement, AgreementTally
from revgan.training.best import Best
from revgan.training.config import RunConfig
from revgan.training.data import checked_data
from revgan.training.runs import RunFolder
from revgan.training.setup import make_accelerator

DOMAIN_NAMES = {
    "earth": ("satellite", "map"),
    "earth-small": ("satellite", "map"),
    "earth-map": ("satellite", "flat map"),
    "earth-labels": ("satellite", "land cover"),
    "earth-labels-small": ("satellite", "land cover"),
    "brain": ("T1", "grey matter"),
    "brain-super-resolution": ("half resolution", "full resolution"),
}
"""The names of A and B in the built-in sets."""

TITLES = {
    "test": "Distance to the truth",
    "test_inside_masks": "Distance to the truth, inside the masks",
    "synthetic_ct": "Synthetic CT, as SynthRAD2025 scores it",
    "tissues": "Synthetic CT by tissue, in HU",
    "structures": "Structures that a network finds in synthetic and real CT",
    "labels": "Label maps made from photos",
    "segmenter": "Photos made from label maps, as a segmenter sees them",
    "distribution": "Distance to the real images, as sets",
    "round_trip": "Round trips",
}
"""The titles of the score tables by their keys in scores.json, in order."""


@dataclass(frozen=True)
class Evaluation:
    """The results on the test images or volumes.

    Attributes:
        tables: the rows of all tables that have any, by the keys of `TITLES`.
        classes: each class's intersection over union, for "labels" and "segmenter".
        cases: the test scans as the report shows them, by direction.
        tested: the identities of the test images or volumes, by direction.
        items: "images" or "volumes".
        scans: the scores of single scans, by the keys of `TITLES`.
        tallies: what the tables are made from, with their keys.
        scales: of the domains with test scans.
        differences: from the truth, by direction, where it is known.
        windows: by direction and side, those in which the report can show scans.
        clipped: what PSNR and MS-SSIM of synthetic CT are clipped to, if it is scored.
    """

    tables: dict[str, list[Row]]
    classes: dict[str, ClassTable]
    cases: dict[str, list[Case]]
    tested: dict[str, list[Tested]]
    items: str
    scans: dict[str, list[ScanRow]]
    tallies: list[tuple[str, Tally]]
    scales: dict[DomainName, Scale]
    differences: dict[Direction, AgreementTally]
    windows: dict[str, dict[Side, list[Window]]]
    clipped: tuple[float, float] | None = None

    @property
    def said_of_scores(self) -> str:
        """A sentence or two on the scores' units and ranges."""
        return said_of_scores(self.scales, self.clipped)

    @cached_property
    def agreements(self) -> dict[Direction, Agreement]:
        """How translations agree with the truth, by direction; inside masks, if there are any."""
        found = {direction: tally.result() for direction, tally in self.differences.items()}
        return {direction: result for direction, result in found.items() if result is not None}

    def titled(self) -> Tables:
        """The tables by their titles."""
        return {title: self.tables[key] for key, title in TITLES.items() if key in self.tables}

    def to_json(self) -> str:
        """The scores as in scores.json, whose keys earlier programs know."""
        content: dict[str, Any] = {key: rows_to_json(rows) for key, rows in self.tables.items()}
        if self.classes:
            content["class_iou"] = self.classes
        return json.dumps(content, indent=2)

    def scans_to_json(self) -> str:
        """The scores of each scan and their scales, as in scans.json."""
        scales = {name.upper(): scale.to_dict() for name, scale in self.scales.items()}
        return json.dumps({"scales": scales, "scans": scans_to_json(self.scans)}, indent=2)

    def agreements_to_json(self) -> str:
        """How translations agree with the truth, as in agreement.json."""
        return json.dumps({way: found.to_dict() for way, found in self.agreements.items()})


def run_evaluation(
    config: RunConfig,
    run: RunFolder,
    console: Console,
    windows: WindowOptions = AUTO,
    wanted: ScoreOptions | None = None,
    model: ModelChoice = "last",
) -> Evaluation:
    """Translates the test set both ways; writes results/, scores and report.html.

    Args:
        config: of the run.
        run: its folder.
        console: for progress bars.
        windows: how to cut what is too large for one pass, if at all.
        wanted: what to score in addition to the defaults.
        model: the last one, or the best by validation score.

    Raises:
        UserError: the run has no model, or its data set lacks test images or what is wanted.
    """
    accelerator = make_accelerator(config.runtime)
    translator, data = open_trained(config, run, console, windows, model)
    scoring = Scoring(wanted or ScoreOptions(), data, config, accelerator.device, console)
    evaluation = evaluate(translator, data, run, console, scoring, config.model_name)
    write_scores(run, evaluation)
    memory = compare_memory(config, data, accelerator)
    content = _content(config, run, data, evaluation, memory)
    if model == "best":
        content = replace(content, summary=f"{content.summary} {_said_of_best(run)}")
    write_report(run.report, content)
    return evaluation


def write_scores(run: RunFolder, evaluation: Evaluation) -> None:
    """Writes all scores, those of each scan, and how translations agree with the truth."""
    write_text(run.scores, evaluation.to_json() + "\n")
    write_text(run.scan_scores(".json"), evaluation.scans_to_json() + "\n")
    write_text(run.scan_scores(".csv"), scans_to_csv(evaluation.scans))
    write_text(run.agreement, evaluation.agreements_to_json() + "\n")


def _said_of_best(run: RunFolder) -> str:
    best = Best.read(run.best)
    assert best is not None  # its model is being used
    chosen = (
        "on these test images, so its scores here are better than on others"
        if best.split == "test"
        else "on validation images"
    )
    return f"The model is the best by {best.by.upper()}, from step {best.step}, chosen {chosen}."


def open_trained(
    config: RunConfig,
    run: RunFolder,
    console: Console,
    windows: WindowOptions = AUTO,
    model: ModelChoice = "last",
) -> tuple[Translator, DataSet]:
    """A run's model, and its data set, which has test scans.

    Raises:
        UserError: the run has no such model, or its data set has no test scans or other channels
            than the model.
    """
    if model == "best" and run.step is not None:
        raise UserError(f"{run.trained} is a checkpoint; omit --model best, or give {run.root}")
    if model == "best" and Best.read(run.best) is None:
        raise UserError(
            f"{run.root} has no best model, as one is kept only if validation images are known to "
            "be pairs (data.aligned true) and training.validate_every is set; omit --model best"
        )
    folder = run.best if model == "best" else run.trained
    translator = Translator.from_pretrained(folder, make_accelerator(config.runtime).device)
    translator.windows = windows.decide(translator)
    data = checked_data(_read_once(config), console, run.model)
    if not data.a.test and not data.b.test:
        raise UserError(
            f"{config.data.path} has no test {data.kind.many}; add testA and testB (or test, side "
            "by side)"
        )
    known = translator.channels("AtoB")
    if known != data.channels:
        raise UserError(
            f"the model in {run.root} was trained on {known[0]} and {known[1]} channels, but A and "
            f"B in {config.data.path} have {data.channels[0]} and {data.channels[1]}; evaluate it "
            "on the data that it was trained on"
        )
    return translator, data


def _read_once(config: RunConfig) -> RunConfig:
    """The configuration without a cache in memory, which only pays off over several epochs."""
    if config.data.cache != "memory":
        return config
    return replace(config, data=replace(config.data, cache="none"))


def evaluate(
    translator: Translator,
    data: DataSet,
    run: RunFolder,
    console: Console,
    scoring: Scoring,
    method: str = "RevGAN",
) -> Evaluation:
    """Translates all test scans there and back, writes the results and scores them.

    One image or volume is in memory at a time, besides the report's pictures. Volumes are scored
    in their files' units, at the model's orientation and spacing.

    Raises:
        UserError: the model produces NaN or infinite values.
    """
    if data.palette is not None and not data.test_aligned:
        console.print(
            f"There is {FILE}, but labels aren't scored, as the test images of A and B don't pair "
            "by name and size",
            soft_wrap=True,
        )
    scorers = {way: scoring.scorers(way, method) for way in _directions(data)}
    cases: dict[str, list[Case]] = {}
    most = room(len(data.a.test) + len(data.b.test), len(data.a.shape(data.a.train[0])))
    tested: dict[str, list[Tested]] = {}
    for direction in scorers:
        test = TestSamples(direction, data, run)
        cases[direction], tested[direction] = [], test.tested
        for sample in test.translated(translator, console):
            for scorer in scorers[direction]:
                scorer.add(sample)
            cases[direction].append(_case(sample, test, most))
    both = [scorer for of_direction in scorers.values() for scorer in of_direction]
    return Evaluation(
        tables=_tables(both),
        scans=_scan_tables(both),
        tallies=[(scorer.table, scorer.tally) for scorer in both if scorer.tally is not None],
        scales=scoring.scales,
        differences=_differences(scorers),
        windows=_windows(data, scoring),
        classes={s.table: s.class_ious() for s in both if isinstance(s, ClassScorer)},
        cases=cases,
        tested=tested,
        items=data.kind.many,
        clipped=None if scoring.ct is None else scoring.limits,
    )


def _directions(data: DataSet) -> list[Direction]:
    return [way for way in DIRECTIONS if data.sides(way)[0].test]


def _tables(scorers: Sequence[Scorer]) -> dict[str, list[Row]]:
    tables: dict[str, list[Row]] = {key: [] for key in TITLES}
    for scorer in scorers:
        for row in scorer.rows():
            add_row(tables[scorer.table], row)
    # These two are always in scores.json, for programs that read it.
    return {key: rows for key, rows in tables.items() if rows or key in ("test", "round_trip")}


def _scan_tables(scorers: Sequence[Scorer]) -> dict[str, list[ScanRow]]:
    tables: dict[str, list[ScanRow]] = {}
    for scorer in scorers:
        tables.setdefault(scorer.table, []).extend(scorer.scan_rows())
    return {key: joined(tables[key]) for key in TITLES if tables.get(key)}


def _differences(scorers: Mapping[Direction, Sequence[Scorer]]) -> dict[Direction, AgreementTally]:
    """By direction, inside the masks if there are any, whose scorer comes last."""
    return {
        direction: scorer.agreement
        for direction, of_direction in scorers.items()
        for scorer in of_direction
        if scorer.agreement
    }


def _case(sample: Sample, test: TestSamples, most: int) -> Case:
    """What the report shows of a test scan."""
    scans: dict[Kind, Tensor] = {"input": sample.image, "translation": sample.translation}
    difference = None
    if sample.truth is not None:
        scans["truth"] = sample.truth
        assert sample.values is not None
        assert sample.values.truth is not None
        difference = sample.values.translation - sample.values.truth
    scans["round trip"] = sample.round_trip
    affine = test.source.affine(test.source.test[sample.number])
    values = _windowed_values(sample, test)
    return make_case(sample.name, scans, difference, affine, most, values)


def _windowed_values(sample: Sample, test: TestSamples) -> dict[Kind, Tensor]:
    """The scans in files' units, of domains that aren't shown by the full range of their type."""
    assert sample.values is not None
    image, translation, truth, round_trip = sample.values
    found: dict[Kind, Tensor] = {}
    if not isinstance(test.source.intensity, TypeRange):
        found |= {"input": image, "round trip": round_trip}
    if not isinstance(test.target.intensity, TypeRange):
        found["translation"] = translation
        if truth is not None:
            found["truth"] = truth
    return found


def _windows(data: DataSet, scoring: Scoring) -> dict[str, dict[Side, list[Window]]]:
    """By direction and side, those in which the report can show scans."""
    of = {
        name: windows_of(data.of(name), scale, ct=scoring.ct == name)
        for name, scale in scoring.scales.items()
    }
    found: dict[str, dict[Side, list[Window]]] = {}
    for direction in _directions(data):
        source, target = ends(direction)
        sides: dict[Side, list[Window]] = {"input": of.get(source, []), "truth": of.get(target, [])}
        found[direction] = {side: windows for side, windows in sides.items() if windows}
    return found


def _scan_scores(evaluation: Evaluation) -> dict[str, dict[str, Mapping[str, float]]]:
    """The model's scores of each test scan, inside the masks if there are any."""
    table = next((key for key in RANKING if evaluation.scans.get(key)), "")
    scores: dict[str, dict[str, Mapping[str, float]]] = {}
    for row in evaluation.scans.get(table, ()):
        if row.kind == "model":
            scores.setdefault(row.direction, {})[row.scan] = row.scores
    for direction, agreement in evaluation.agreements.items():
        for scan in agreement.scans:
            of_scan = scores.setdefault(direction, {})
            of_scan[scan.scan] = {**of_scan.get(scan.scan, {}), "bias": scan.difference}
    return scores


def _content(
    config: RunConfig,
    run: RunFolder,
    data: DataSet,
    evaluation: Evaluation,
    memory: MemoryComparison | None,
) -> ReportContent:
    history = run.history()
    done = run.step or (history[-1]["step"] if history else 0)
    return ReportContent(
        title=f"{config.model_name}: {run.name}",
        summary=(
            f"{config.objective.capitalize()} training on {config.data.path}, {done} steps; "
            f"{config.generator.size}. Scores and pictures are "
            f"from {len(data.a.test)} test {evaluation.items} of A and {len(data.b.test)} of B, "
            "which training did not use."
        ),
        cases=evaluation.cases,
        windows=evaluation.windows,
        scan_scores=_scan_scores(evaluation),
        ranked_by=config.training.best_by,
        said_of_scores=evaluation.said_of_scores,
        scan_tables=tables_of_scans(
            evaluation.scans, TITLES, evaluation.agreements, config.training.best_by
        ),
        scales=evaluation.scales,
        agreements=evaluation.agreements,
        tables=evaluation.tables,
        classes=evaluation.classes,
        items=evaluation.items,
        history=history,
        memory=memory,
        configuration=run.config.read_text(encoding="utf-8"),
        versions=library_versions(),
        domain_names=DOMAIN_NAMES.get(config.data.path, ("A", "B")),
    )
