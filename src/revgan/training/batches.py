"""The batches for training steps, and the errors that occur while loading them.

Images are read by this process or by worker processes. A worker can pass on values, but only the
traceback of an error; so an error replaces its sample, as one sentence. The first one ends the
batches.
"""

import logging
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from revgan.data.sampling import Steps, TrainingSamples
from revgan.errors import UserError, io_sentence, one_line, out_of_memory
from revgan.load import on_all_cores
from revgan.training.batch import Batch
from revgan.training.config import RunConfig
from revgan.training.interrupt import leave_signals_to_parent
from revgan.training.step import Trainer

_log = logging.getLogger(__name__)


@contextmanager
def _on_all_cores() -> Iterator[None]:
    """Within, workers start on all cores; if they are too many, `run_training` has said so."""
    with on_all_cores(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield


@dataclass(frozen=True)
class _Failure:
    """Stands for a sample or batch that can't be loaded.

    Attributes:
        cause: the reason, in one sentence.
    """

    cause: str


class _Told(Dataset[tuple[Tensor, ...] | _Failure]):
    """Samples, or failures instead."""

    def __init__(self, samples: TrainingSamples) -> None:
        self._samples = samples

    def __getitem__(self, number: int) -> tuple[Tensor, ...] | _Failure:
        try:
            return self._samples[number]
        except UserError as error:
            return _Failure(str(error))
        except OSError as error:
            return _Failure(io_sentence(error))
        except Exception as error:  # from a library, for a file that it can't read
            _log.debug("sample %d", number, exc_info=True)
            if out_of_memory(error):
                return _Failure(
                    "there isn't enough memory to load images; lower --runtime.workers or "
                    "--training.batch_size"
                )
            what = f"{type(error).__name__}: {one_line(error, 200)}"
            return _Failure(f"training sample {number} can't be loaded ({what}); check its images")


def _joined(items: list[tuple[Tensor, ...] | _Failure]) -> list[Tensor] | _Failure:
    """A batch of each domain, or the first failure among their samples."""
    for item in items:
        if isinstance(item, _Failure):
            return item
    try:
        batch: list[Tensor] = default_collate(items)  # in a worker, into shared memory
    except (RuntimeError, OSError, MemoryError) as error:
        return _Failure(
            f"there isn't enough memory for a batch of images ({one_line(error, 200)}); free space "
            "in /dev/shm, or lower --runtime.workers or --training.batch_size"
        )
    return batch


class Batches:
    """A process's share of the batches, on its device; a context that ends the workers.

    Args:
        samples: the training samples.
        config: the run's.
        trainer: the trainer that uses them.
        first: the first step.

    Attributes:
        failure: why the batches ended early, in one sentence, if they did.
    """

    def __init__(
        self, samples: TrainingSamples, config: RunConfig, trainer: Trainer, first: int
    ) -> None:
        accelerator, workers = trainer.accelerator, config.runtime.workers
        self._device, self._data = accelerator.device, samples.data
        if workers is None:
            workers = 0 if self._device.type == "cpu" else min(4, os.cpu_count() or 1)
        steps = Steps(
            first,
            trainer.total_steps,
            config.training.samples,
            accelerator.process_index,
            accelerator.num_processes,
        )
        with _on_all_cores():
            self._loader = DataLoader(
                _Told(samples),
                batch_sampler=steps,
                num_workers=workers,
                collate_fn=_joined,
                pin_memory=self._device.type == "cuda",
                worker_init_fn=leave_signals_to_parent,
            )
        self.failure: str | None = None

    def __enter__(self) -> "Batches":
        others = multiprocessing.active_children()
        with _on_all_cores():
            self._iterator = self._started()
        self._workers = [one for one in multiprocessing.active_children() if one not in others]
        # PyTorch's handler raises an error for a dead worker at any moment, even in the middle of a
        # step, when there is no complete state to save. `next` notices it too.
        self._handler = None
        if self._workers and hasattr(signal, "SIGCHLD"):  # not on Windows
            self._handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Unless the error refers to it, this asks the workers to end and waits for seconds.
        del self._iterator
        for worker in self._workers:
            worker.kill()
            worker.join()
        if self._handler is not None:
            signal.signal(signal.SIGCHLD, self._handler)

    def next(self) -> Batch | None:
        """The next batch; None after the last one or a failure."""
        item = self._next()
        if isinstance(item, _Failure):
            self.failure = item.cause
            return None
        if item is None:
            return None
        a, b, *masks = (images.to(self._device, non_blocking=True) for images in item)
        data = self._data
        if data.a.gaps or data.b.gaps or masks:
            inside = (masks[0], masks[1]) if masks else None
            return Batch.with_gaps(a, b, data.a.fill_in_unit, data.b.fill_in_unit, inside)
        return Batch(a, b)

    def _started(self) -> Iterator[list[Tensor] | _Failure]:
        hook = sys.unraisablehook
        sys.unraisablehook = lambda _: None  # a half-made iterator fails again when it is dropped
        try:
            return iter(self._loader)
        except OSError as error:
            why = error.strerror
        finally:
            sys.unraisablehook = hook
        raise UserError(
            f"worker processes can't be started ({why}); lower --runtime.workers, set it to 0, or "
            "free space in /dev/shm"
        )

    def _next(self) -> list[Tensor] | _Failure | None:
        try:
            item: list[Tensor] | _Failure | None = next(self._iterator, None)
        except (RuntimeError, OSError) as error:
            # Samples' errors don't get here; this is for passing data between processes.
            item = _Failure(
                f"the processes that load images can't pass them on ({one_line(error, 200)}); free "
                "space in /dev/shm, or set --runtime.workers 0"
            )
        return item and (self._death() or item)

    def _death(self) -> _Failure | None:
        """Why a worker has died, if one has."""
        codes = (worker.exitcode for worker in self._workers)
        code = next((code for code in codes if code is not None), None)
        if code is None:
            return None
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        why = "shared memory (/dev/shm)" if code == -signal.SIGBUS else "memory"
        return _Failure(
            f"a process that loads images {how}, as when {why} runs out; lower --runtime.workers, "
            "or set it to 0"
        )
