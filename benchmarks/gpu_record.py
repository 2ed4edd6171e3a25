"""What the parts of gpu.py have in common: how they run, and what is known of each."""

import gc
import json
import time
import traceback
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch

from revgan.errors import out_of_memory
from revgan.files import write_text
from revgan.training import RuntimeConfig

UNFINISHED = "the process ended in it"


@dataclass(frozen=True)
class Setting:
    """How a part runs.

    Attributes:
        device: "cuda" or "cpu".
        small: whether at tiny sizes.
        folder: for results.
        deadline: by time.monotonic(); no row is begun after it.
    """

    device: str
    small: bool
    folder: Path
    deadline: float

    @property
    def over(self):
        """Whether the part's time is."""
        return time.monotonic() >= self.deadline

    def runtime(self, precision):
        """On the device."""
        return RuntimeConfig(self.device, precision)


class PartRecord:
    """What is known of a part, in a file that is written at each change."""

    def __init__(self, path):
        self._path = path
        empty = {"complete": False, "seconds": 0.0, "rows": {}, "errors": {}}
        self._content = empty | (json.loads(path.read_text()) if path.exists() else {})
        self.rows, self.errors = self._content["rows"], self._content["errors"]

    @property
    def complete(self):
        """Whether nothing is left to do."""
        return self._content["complete"]

    @property
    def progress(self):
        """A number that grows with each row, measured or failed."""
        return len(self.rows) + len(self.errors)

    def measure(self, key, find, setting):
        """Takes a row in, unless it is there, failed before, or the time is over.

        Returns:
            False if the time is over.
        """
        if key in self.rows or key in self.errors:
            return True
        if setting.over:
            return False
        start = time.monotonic()
        # A kernel's error may take the process with it, and is to be found in the file then.
        self.errors[key] = UNFINISHED
        self._write()
        try:
            row = find()
        except Exception as error:
            self.errors[key] = told(error)
            self._write()
            if "CUDA error" in str(error):  # after which no kernel runs in this process
                raise
        else:
            del self.errors[key]
            seconds = {"seconds_in_all": round(time.monotonic() - start, 1)}
            self.rows[key] = row | seconds | {"date": date.today().isoformat()}
        self._content["seconds"] += time.monotonic() - start
        self._write()
        release(setting.device)
        return True

    def forget_unfinished(self):
        """Lets rows be begun again for which the time was too short."""
        for key in [key for key, why in self.errors.items() if why == UNFINISHED]:
            del self.errors[key]
        self._write()

    def fail(self, key, why):
        """Records an error that isn't a row's."""
        self.errors[key] = why
        self._write()

    def finish(self):
        """Says that nothing is left to do."""
        self._content["complete"] = True
        self._write()

    def _write(self):
        content = self._content | {"rows": self.rows, "errors": self.errors}
        write_text(self._path, json.dumps(content, indent=1) + "\n")


def told(error):
    """What is recorded of an error."""
    if out_of_memory(error):
        return "out of memory"
    return "".join(traceback.format_exception(error))[-2000:]


def release(device):
    """Gives back what a row took of the device's memory."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
