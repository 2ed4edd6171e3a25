"""Folders that `revgan prepare` makes or completes, from one source with one set of options."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, Protocol

from revgan.errors import UserError
from revgan.files import write_text

RECORD = "prepared.json"
"""The file in the target that records what it must hold, and how that is made."""

Role = Literal["train", "test"]
"""A sample's purpose."""


class Sample(Protocol):
    """Files that are written together, such as the two images of a pair."""

    def paths(self, target: Path) -> tuple[Path, ...]:
        """Its files in the folder `target`."""


def open_target(
    target: Path, record: Mapping[str, object], samples: Iterable[Sample], sources: str
) -> None:
    """Makes the folders for samples, or checks that existing ones are from the same call.

    Args:
        target: a folder that is new, empty or from an earlier call.
        record: what distinguishes this call from others, as JSON values.
        samples: what to write.
        sources: the word for the samples' sources in errors, such as "subjects".

    Raises:
        UserError: the target was made differently, or holds other things.
        OSError: it can't be read or written.
    """
    text = json.dumps(record, indent=2) + "\n"
    path = target / RECORD
    if path.is_file():
        if path.read_text(encoding="utf-8") != text:
            raise UserError(
                f"{target} was made from other {sources} or with other options, see {path}; name a "
                "new folder as target"
            )
    elif target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(
            f"{target} exists and isn't an empty folder; name a new or empty folder as target"
        )
    target.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    for folder in {path.parent for sample in samples for path in sample.paths(target)}:
        folder.mkdir(exist_ok=True)


def is_complete(sample: Sample, target: Path) -> bool:
    """Whether an earlier call has written all of a sample."""
    return all(path.is_file() for path in sample.paths(target))
