"""The layout of a run's folder."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from revgan.errors import UserError, notice, visible
from revgan.files import is_there, write_text
from revgan.networks.places import STATE
from revgan.networks.pretrained import WEIGHTS
from revgan.text import shell_word
from revgan.training.config import RunConfig
from revgan.training.lock import LOCK


@dataclass(frozen=True)
class RunFolder:
    """The paths in a run's folder.

    Attributes:
        root: the folder.
        step: the checkpoint whose weights are meant, if not those of the last step or the best.
    """

    root: Path
    step: int | None = None

    @property
    def name(self) -> str:
        """The folder's name, and the checkpoint that is meant."""
        name = self.root.resolve().name
        return name if self.step is None else f"{name} step-{self.step}"

    @property
    def trained(self) -> Path:
        """The model that is meant, for `Translator.from_pretrained`."""
        return self.root if self.step is None else self.checkpoints / f"step-{self.step}"

    @property
    def config(self) -> Path:
        """The run's configuration."""
        return self.root / "config.yaml"

    @property
    def model(self) -> Path:
        """The trained generator, to be copied, shared and loaded."""
        return self.root / "model"

    @property
    def data(self) -> Path:
        """The files that it is trained on, with digests of what they hold."""
        return self.root / "data.json"

    @property
    def best(self) -> Path:
        """The generator with the best validation scores; only if the truth is known."""
        return self.root / "best"

    @property
    def checkpoints(self) -> Path:
        """Everything needed to resume; one folder per kept step."""
        return self.root / "checkpoints"

    @property
    def samples(self) -> Path:
        """Pictures of test images translated during training."""
        return self.root / "samples"

    @property
    def metrics(self) -> Path:
        """Losses, speed and validation scores, one JSON object per line."""
        return self.root / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.root / "tensorboard"

    @property
    def trackers(self) -> Path:
        """The run's ids in W&B and MLflow, for resuming it."""
        return self.root / "trackers.json"

    @property
    def report(self) -> Path:
        """The page with pictures, curves and scores."""
        return self.root / "report.html"

    @property
    def scores(self) -> Path:
        """The scores of `revgan evaluate`."""
        return self.root / "scores.json"

    def scan_scores(self, suffix: str) -> Path:
        """The scores of each test scan, as .json or as .csv."""
        return self.root / f"scans{suffix}"

    @property
    def agreement(self) -> Path:
        """How the translations of test scans agree with the truth."""
        return self.root / "agreement.json"

    def require_none(self) -> None:
        """Refuses a folder for a new run that holds one.

        Raises:
            UserError: names it.
        """
        if self.config.exists():
            raise UserError(
                f"{self.root} holds a run already; continue it with --resume "
                f"{shell_word(self.root)}, or name another folder with --run"
            )

    def clear(self) -> None:
        """Removes all that is in the folder, but the lock of the process that trains in it."""
        for path in self.root.iterdir() if self.root.is_dir() else ():
            if path.name == LOCK:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def history(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return self._lines()

    def sweep(self) -> None:
        """Removes what a killed process left half-written; only who trains in the folder may."""
        for folder in (self.root, self.model, self.best, self.samples):
            for unfinished in folder.glob(".*.part*"):
                unfinished.unlink(missing_ok=True)

    def forget_after(self, step: int, written: int | None = None) -> int:
        """Removes lines of metrics.jsonl after `step`, which a resumed run writes again.

        Args:
            step: steps done.
            written: how many lines there should be until then, if that is known. Lines may be lost
                without a trace, as where a power cut has torn the file between two of them.

        Returns:
            How many lines are left.
        """
        kept = [line for line in self._lines() if line["step"] <= step]
        write_text(self.metrics, "".join(map(json_line, kept)))
        if written is not None and len(kept) < written:
            ends = f"; the last is of step {kept[-1]['step']}" if kept else ""
            notice(
                f"{self.metrics} has {len(kept)} of the {written} lines that were written until "
                f"step {step}{ends}; training goes on, and its curves lack the others"
            )
        return len(kept)

    def _lines(self) -> list[dict[str, Any]]:
        if not is_there(self.metrics):
            return []
        lines = self.metrics.read_text(encoding="utf-8", errors="replace").splitlines()
        read = [_values_of(line) for line in lines]
        # The last is torn where a run was killed.
        damaged = [number for number, values in enumerate(read[:-1], start=1) if values is None]
        if len(damaged) == 1:
            notice(f"line {damaged[0]} of {self.metrics} is damaged, and left out")
        elif damaged:
            notice(
                f"{len(damaged)} lines of {self.metrics}, the first of them line {damaged[0]}, are "
                "damaged, and left out"
            )
        return [values for values in read if values is not None]


def _values_of(line: str) -> dict[str, Any] | None:
    """What a line of metrics.jsonl says; None if it is damaged."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or type(values.get("step")) is not int:
        return None
    known = all(value is None or type(value) in (int, float) for value in values.values())
    return values if known else None


def json_line(values: Mapping[str, Any]) -> str:
    """A line of metrics.jsonl; NaN and infinity, which JSON lacks, become null."""
    known = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
    return json.dumps(known, allow_nan=False) + "\n"


def new_run(config: RunConfig, root: Path | None) -> RunFolder:
    """The folder of a new run, by default named after data and objective.

    Raises:
        UserError: the folder holds a run or something else already.
    """
    root = root or Path("runs") / f"{Path(config.data.path).name}-{config.objective}"
    RunFolder(root).require_none()
    if root.exists() and (not root.is_dir() or any(p.name != LOCK for p in root.iterdir())):
        raise UserError(
            f"{root} exists and isn't an empty folder; name a new or empty folder with --run"
        )
    _require_utf8(root)
    for parent in root.parents:
        if parent.is_file():
            raise UserError(f"{parent} is a file; name a folder elsewhere with --run")
    return RunFolder(root)


def _require_utf8(root: Path) -> None:
    """Refuses names that TensorBoard can't write to."""
    if any("\ud800" <= char <= "\udfff" for char in str(root)):
        raise UserError(f"the name {visible(root)} isn't UTF-8; name the run's folder otherwise")


def fold_folder(root: Path, fold: int) -> Path:
    """The run of a fold, from 1, in the folder of a cross-validation."""
    return root / f"fold-{fold}"


def runs_in(root: Path) -> list[RunFolder]:
    """The run in a folder, or the runs of the folds that are in it.

    Raises:
        UserError: there is none.
    """
    numbers = [path.name.removeprefix("fold-") for path in root.glob("fold-*")]
    if RunFolder(root).config.is_file() or not any(map(str.isdecimal, numbers)):
        return [existing_run(root)]
    folds = sorted(int(number) for number in numbers if number.isdecimal())
    return [existing_run(fold_folder(root, fold)) for fold in folds]


def folder_of_folds(runs: Sequence[RunFolder]) -> RunFolder | None:
    """The folder of a cross-validation, if these are the runs of all its folds."""
    root = runs[0].root.parent
    if len(runs) < 2 or any(run.root.parent != root or run.step is not None for run in runs):
        return None
    found = {run.root for run in runs_in(root)} if root.is_dir() else set()
    return RunFolder(root) if found == {run.root for run in runs} else None


def existing_run(root: Path) -> RunFolder:
    """The run in a folder, or the one whose checkpoint is there.

    Raises:
        UserError: there is none.
    """
    _require_utf8(root)
    folder = RunFolder(root)
    step = root.name.removeprefix("step-")
    if step.isdecimal() and (root / STATE).is_file():
        return replace(existing_run(root.absolute().parent.parent), step=int(step))
    if (root / WEIGHTS).is_file():
        raise UserError(
            f"{root} is a model folder, not a run folder; give the run folder that it was made in, "
            "which has the configuration and checkpoints"
        )
    if not folder.config.is_file():
        what = "has no config.yaml" if root.is_dir() else "does not exist"
        raise UserError(
            f"{root} is not a run folder: it {what}; give a folder that revgan train or demo made"
        )
    return folder
