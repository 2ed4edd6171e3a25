"""Which of many files one of several processes takes."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from revgan.environment import counted
from revgan.errors import UsageError, UserError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Share:
    """One of several equal parts; by default all.

    Attributes:
        number: which, from 1.
        count: of how many.
    """

    number: int = 1
    count: int = 1

    def of(self, items: Sequence[Item]) -> list[Item]:
        """Every `count`-th item: neighbours, which are often alike, go to different parts."""
        return list(items[self.number - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


ALL = Share()


def share(wish: str | None, environment: Mapping[str, str] = os.environ) -> Share:
    """What `--part` says.

    Args:
        wish: such as "3/64"; "auto" for what the environment says of this process; None for all.
        environment: of Slurm's array jobs and of torchrun; a job array of torchruns works too.

    Raises:
        UsageError: it is none of these.
        UserError: "auto", and the environment doesn't say.
    """
    if wish is None:
        return ALL
    if wish == "auto":
        found = [each for each in (_slurm(environment), _torchrun(environment)) if each]
        if not found:
            raise UserError(
                "--part auto needs the variables SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT, "
                "which sbatch --array sets, or torchrun's RANK and WORLD_SIZE; say which part this "
                "is, such as --part 3/64"
            )
        number, count = 0, 1
        for each in found:
            number, count = number * each.count + each.number - 1, count * each.count
        return Share(number + 1, count)
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", wish, re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--part must be auto or, such as 3/64, a number and how many, not {wish}")
    return Share(int(match[1]), int(match[2]))


def _slurm(environment: Mapping[str, str]) -> Share | None:
    """The place of a task among those of its array, whose numbers may begin and step anyhow."""
    names = [f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "COUNT", "MIN", "MAX", "STEP")]
    if not all(environment.get(name) for name in names[:2]):
        return None
    count = counted(names[1], 1, 1, environment)
    defaults = {names[0]: 0, names[2]: 0, names[3]: count - 1}
    task, least, most = (counted(name, defaults[name], 0, environment) for name in defaults)
    step = counted(names[4], 1, 1, environment)
    place, beyond = divmod(task - least, step)
    if beyond or (most - least) // step + 1 != count or not 0 <= place < count:
        raise UserError(
            f"--part auto can't tell the place of task {task} among the {count} of its array, "
            "whose numbers have gaps; give sbatch an array such as 0-63, or say --part 3/64"
        )
    return Share(place + 1, count)


def _torchrun(environment: Mapping[str, str]) -> Share | None:
    if not (environment.get("RANK") and environment.get("WORLD_SIZE")):
        return None
    place, count = counted("RANK", 0, 0, environment), counted("WORLD_SIZE", 1, 1, environment)
    if place >= count:
        raise UserError(
            f"--part auto can't tell which part process {place} of {count} takes, as RANK must be "
            "below WORLD_SIZE; correct them, or say --part 3/64"
        )
    return Share(place + 1, count)
