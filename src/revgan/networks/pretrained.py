"""A generator on disk: the `model/` folder that people copy, share and load."""

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from revgan.errors import UserError, one_line, short
from revgan.files import replacing, write_text
from revgan.networks.building import GENERATORS
from revgan.networks.generator import TwoWayGenerator
from revgan.networks.pair import GeneratorPair
from revgan.networks.stored import read_part, require_shapes, require_tensors
from revgan.plain_yaml import LARGEST, parse_yaml, whole_yaml

WEIGHTS = "model.safetensors"
ARCHITECTURE = "config.yaml"
FORMAT_VERSION = 1
MODELS: dict[str, type[TwoWayGenerator]] = {kind.__name__: kind for kind in GENERATORS.values()}
"""The generators that a model folder may hold, by their name in its config.yaml."""


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Writes tensors as safetensors, whole or not at all, and flushed to the disk.

    Raises:
        OSError: the disk is full or not writable; what stood at `path` before is untouched.
    """
    try:
        with replacing(path) as unfinished:
            save_file({key: value.contiguous() for key, value in tensors.items()}, unfinished)
            unfinished.chmod(0o644)  # models are for sharing; safetensors lets only the owner read
            with unfinished.open("rb") as file:
                os.fsync(file.fileno())
    except SafetensorError as error:
        raise _system_error(error, path) from error


def _system_error(error: SafetensorError, path: Path) -> OSError:
    """The system's error, which safetensors only has in words: "... (os error 28)"."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    if number is None:
        return OSError(errno.EIO, str(error), str(path))
    return OSError(int(number[1]), os.strerror(int(number[1])), str(path))


def save_generator(generator: TwoWayGenerator, folder: Path) -> None:
    """Writes weights and architecture; `load_generator` reads them back.

    The folder may hold an older version of the same model: each file is replaced atomically, so
    that readers always find a whole one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / ARCHITECTURE, architecture(generator))
    save_tensors(folder / WEIGHTS, generator.state_dict())


def architecture(generator: TwoWayGenerator) -> str:
    """What a model folder's config.yaml says of a generator."""
    content = {
        "format": FORMAT_VERSION,
        "model": type(generator).__name__,
        "spatial_dims": generator.spatial_dims,
        "in_channels": generator.in_channels,
        "out_channels": generator.out_channels,
        **{name: x for name, x in generator.config.architecture.items() if name != "model"},
    }
    if isinstance(generator, GeneratorPair):
        content["directions"] = list(generator.directions)
    return whole_yaml(content)


def load_generator(folder: Path, weights: Path | None = None, part: str = "") -> TwoWayGenerator:
    """Reads a model folder.

    Weights of 16 bits, which take half the room, become those of 32 that networks compute with.

    Args:
        folder: it has config.yaml, and model.safetensors unless `weights` are elsewhere.
        weights: the file that they are in.
        part: what their names begin with there.

    Raises:
        UserError: the folder isn't one, or its files don't fit together.
    """
    weights = weights or folder / WEIGHTS
    for path in (folder / ARCHITECTURE, weights):
        if not path.is_file():
            raise UserError(
                f"{folder} isn't a model folder: it has no {path.name}; give a run folder or its "
                "model/ folder"
            )
    try:
        kind, arguments = read_architecture(folder / ARCHITECTURE)
        depth = arguments.get("depth")
        require_tensors(weights, depth if isinstance(depth, int) else 0)
        with torch.device("meta"):  # takes no memory, whatever sizes the configuration declares
            require_shapes(weights, MODELS[kind](**arguments).state_dict(), part)
        generator = MODELS[kind](**arguments)
        generator.load_state_dict(read_part(weights, part))
    except (SafetensorError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"the model in {folder} can't be loaded: {one_line(error, 200)}") from error
    return generator


def read_architecture(path: Path) -> tuple[str, dict[str, Any]]:
    """The kind of generator in a model folder's config.yaml, a key of `MODELS`, and its arguments.

    Raises:
        ValueError: it isn't YAML, or describes no generator that this version knows.
    """
    with path.open("rb") as file:
        return parse_architecture(file.read(LARGEST + 1))


def parse_architecture(text: bytes | str) -> tuple[str, dict[str, Any]]:
    """As `read_architecture`, of the file's content."""
    try:
        content = parse_yaml(text)
    except ValueError as error:
        raise ValueError(f"{ARCHITECTURE} {error}") from error
    kind = content.pop("model", None) if isinstance(content, dict) else None
    if kind not in MODELS:
        raise ValueError(f"{ARCHITECTURE} doesn't describe a {' or '.join(MODELS)}")
    version = content.pop("format", None)
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{ARCHITECTURE} has format {json.dumps(version)}, this revgan reads {FORMAT_VERSION}"
        )
    for name in ("spatial_dims", "in_channels", "out_channels"):
        if name in content and type(content[name]) is not int:
            told = f"{name} must be a whole number, not {short(content[name])}"
            raise ValueError(f"{ARCHITECTURE}: {told}")
    # YAML has lists only, and configurations are compared and hashed.
    return kind, {
        name: tuple(value) if isinstance(value, list) and name != "directions" else value
        for name, value in content.items()
    }
