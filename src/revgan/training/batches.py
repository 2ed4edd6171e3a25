"""The batches of a training's steps, and what becomes of errors on their way.

Images are read by this process, or by worker processes. A worker hands on values, but of an error
only a traceback in words; so an error takes the place of its sample, as one sentence. The first one
ends the batches.
"""

import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from revgan.data.sampling import Steps, TrainingSamples
from revgan.errors import UserError, io_sentence, one_line, out_of_memory
from revgan.training.config import RunConfig
from revgan.training.interrupt import leave_signals_to_parent
from revgan.training.objectives import Batch
from revgan.training.step import Trainer

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Failure:
    """Stands for a sample or a batch that can't be had.

    Attributes:
        cause: why, in one sentence.
    """

    cause: str


class _Told(Dataset[tuple[Tensor, Tensor] | _Failure]):
    """Samples, or failures in their place."""

    def __init__(self, samples: TrainingSamples) -> None:
        self._samples = samples

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor] | _Failure:
        try:
            return self._samples[number]
        except UserError as error:
            return _Failure(str(error))
        except OSError as error:
            return _Failure(io_sentence(error))
        except Exception as error:  # a library's, of a file that it can't make sense of
            _log.debug("sample %d", number, exc_info=True)
            if out_of_memory(error):
                return _Failure(
                    "memory is not enough to load images; lower --runtime.workers or "
                    "--training.batch_size"
                )
            what = f"{type(error).__name__}: {one_line(error, 200)}"
            return _Failure(f"training sample {number} can't be made ({what}); check its images")


def _joined(items: list[tuple[Tensor, Tensor] | _Failure]) -> list[Tensor] | _Failure:
    """A batch of each domain; or the first failure among their samples."""
    for item in items:
        if isinstance(item, _Failure):
            return item
    try:
        batch: list[Tensor] = default_collate(items)  # in a worker, into shared memory
    except (RuntimeError, OSError, MemoryError) as error:
        return _Failure(
            f"memory for a batch of images is not enough ({one_line(error, 200)}); make room in "
            "/dev/shm, or lower --runtime.workers or --training.batch_size"
        )
    return batch


class Batches:
    """A process's share of the batches, on its device; a context, which ends the workers.

    Args:
        samples: of the training.
        config: of the run.
        trainer: whose steps they are for.
        first: the first step.

    Attributes:
        failure: why there is no further batch, in one sentence, if there should be one.
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
            config.training.batch_size,
            accelerator.process_index,
            accelerator.num_processes,
        )
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
        self._iterator = self._started()
        self._workers = [one for one in multiprocessing.active_children() if one not in others]
        # PyTorch's handler raises an error for a dead worker wherever this process is, in the
        # middle of a step too, where there is nothing whole to keep. `next` finds out as well.
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
        # Unless the error refers to it, this asks the workers to end, and waits for seconds.
        del self._iterator
        for worker in self._workers:
            worker.kill()
            worker.join()
        if self._handler is not None:
            signal.signal(signal.SIGCHLD, self._handler)

    def next(self) -> Batch | None:
        """The next batch; None after the last one, and after a failure."""
        item = self._next()
        if isinstance(item, _Failure):
            self.failure = item.cause
            return None
        if item is None:
            return None
        a, b = (images.to(self._device, non_blocking=True) for images in item)
        data = self._data
        if data.a.gaps or data.b.gaps:
            return Batch.with_gaps(a, b, data.a.fill_in_unit, data.b.fill_in_unit)
        return Batch(a, b)

    def _started(self) -> Iterator[list[Tensor] | _Failure]:
        hook = sys.unraisablehook
        sys.unraisablehook = lambda _: None  # a half-made iterator fails once more as it is dropped
        try:
            return iter(self._loader)
        except OSError as error:
            why = error.strerror
        finally:
            sys.unraisablehook = hook
        raise UserError(
            f"processes to load images can't be started ({why}); lower --runtime.workers, set it "
            "to 0, or make room in /dev/shm"
        )

    def _next(self) -> list[Tensor] | _Failure | None:
        try:
            item: list[Tensor] | _Failure | None = next(self._iterator, None)
        except (RuntimeError, OSError) as error:
            # Errors of samples don't get here: this is the passage from process to process.
            item = _Failure(
                f"the processes that load images can't hand them on ({one_line(error, 200)}); "
                "make room in /dev/shm, or set --runtime.workers 0"
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
