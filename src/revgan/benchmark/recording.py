"""A folder of measurements: under which conditions they were made, and files that go on growing."""

import json
import os
import platform
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from revgan.environment import cpu_model, versions_of
from revgan.errors import UserError
from revgan.files import write_text
from revgan.training import RuntimeConfig

Measured = TypeVar("Measured")
"""What one row of a folder's results holds."""


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
        versions={"python": platform.python_version(), **versions_of(*libraries)},
        settings={"precision": runtime.precision, **settings},
    )


class Recording(ABC, Generic[Measured]):
    """What is in a folder: `results.json` to go on from, and `table.md` to read.

    Args:
        folder: where the files are, or will be.
        conditions: those of rows to come.
        command: the command line as it was typed.

    Raises:
        UserError: the folder holds results under other conditions, or something else of that name.
    """

    maker: str
    """The command that writes such folders."""

    def __init__(self, folder: Path, conditions: Conditions, command: str) -> None:
        self.folder = folder
        self.conditions = conditions
        self.command = command
        self._path = folder / "results.json"
        self.rows = self._read() if self._path.exists() else []

    @abstractmethod
    def _entry(self, row: Measured) -> dict[str, Any]:
        """A row as it stands in the file."""

    @abstractmethod
    def _row(self, entry: dict[str, Any]) -> Measured:
        """The row of an entry.

        Raises:
            ValueError, KeyError, TypeError: it isn't such an entry.
        """

    @abstractmethod
    def _markdown(self) -> str:
        """What table.md says."""

    def _read(self) -> list[Measured]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            rows = [self._row(entry) for entry in content["rows"]]
            found = {**content["machine"], **content["versions"]}
            found |= {name: content[name] for name in self.conditions.settings}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self._path} holds no results of {self.maker}; name another folder with --output"
            ) from error
        here = self.conditions
        for name, value in {**here.machine, **here.versions, **here.settings}.items():
            # A package that is new here has no rows there.
            if found.get(name, value) != value:
                raise UserError(
                    f"{self._path} was measured with {name} {found[name]}, not {value}; name "
                    "another folder with --output"
                )
        return rows

    def _write(self) -> None:
        content = {
            "last_command": self.command,
            "machine": self.conditions.machine,
            "versions": self.conditions.versions,
            **self.conditions.settings,
            "rows": [self._entry(row) for row in self.rows],
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self._path, json.dumps(content, indent=2) + "\n")
        write_text(self.folder / "table.md", self._markdown())


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: set[str]) -> str:
    """A table in Markdown.

    Args:
        headings: of the columns.
        rows: cells.
        left: headings of columns that are aligned to the left; others are to the right.
    """
    alignment = ["---" if heading in left else "---:" for heading in headings]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, alignment, *rows))
