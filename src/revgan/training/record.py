"""What a run was trained on: the files, and digests of what they hold."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console

from revgan.data import contents
from revgan.data.sets import DataSet
from revgan.directions import DOMAINS
from revgan.errors import UserError, notice, visible
from revgan.files import write_text
from revgan.progress import track

NAMED = 5
"""How many files are named of those with one kind of change."""


@dataclass(frozen=True)
class DataRecord:
    """The files of a run's data.

    Attributes:
        files: size in bytes and SHA-256 of each, by split and domain ("train A") and by path within
            their folder.
    """

    files: Mapping[str, Mapping[str, tuple[int, str]]]

    @classmethod
    def of(cls, data: DataSet, console: Console) -> Self:
        """That of a data set, which is read for it unless its digests are known.

        Args:
            data: the data set.
            console: for a progress bar.

        Raises:
            UserError: a file can't be read.
        """
        paths: dict[str, dict[str, Path]] = {}
        for split in ("train", "test", "val"):
            for domain in DOMAINS:
                refs = getattr(data.of(domain), split)
                paths[f"{split} {domain.upper()}"] = {
                    os.path.relpath(file, ref.folder): file for ref in refs for file in ref.files
                }
        every = sorted({path for of_part in paths.values() for path in of_part.values()})
        found = {}
        for path in track(every, "noting what the files hold", console):
            found[path] = (path.stat().st_size, contents.digest(path))
        contents.keep()
        return cls(
            {
                part: {name: found[path] for name, path in of_part.items()}
                for part, of_part in paths.items()
            }
        )

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What `write` wrote; None without it, as in older runs, or if it is damaged."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                {
                    str(part): {
                        str(name): (int(size), str(found)) for name, (size, found) in files.items()
                    }
                    for part, files in content.items()
                }
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            notice(f"{path} is damaged, so nothing tells whether the run's data have changed")
            return None

    def write(self, path: Path) -> None:
        """Writes it as JSON.

        Raises:
            OSError: the disk is full or not writable.
        """
        write_text(path, json.dumps(self.files, indent=0) + "\n")

    def require_same(self, now: "DataRecord", run: Path) -> None:
        """Refuses to continue a run on other data.

        Args:
            now: the data that are there now.
            run: the run's folder.

        Raises:
            UserError: they differ; the message says in what.
        """
        before, after = self._flat(), now._flat()
        kinds = {
            "changed": [name for name in before if name in after and before[name] != after[name]],
            "missing": [name for name in before if name not in after],
            "new": [name for name in after if name not in before],
        }
        told = [_listed(names, kind) for kind, names in kinds.items() if names]
        if told:
            raise UserError(
                f"the data of the run {run} aren't those that it began with: {'; '.join(told)}; "
                "restore them, or add --accept-new-data to continue with them as they are"
            )

    def _flat(self) -> dict[str, tuple[int, str]]:
        return {
            f"{name} of {part}": content
            for part, files in self.files.items()
            for name, content in files.items()
        }


def _listed(names: Sequence[str], kind: str) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    are = "is" if len(names) == 1 else "are"
    return f"{', '.join(map(visible, names[:NAMED]))}{more} {are} {kind}"
