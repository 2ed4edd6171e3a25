"""What benchmarks have in common: where they run, and results that only like ones may join."""

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch

from revgan.environment import cpu_model
from revgan.errors import UserError
from revgan.files import write_text
from revgan.training.config import RuntimeConfig

Row = TypeVar("Row")


@dataclass(frozen=True)
class Conditions:
    """What all rows in one folder have in common, so that they can be compared.

    Attributes:
        machine: device, cores, threads and platform.
        versions: of Python and the libraries that matter.
        settings: options of the command, precision among them.
    """

    machine: dict[str, str | int]
    versions: dict[str, str]
    settings: dict[str, str | int]

    def to_dict(self) -> dict[str, Any]:
        """As in a results file."""
        return {"machine": self.machine, "versions": self.versions, **self.settings}


def current_conditions(
    runtime: RuntimeConfig, packages: Sequence[str] = (), **settings: str | int
) -> Conditions:
    """Those of a measurement here and now.

    Args:
        runtime: device and precision.
        packages: those that matter beside our own and PyTorch's.
        **settings: options that rows have in common.
    """
    cuda = runtime.device == "cuda"
    libraries = ("torch", "monai", "accelerate", "revgan", *packages)
    return Conditions(
        machine={
            "device": torch.cuda.get_device_name() if cuda else cpu_model(),
            "cores": os.cpu_count() or 1,
            "threads": torch.get_num_threads(),
            "platform": f"{platform.system()} {platform.machine()}",
        },
        versions={"python": platform.python_version()}
        | {name: version(name) for name in libraries},
        settings={"precision": runtime.precision, **settings},
    )


def read_results(
    path: Path, conditions: Conditions, to_row: Callable[[dict[str, Any]], Row], command: str
) -> list[Row]:
    """The rows of a results file; none if there is no such file.

    Args:
        path: the file.
        conditions: those of rows to come.
        to_row: makes a row from its entry in the file.
        command: what writes such files.

    Raises:
        UserError: the file holds results under other conditions, or something else.
    """
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = [to_row(entry) for entry in content["rows"]]
        found = {**content["machine"], **content["versions"]}
        found |= {name: content[name] for name in conditions.settings}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} holds no results of {command}; name another folder with --output"
        ) from error
    expected = {**conditions.machine, **conditions.versions, **conditions.settings}
    for name, value in expected.items():
        # A package that is new here has no rows there.
        if found.get(name, value) != value:
            raise UserError(
                f"{path} was measured with {name} {found[name]}, not {value}; name another folder "
                "with --output"
            )
    return rows


def write_results(
    path: Path, conditions: Conditions, last_command: str, entries: Sequence[dict[str, Any]]
) -> None:
    """Writes what `read_results` reads."""
    content = {"last_command": last_command, **conditions.to_dict(), "rows": entries}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=2) + "\n")


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: set[str]) -> str:
    """A table in Markdown.

    Args:
        headings: of the columns.
        rows: cells.
        left: headings of columns that are aligned to the left; others are to the right.
    """
    alignment = ["---" if heading in left else "---:" for heading in headings]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, alignment, *rows))
