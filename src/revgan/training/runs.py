"""The layout of a run's folder."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from revgan.errors import UserError
from revgan.files import write_text
from revgan.networks.pretrained import WEIGHTS
from revgan.training.config import RunConfig


@dataclass(frozen=True)
class RunFolder:
    """The paths in a run's folder."""

    root: Path

    @property
    def config(self) -> Path:
        """The run's configuration."""
        return self.root / "config.yaml"

    @property
    def model(self) -> Path:
        """The trained generator, to be copied, shared and loaded."""
        return self.root / "model"

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

    def history(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return list(self._lines())

    def forget_after(self, step: int) -> None:
        """Removes lines of metrics.jsonl after `step`, which a resumed run writes again."""
        kept = [json_line(line) for line in self._lines() if line["step"] <= step]
        write_text(self.metrics, "".join(kept))

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self.metrics.is_file():
            return
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:  # the last line of a killed run
                return


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
    if RunFolder(root).config.exists():
        raise UserError(
            f"{root} holds a run already; continue it with --resume {root}, or name another folder "
            "with --run"
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(
            f"{root} exists and isn't an empty folder; name a new or empty folder with --run"
        )
    for parent in root.parents:
        if parent.is_file():
            raise UserError(f"{parent} is a file; name a folder elsewhere with --run")
    return RunFolder(root)


def existing_run(root: Path) -> RunFolder:
    """The run in a folder.

    Raises:
        UserError: there is none.
    """
    folder = RunFolder(root)
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
