"""Models in ONNX files, run by onnxruntime in place of PyTorch's networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from revgan.data.intensity import PerScan
from revgan.data.mappings import Intensity, linear
from revgan.data.preparation import PREPARATION, WITHOUT_FILE, Preparation
from revgan.directions import DIRECTIONS, Direction, ends
from revgan.errors import UserError, one_line
from revgan.networks import TwoWayGenerator
from revgan.networks.graphs import CPU, open_session, run_session
from revgan.networks.pretrained import ARCHITECTURE, MODELS, parse_architecture

ONNX = ".onnx"
INPUT, OUTPUT = "input", "output"
"""The suffix of files, and the names of what goes in and what comes out."""

GraphValues = Literal["unit", "file"]
"""What a graph takes and gives: [-1, 1], or values in the units of the training data's files."""

PROVIDERS = {"cpu": CPU, "cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}
"""onnxruntime's names for devices."""

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
        return label

    def metadata(self) -> dict[str, str]:
        """What `read` reads, and the same in numbers for other programs."""
        from revgan import __version__

        config, dims = self.outline.config, self.outline.spatial_dims
        channels = self.outline.channels(self.direction)
        ranges = self.ranges or (Intensity(-1, 1), Intensity(-1, 1))
        numbers = {
            "spatial_dims": dims,
            "input_channels": channels[0],
            "output_channels": channels[1],
            "input_range": [ranges[0].low, ranges[0].high],
            "output_range": [ranges[1].low, ranges[1].high],
            "size_multiples": list(config.size_multiples(dims)),
            "min_sizes": list(config.min_sizes(dims)),
        }
        return {
            "revgan": __version__,
            **{name: str(value) for name, value in numbers.items()},
            **{key: getattr(self, name) for name, key in KEYS.items()},
        }

    @cached_property
    def outline(self) -> TwoWayGenerator:
        """The generator without its weights.

        Raises:
            ValueError: there is none like it.
        """
        kind, arguments = parse_architecture(self.architecture)
        try:
            with torch.device("meta"):  # takes no memory
                return MODELS[kind](**arguments)
        except (RuntimeError, TypeError) as error:
            raise ValueError(str(error)) from error

    @cached_property
    def preparation(self) -> Preparation | None:
        """How scans are prepared for the generator, as in its model folder.

        Raises:
            ValueError: it can't be understood.
        """
        return Preparation.from_yaml(self.intensities) if self.intensities else None

    @cached_property
    def ranges(self) -> tuple[Intensity, Intensity] | None:
        """The intensities of inputs and outputs of a graph that takes values of files.

        Raises:
            ValueError: they aren't known, or differ from scan to scan.
        """
        if self.values == "unit":
            return None
        preparation = self.preparation or WITHOUT_FILE.get(self.outline.spatial_dims)
        if preparation is None:
            raise ValueError(f"the model has no {PREPARATION}")
        before, after = (preparation.of(domain) for domain in ends(self.direction))
        if isinstance(before, PerScan) or isinstance(after, PerScan):
            raise ValueError("each scan has a range of intensities of its own")
        return linear(before), linear(after)


GraphRun = Callable[[str, NDArray[Any]], list[Any]]
"""Runs a file; see `run_session`."""


class ExportedGenerator(TwoWayGenerator):
    """A generator whose layers are in ONNX files.

    Args:
        graphs: what runs a file, given its input's name and values, and the file's label, by
            direction; of one model.
    """

    def __init__(self, graphs: Mapping[Direction, tuple[GraphRun, Label]]) -> None:
        outline = next(label.outline for _, label in graphs.values())
        nn.Module.__init__(self)
        self.config, self.spatial_dims = outline.config, outline.spatial_dims
        self.in_channels, self.out_channels = outline.in_channels, outline.out_channels
        self.directions = tuple(graphs)
        self._graphs = dict(graphs)

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
        run, label = self._graphs[direction]
        values = x.numpy()
        if label.ranges is not None:
            values = np.stack([label.ranges[0].from_unit(each) for each in values])
        (translated,) = run(INPUT, values.astype(np.float32, copy=False))
        wanted = (len(values), self.channels(direction)[1], *values.shape[2:])
        if translated.shape != wanted:
            raise UserError(
                f"the ONNX file for {direction} returns values of size {list(translated.shape)}, "
                f"not {list(wanted)} as its metadata say; export the model again"
            )
        if label.ranges is not None:
            translated = np.stack([label.ranges[1].to_unit(each) for each in translated])
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
    graphs = {}
    for file in _files(path):
        session = _open(file, device)
        try:
            label = Label.read(session.get_modelmeta().custom_metadata_map)
            preparation, _ = label.preparation, label.ranges  # which may be wrong
            _require_fit(session, label)
            graphs[label.direction] = partial(run_session, session, file), label
            generator = ExportedGenerator(graphs)
        except ValueError as error:
            raise UserError(
                f"{file} isn't a model that revgan can translate with ({one_line(error)}); give a "
                "file that revgan export made"
            ) from error
    if len({(label.architecture, label.intensities) for _, label in graphs.values()}) > 1:
        raise UserError(
            f"the files in {path} are of different models; export both directions again"
        )
    return generator, preparation


def _require_fit(session: Any, label: Label) -> None:
    """Refuses a graph that takes or returns something else than its metadata say.

    Raises:
        ValueError: it does.
    """
    before, after = label.outline.channels(label.direction)
    for what, values, channels in (
        ("takes", session.get_inputs(), before),
        ("returns", session.get_outputs(), after),
    ):
        axes = 2 + label.outline.spatial_dims
        fits = [
            each.type == "tensor(float)"
            and len(each.shape) == axes
            and (
                each.shape[1] is None or isinstance(each.shape[1], str) or each.shape[1] == channels
            )
            for each in values
        ]
        if fits != [True]:
            shapes = " and ".join(str(each.shape) for each in values)
            raise ValueError(f"it {what} {shapes or 'nothing'}, not {channels} channels")


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ONNX else []
    named = (path / f"{direction}{ONNX}" for direction in DIRECTIONS)
    return [file for file in named if file.is_file()]


def _open(path: Path, device: str | None) -> Any:
    """An onnxruntime session on a device.

    Raises:
        UserError: onnxruntime isn't there, or can't load the file or use the device.
    """
    wanted = [PROVIDERS[device or "cuda"]]
    if find_spec("onnxruntime"):
        import onnxruntime

        if wanted[0] not in onnxruntime.get_available_providers():
            if device is not None:
                raise UserError(
                    f"onnxruntime can't run {path} on --device {device} here; give --device cpu, "
                    "or the model folder that the file was made from"
                )
            wanted = [CPU]
    return open_session(path, wanted)
