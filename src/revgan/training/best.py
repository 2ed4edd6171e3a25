"""Keeps the best model so far by validation score, besides the last one."""

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from revgan.data.preparation import PREPARATION, Preparation
from revgan.errors import notice
from revgan.files import file_digest, write_text
from revgan.networks import TwoWayGenerator
from revgan.networks.pretrained import ARCHITECTURE, WEIGHTS, save_generator
from revgan.training.config import ScoreName

RECORD = "best.json"


@dataclass(frozen=True)
class Best:
    """The record of the best model in best.json.

    Attributes:
        step: the number of steps after which it was saved.
        by: the score that chose it.
        split: which images were scored: "val", or "test" if there are no others.
        mae: in grey levels of 0..255; like all scores, the mean of both directions.
        psnr: in dB.
        ssim: in [-1, 1].
        sha256: of the model's files, by name; None in records of earlier versions.
    """

    step: int
    by: ScoreName
    split: Literal["val", "test"]
    mae: float
    psnr: float
    ssim: float
    sha256: Mapping[str, str] | None = field(default=None, compare=False)

    @classmethod
    def read(cls, folder: Path) -> "Best | None":
        """That in a run's best/; None without one, or, which it tells, if a file is damaged."""
        damaged = folder / RECORD
        try:
            best = cls(**json.loads(damaged.read_text(encoding="utf-8", errors="replace")))
            numbers = best.step, best.mae, best.psnr, best.ssim
            if all(map(math.isfinite, numbers)) and isinstance(best.step, int):
                for name, digest in (best.sha256 or {}).items():
                    damaged = folder / Path(name).name
                    if file_digest(damaged) != digest:
                        raise ValueError("isn't what was written")
                return best
        except FileNotFoundError:
            if damaged.name == RECORD:  # no best model yet, or killed while one was saved
                return None
        except (OSError, TypeError, ValueError, AttributeError, RecursionError):
            pass
        notice(f"{damaged} is damaged, so the run has no best model")
        return None


class BestModel:
    """Keeps the model folder of the best validation.

    Args:
        folder: the run's best/; it has the same files as model/, and best.json.
        by: the score that decides: the lowest MAE, or the highest PSNR or SSIM.
        split: which images are scored.
        preparation: for the model folder, as for model/.
    """

    def __init__(
        self,
        folder: Path,
        by: ScoreName,
        split: Literal["val", "test"],
        preparation: Preparation | None,
    ) -> None:
        self.folder, self.by, self.split = folder, by, split
        self.preparation = preparation
        self._best = Best.read(folder)

    def offer(self, generator: TwoWayGenerator, step: int, scores: Mapping[str, float]) -> bool:
        """Saves the generator if it is better than the best so far; returns whether it is.

        Args:
            generator: after `step` steps.
            step: steps done.
            scores: means of both directions, by name.

        Raises:
            OSError: the disk is full or not writable.
        """
        offered = Best(step, self.by, self.split, scores["mae"], scores["psnr"], scores["ssim"])
        if not self._is_better(offered):
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        # The record must never be beside other weights, even if the process is killed here.
        (self.folder / RECORD).unlink(missing_ok=True)
        if self.preparation is not None:
            self.preparation.write(self.folder)
        save_generator(generator, self.folder)
        names = [ARCHITECTURE, WEIGHTS] + [PREPARATION] * (self.preparation is not None)
        saved = replace(
            offered, sha256={name: file_digest(self.folder / name) for name in sorted(names)}
        )
        write_text(self.folder / RECORD, json.dumps(asdict(saved), indent=2) + "\n")
        self._best = offered
        return True

    def _is_better(self, offered: Best) -> bool:
        # Options may change: the best may have been chosen by another score, or on another split.
        score, best = getattr(offered, self.by), getattr(self._best, self.by, None)
        if not all(map(math.isfinite, (offered.mae, offered.psnr, offered.ssim))):
            return False
        if best is None:
            return True
        return bool(score < best if self.by == "mae" else score > best)


def forget_best_after(folder: Path, step: int) -> None:
    """Removes the best model if it is from a step after `step`, which a resumed run repeats.

    It has overwritten the best model up to `step`, so the resumed run starts without one. If the
    run repeats the same steps, it finds the same best model, which is better than all before it.
    """
    best = Best.read(folder)
    if best is None or best.step > step:
        shutil.rmtree(folder, ignore_errors=True)
