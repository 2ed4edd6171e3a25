"""Trackers that show a training: always TensorBoard, optionally W&B and MLflow."""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, MLflowTracker, WandBTracker
from accelerate.utils import is_mlflow_available, is_wandb_available

from revgan.errors import UserError, notice, one_line
from revgan.files import write_text
from revgan.training.config import RunConfig, RuntimeConfig
from revgan.training.runs import RunFolder

PROJECT = "revgan"
"""W&B's project and MLflow's experiment, unless WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME is set."""

_log = logging.getLogger(__name__)


def require_trackers(runtime: RuntimeConfig) -> None:
    """Refuses trackers whose packages are missing.

    Raises:
        UserError: the message names the package.
    """
    for name, wanted, available in (
        ("wandb", runtime.wandb, is_wandb_available),
        ("mlflow", runtime.mlflow, is_mlflow_available),
    ):
        if wanted and not available():
            raise UserError(
                f"runtime.{name} needs the package {name}, which is not installed; get it with pip "
                f"install 'revgan[{name}]', or set --runtime.{name} false"
            )


def make_trackers(runtime: RuntimeConfig, run: RunFolder) -> list[str | GeneralTracker]:
    """The trackers for the accelerator.

    Raises:
        UserError: a package is missing.
    """
    require_trackers(runtime)
    trackers: list[str | GeneralTracker] = ["tensorboard"]
    if runtime.wandb:
        trackers.append(_WandB(run))
    if runtime.mlflow:
        trackers.append(_MLflow(run))
    return trackers


@contextmanager
def quiet_writers() -> Iterator[None]:
    """While active, threads that can't write don't print a traceback.

    TensorBoard's thread keeps its error and raises it in the main thread at the next write.
    """
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not issubclass(arguments.exc_type, OSError):
            before(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def log_configuration(accelerator: Accelerator, config: RunConfig) -> None:
    """Sends a run's options to W&B and MLflow, by names such as data.crop.

    TensorBoard would make a separate run of them each time, and its files are beside config.yaml.
    """
    for tracker in accelerator.trackers:
        if tracker.name != "tensorboard":
            tracker.store_init_configuration(_flat(asdict(config)))


def log_picture(
    accelerator: Accelerator, name: str, pixels: npt.NDArray[np.uint8], step: int
) -> None:
    """Sends a picture, (H, W, 3), to every tracker."""
    for tracker in accelerator.trackers:
        layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
        tracker.log_images({name: pixels[np.newaxis]}, step=step, **layout)


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in content.items():
        inner = _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
        values |= {f"{prefix}{key}": each for key, each in inner.items()}
    return values


class _WandB(WandBTracker):  # type: ignore[misc]  # accelerate's types aren't followed
    """A run at W&B, or in the run's folder with WANDB_MODE=offline; a resumed run continues it."""

    def __init__(self, run: RunFolder) -> None:
        super().__init__(
            os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.root.name,
            dir=str(run.root),
            id=_known_id(run, "wandb") or uuid4().hex,
            resume="allow",
        )
        self._folder = run

    def start(self) -> None:
        import wandb

        try:
            # The progress bar's frames don't belong in a log.
            self.init_kwargs["settings"] = wandb.Settings(console="off")
            super().start()
        except wandb.errors.Error as error:
            raise UserError(
                f"W&B can't be used ({one_line(error, 200)}); run wandb login, set "
                "WANDB_MODE=offline, or set --runtime.wandb false"
            ) from error
        _remember_id(self._folder, "wandb", self.run.id)


class _MLflow(MLflowTracker):  # type: ignore[misc]  # accelerate's types aren't followed
    """A run at MLFLOW_TRACKING_URI, or else in the run's folder; a resumed run continues it."""

    def __init__(self, run: RunFolder) -> None:
        self._folder = run
        own = "MLFLOW_TRACKING_URI" not in os.environ
        self._store = (run.root / "mlflow").resolve() if own else None
        self._known = _known_id(run, "mlflow")
        self._lost = False
        super().__init__(
            PROJECT,
            logging_dir=None if self._store is None else (self._store / "artifacts").as_uri(),
            run_id=self._known,
            run_name=run.root.name,
        )

    def start(self) -> None:
        import mlflow

        if self._store is not None:
            self._store.mkdir(parents=True, exist_ok=True)
            mlflow.set_tracking_uri(f"sqlite:///{self._store / 'mlflow.db'}")
        try:
            super().start()
        except mlflow.exceptions.MlflowException as error:
            raise UserError(
                f"MLflow can't be used ({one_line(error, 200)}); set MLFLOW_TRACKING_URI to a "
                "server that answers, or set --runtime.mlflow false"
            ) from error
        _remember_id(self._folder, "mlflow", self.tracker.info.run_id)

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        if self._known is None:  # MLflow refuses to change options
            self._try(super().store_init_configuration, values)

    def log(self, values: dict[str, Any], step: int | None = None, **options: Any) -> None:
        self._try(super().log, values, step=step, **options)

    def log_images(self, values: dict[str, npt.NDArray[np.uint8]], step: int | None = None) -> None:
        """Logs images (N, H, W, 3) by name, up to the name's colon."""
        import mlflow

        for name, pictures in values.items():
            for picture in pictures:
                options = {"key": name.partition(":")[0], "step": step, "synchronous": True}
                self._try(mlflow.log_image, picture, **options)

    def finish(self) -> None:
        self._try(super().finish)
        if self._store is not None:
            import mlflow

            mlflow.set_tracking_uri(None)

    def _try(self, call: Callable[..., object], *arguments: Any, **options: Any) -> None:
        """Makes a call, unless an earlier one failed."""
        if self._lost:
            return
        try:
            call(*arguments, **options)
        except Exception as error:  # whatever a server's client raises must not end a training
            self._lost = True
            _log.warning(
                "MLflow gets no more data (%s); the run folder has all of it", one_line(error, 200)
            )


def _ids(run: RunFolder) -> dict[str, str]:
    path = run.trackers
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError):
        notice(f"{path} is damaged, so W&B and MLflow begin another run")
        return {}


def _known_id(run: RunFolder, tracker: str) -> str | None:
    """The run's id in a tracker, if it has one."""
    return _ids(run).get(tracker)


def _remember_id(run: RunFolder, tracker: str, identity: str) -> None:
    write_text(run.trackers, json.dumps(_ids(run) | {tracker: identity}) + "\n")
