"""Models in ONNX files, run by onnxruntime in place of PyTorch's networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor

from revgan.data.intensity import Intensity, PerScan, linear
from revgan.data.preparation import PREPARATION, WITHOUT_FILE, Preparation
from revgan.directions import DIRECTIONS, Direction, DomainName, ends
from revgan.errors import UserError, one_line
from revgan.networks import GeneratorConfig, TwoWayGenerator
from revgan.networks.pretrained import ARCHITECTURE, MODELS, parse_architecture

ONNX = ".onnx"

GraphValues = Literal["unit", "file"]
"""What a graph takes and gives: [-1, 1], or values in the units of the training data's files."""

KEYS = {
    "direction": "direction",
    "values": "values",
    "architecture": ARCHITECTURE,
    "intensities": PREPARATION,
}
"""The fields of a `Label`, and their names in a file's metadata."""


@dataclass(frozen=True)
class Label:
    """What an exported file says of the model in it.

    Attributes:
        direction: the one that it translates.
        values: see `GraphValues`.
        architecture: a model folder's config.yaml.
        intensities: its intensity.yaml; "" if it has none.
    """

    direction: Direction
    values: GraphValues
    architecture: str
    intensities: str = ""

    @classmethod
    def read(cls, metadata: Mapping[str, str]) -> Self:
        """Reads a file's metadata.

        Raises:
            ValueError: they aren't those of `revgan export`, or describe no model.
        """
        if missing := [key for key in KEYS.values() if key not in metadata]:
            raise ValueError(f"it has no {missing[0]} among its metadata")
        fields: dict[str, Any] = {name: metadata[key] for name, key in KEYS.items()}
        label = cls(**fields)
        if label.direction not in DIRECTIONS or label.values not in get_args(GraphValues):
            raise ValueError(f"it translates {label.values} values {label.direction}")
        label.config  # noqa: B018  # checks it
        if label.values == "file":
            label.range("a"), label.range("b")
        return label

    def metadata(self) -> dict[str, str]:
        """What `read` reads, and the same in numbers for other programs."""
        from revgan import __version__

        before, after = ends(self.direction)
        numbers = {
            "spatial_dims": self._arguments["spatial_dims"],
            "input_channels": self.channels[before],
            "output_channels": self.channels[after],
            "input_range": self._limits(before),
            "output_range": self._limits(after),
            "size_multiple": self.config.size_multiple,
            "min_size": self.config.min_size,
        }
        return {
            "revgan": __version__,
            **{name: str(value) for name, value in numbers.items()},
            **{key: getattr(self, name) for name, key in KEYS.items()},
        }

    @cached_property
    def config(self) -> GeneratorConfig:
        """The generator's.

        Raises:
            ValueError: there is none like it.
        """
        others = ("spatial_dims", "in_channels", "out_channels", "directions")
        variant = {name: value for name, value in self._arguments.items() if name not in others}
        try:
            return GeneratorConfig(MODELS[self._kind].model, memory="naive", **variant)
        except TypeError as error:
            raise ValueError(str(error)) from error

    @property
    def channels(self) -> dict[DomainName, int]:
        """The channels of each domain."""
        return {"a": self._arguments["in_channels"], "b": self._arguments["out_channels"]}

    @property
    def spatial_dims(self) -> Literal[2, 3]:
        """2 for images, 3 for volumes."""
        return self._arguments["spatial_dims"]

    @cached_property
    def preparation(self) -> Preparation | None:
        """How scans are prepared for the generator, as in its model folder.

        Raises:
            ValueError: it can't be understood.
        """
        return Preparation.from_yaml(self.intensities) if self.intensities else None

    def range(self, domain: DomainName) -> Intensity:
        """A domain's intensities in a graph that takes or gives values of files.

        Raises:
            ValueError: they aren't known, or differ from scan to scan.
        """
        preparation = self.preparation or WITHOUT_FILE.get(self.spatial_dims)
        if preparation is None:
            raise ValueError(f"the model has no {PREPARATION}")
        mapping = preparation.of(domain)
        if isinstance(mapping, PerScan):
            raise ValueError(f"each scan of {domain.upper()} has intensities of its own")
        return linear(mapping)

    def _limits(self, domain: DomainName) -> list[Any]:
        if self.values == "unit":
            return [-1.0, 1.0]
        intensity = self.range(domain)
        return [intensity.low, intensity.high]

    @property
    def _kind(self) -> str:
        return self._parsed[0]

    @property
    def _arguments(self) -> dict[str, Any]:
        return self._parsed[1]

    @cached_property
    def _parsed(self) -> tuple[str, dict[str, Any]]:
        kind, arguments = parse_architecture(self.architecture)
        for name, known in (
            ("spatial_dims", (2, 3)),
            ("in_channels", None),
            ("out_channels", None),
        ):
            value = arguments.get(name)
            if not isinstance(value, int) or value < 1 or (known and value not in known):
                raise ValueError(f"{ARCHITECTURE} has {name} {value}")
        return kind, arguments


class ExportedGenerator(TwoWayGenerator):
    """A generator whose layers are in ONNX files, one for each direction.

    Args:
        sessions: of onnxruntime, by direction.
        label: of one of the files; they are of one model.
        ranges: the intensities of inputs and outputs, by direction, where graphs take values of
            files; None where they take [-1, 1].
    """

    def __init__(
        self,
        sessions: Mapping[Direction, Any],
        label: Label,
        ranges: Mapping[Direction, tuple[Intensity, Intensity] | None],
    ) -> None:
        self.model = label.config.model
        self._build(label.config, label.spatial_dims, label.channels["a"], label.channels["b"])
        self.directions = tuple(sessions)
        self._sessions, self._ranges = dict(sessions), dict(ranges)

    def _add_layers(self) -> None:
        """They are in the files."""

    @property
    def device(self) -> torch.device:
        """Where inputs come from; onnxruntime brings them to its own."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """Of inputs, whatever the file computes with."""
        return torch.float32

    def forward(self, x: Tensor, direction: Direction = "AtoB") -> Tensor:
        """Translates x; see `TwoWayGenerator`."""
        self._check(x, direction)
        session, ranges = self._sessions[direction], self._ranges[direction]
        values = x.numpy()
        if ranges is not None:
            values = np.stack([ranges[0].from_unit(each) for each in values])
        given = {session.get_inputs()[0].name: values.astype(np.float32, copy=False)}
        (translated,) = session.run(None, given)
        if ranges is not None:
            translated = np.stack([ranges[1].to_unit(each) for each in translated])
        return torch.from_numpy(translated)


def is_exported(path: Path) -> bool:
    """Whether a path is one of `revgan export`'s ONNX files, or a folder with them."""
    return bool(_files(path))


def load_exported(path: Path, device: str | None) -> tuple[ExportedGenerator, Preparation | None]:
    """Loads an ONNX file, or a folder with AtoB.onnx, BtoA.onnx or both.

    Args:
        path: the file or folder.
        device: "cpu" or "cuda"; None takes a GPU if onnxruntime has one.

    Raises:
        UserError: it isn't from `revgan export`, or onnxruntime can't run it.
    """
    sessions, labels = {}, {}
    for file in _files(path):
        session = open_session(file, device)
        try:
            label = Label.read(session.get_modelmeta().custom_metadata_map)
            preparation = label.preparation
        except ValueError as error:
            raise UserError(
                f"{file} isn't a model that revgan can translate with ({one_line(error)}); give a "
                "file that revgan export made"
            ) from error
        sessions[label.direction], labels[label.direction] = session, label
    if len({(each.architecture, each.intensities) for each in labels.values()}) > 1:
        raise UserError(f"the files in {path} are of different models; export both directions again")
    ranges = {
        direction: None
        if label.values == "unit"
        else tuple(label.range(domain) for domain in ends(direction))
        for direction, label in labels.items()
    }
    return ExportedGenerator(sessions, label, ranges), preparation


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ONNX else []
    named = (path / f"{direction}{ONNX}" for direction in DIRECTIONS)
    return [file for file in named if file.is_file()]


def open_session(path: Path, device: str | None = None) -> Any:
    """An onnxruntime session for a file, with as many threads as PyTorch has.

    Raises:
        UserError: onnxruntime isn't there, or can't load the file or use the device.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"{path} needs the package onnxruntime: pip install 'revgan[export]'"
        ) from error
    available = onnxruntime.get_available_providers()
    providers = {"cpu": ["CPUExecutionProvider"], "cuda": ["CUDAExecutionProvider"]}
    if device is None:
        wanted = [name for name in (*providers["cuda"], *providers["cpu"]) if name in available]
    else:
        wanted = providers.get(device, [device])
    if not set(wanted) <= set(available):
        raise UserError(
            f"onnxruntime can't run {path} on --device {device} here; use --device cpu, or the "
            "model folder that the file was made from"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors are raised as well
    try:
        return onnxruntime.InferenceSession(path, options, providers=wanted)
    except Exception as error:  # of many kinds, which onnxruntime doesn't document
        raise UserError(
            f"onnxruntime can't load {path} ({one_line(error, 200)}); export it again"
        ) from error
