"""What is in a folder of runs."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from revgan.directions import DIRECTIONS, Direction
from revgan.errors import UserError
from revgan.memory import format_bytes
from revgan.plain_yaml import read_yaml
from revgan.training.runs import RunFolder

SHOWN = {"psnr": "{:.2f} dB", "pixel_accuracy": "accuracy {:.3f}", "mae": "MAE {:.3g}"}
"""Scores to show of a direction, by their keys: the first that there is."""


@dataclass(frozen=True)
class ListedRun:
    """A run, in short.

    Attributes:
        name: of its folder.
        kind: its objective and generator.
        steps: how many are done, and of how many.
        scores: of each direction.
        size: bytes on the disk.
        changed: when it last wrote something, in seconds since 1970.
    """

    name: str
    kind: str
    steps: str
    scores: Mapping[Direction, str]
    size: int
    changed: float


def listed(folder: Path) -> list[ListedRun]:
    """The runs in a folder, the latest first.

    Raises:
        UserError: there are none.
    """
    runs = [RunFolder(path.parent) for path in folder.glob("*/config.yaml") if path.is_file()]
    runs = [run for run in runs if run.model.is_dir() or run.metrics.exists()]
    if not runs:
        raise UserError(f"{folder} has no runs; name the folder that revgan train --run was in")
    return sorted(map(_listed, runs), key=lambda run: run.changed, reverse=True)


def table(runs: list[ListedRun]) -> Table:
    """Runs as a table for the terminal."""
    shown = Table(box=None, pad_edge=False)
    for title in ("run", "trains", "steps", *DIRECTIONS):
        shown.add_column(title)
    shown.add_column("size", justify="right")
    shown.add_column("changed")
    for run in runs:
        date = datetime.fromtimestamp(run.changed).strftime("%Y-%m-%d %H:%M")
        scores = (run.scores.get(direction, "") for direction in DIRECTIONS)
        shown.add_row(run.name, run.kind, run.steps, *scores, format_bytes(run.size), date)
    return shown


def _listed(run: RunFolder) -> ListedRun:
    files = [path.stat() for path in run.root.rglob("*") if path.is_file()]
    history = run.history()
    config: dict[str, Any] = {}
    with suppress(ValueError, OSError):
        content = read_yaml(run.config)
        config = content if isinstance(content, dict) else {}
    sections = {name: value for name, value in config.items() if isinstance(value, dict)}
    generator, training = sections.get("generator", {}), sections.get("training", {})
    done, planned = (history[-1]["step"] if history else 0), training.get("steps")
    names = ("width",) if generator.get("model") == "unet" else ("width", "depth")
    shape = (str(generator[name]) for name in names if name in generator)
    return ListedRun(
        run.root.name,
        f"{config.get('objective', 'unpaired')} {generator.get('model', 'revgan')} "
        f"{' x '.join(shape)}".strip(),
        f"{done}" if planned is None else f"{done} of {planned}",
        _scores(run, history),
        sum(file.st_size for file in files),
        max(file.st_mtime for file in files),
    )


def _scores(run: RunFolder, history: list[dict[str, Any]]) -> dict[Direction, str]:
    """Those of `revgan evaluate`, else the last ones of training."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        rows = json.loads(run.scores.read_text(encoding="utf-8"))["test"]
        scores: dict[Direction, str] = {}
        for row in rows:
            for direction in DIRECTIONS:
                if row["direction"].startswith(direction):  # the run's own model comes first
                    trip = "" if row["direction"] == direction else ", there and back"
                    scores.setdefault(direction, f"{_shown(row)}{trip}")
        return scores
    for line in reversed(history):
        found = {
            direction: f"{line[f'psnr_{direction}']:.2f} dB in training"
            for direction in DIRECTIONS
            if isinstance(line.get(f"psnr_{direction}"), float)
        }
        if found:
            return found
    return {}


def _shown(row: Mapping[str, Any]) -> str:
    return next((form.format(row[key]) for key, form in SHOWN.items() if key in row), "")
