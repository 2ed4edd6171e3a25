"""Several trainings of one model, as one: with different seeds, or on the folds of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from revgan.errors import UserError, notice
from revgan.evaluation.runs import Evaluation
from revgan.evaluation.scales import Scale
from revgan.evaluation.tables import Row, add_row
from revgan.evaluation.tally import Tally
from revgan.scores.agreement import AgreementTally
from revgan.scores.intervals import over_seeds


def join(evaluations: Mapping[str, Evaluation], stream: int) -> tuple[Evaluation, str]:
    """Joins the evaluations of a model's trainings.

    Trainings that were tested on the same images count as such with different seeds: scores become
    their means. Trainings that were tested on different subjects count as folds: scores are over
    all test images together, each by the model that was not trained on its subject.

    Args:
        evaluations: by the names of the runs, at least one.
        stream: unlike that of any other model that this one is compared with, see `over_seeds`.

    Returns:
        The joint evaluation, without scans to show, and a sentence on what it is. Trainings with
        different seeds have no joint agreement with the truth.

    Raises:
        UserError: the tests share some of their subjects or images, but not all.
    """
    runs = list(evaluations.values())
    first = runs[0]
    if len(runs) == 1:
        return first, ""
    if all(run.tested == first.tested for run in runs):
        every = {key: [run.tables[key] for run in runs] for key in first.tables}
        tables = {key: _over_seeds(rows, stream) for key, rows in every.items()}
        said = (
            f"means over {len(runs)} trainings; intervals cover the choice of test {first.items} "
            "and of seeds"
        )
        return replace(first, tables=tables, classes={}, cases={}, differences={}), said
    _require_folds(evaluations)
    # In one order, whatever that of the runs, as comparisons are image by image.
    runs.sort(key=lambda run: sorted(run.tested.items()))
    said = f"{len(runs)} folds: each scan is scored by the model that has not seen its subject"
    return _of_folds(runs), said


def _over_seeds(tables: Sequence[Sequence[Row]], stream: int) -> list[Row]:
    found: dict[tuple[str, str], list[Row]] = {}
    for rows in tables:
        for row in rows:
            found.setdefault((row.direction, row.method), []).append(row)
    return [
        replace(
            rows[0],
            scores={
                key: over_seeds([row.scores[key] for row in rows if key in row.scores], stream)
                for key in rows[0].scores
            },
        )
        for rows in found.values()
    ]


def _of_folds(runs: Sequence[Evaluation]) -> Evaluation:
    """All folds as one test. Distances between sets, which belong to a set, are their means."""
    first = runs[0]
    tables: dict[str, list[Row]] = {}
    for together in zip(*(run.tallies for run in runs), strict=True):
        for row in Tally.joined([tally for _, tally in together]).rows():
            add_row(tables.setdefault(together[0][0], []), row)
    others = {key: [run.tables[key] for run in runs] for key in first.tables if key not in tables}
    return replace(
        first,
        tables={key: tables.get(key, _over_seeds(others.get(key, []), 0)) for key in first.tables},
        classes={},
        cases={},
        scales={name: _joint_scale([run.scales[name] for run in runs]) for name in first.scales},
        differences={
            way: AgreementTally.joined([run.differences[way] for run in runs])
            for way in first.differences
            if all(way in run.differences for run in runs)
        },
        tested={way: [one for run in runs for one in run.tested[way]] for way in first.tested},
        scans={key: [row for run in runs for row in run.scans[key]] for key in first.scans},
    )


def _joint_scale(scales: Sequence[Scale]) -> Scale:
    """The scale of all folds together; without a range of the run, of which there are several."""
    first = scales[0]
    joint = replace(
        first,
        lowest=min(scale.lowest for scale in scales),
        highest=max(scale.highest for scale in scales),
        run_range=None,
        beyond=0.0,
        excess=0.0,
    )
    if len({scale.limits for scale in scales}) == 1:
        return joint
    notice(
        "each fold's PSNR and SSIM are over the range of its own test set; for numbers to put "
        "beside others, give one range with --data-range LOW HIGH"
    )
    low, high = min(scale.low for scale in scales), max(scale.high for scale in scales)
    return replace(joint, low=low, high=high, chosen="all folds, each over that of its own test")


def _require_folds(evaluations: Mapping[str, Evaluation]) -> None:
    """Refuses runs that share subjects or files in their tests.

    Raises:
        UserError: names two of them, and what they share.
    """
    owners: dict[str, str] = {}
    for name, run in evaluations.items():
        known = {one.digest: one.name for tested in run.tested.values() for one in tested}
        for _, tally in run.tallies:
            for subjects in tally.subjects.values():
                known |= {subject: subject for subject in subjects if subject}
        for key, said in known.items():
            if key in owners:
                raise UserError(
                    f"{owners[key]} and {name} were both tested on {said}, but not on all the same "
                    "scans, so they are neither folds of a data set nor trainings with different "
                    "seeds; give them different names"
                )
        owners |= dict.fromkeys(known, name)
