"""What a safetensors file holds, before any of it is read."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from revgan.errors import visible


def require_tensors(path: Path, least: int) -> None:
    """Checks that a file holds so many tensors at least, before a network of them is built at all.

    Raises:
        ValueError: it holds fewer.
        SafetensorError: the file is damaged.
    """
    with safe_open(path, "pt") as file:
        count = len(list(file.keys()))
    if count < least:
        raise ValueError(f"{path.name} has {count} tensors, fewer than the {least} of that depth")


def require_shapes(path: Path, wanted: Mapping[str, Tensor], part: str = "") -> None:
    """Checks that a file holds exactly a network's tensors, by its header.

    Args:
        path: the file.
        wanted: the network's, by name; on the device "meta", they take no memory.
        part: what the names of the network's tensors begin with in the file; others are not its.

    Raises:
        ValueError: one is missing, unknown, or has another shape.
        SafetensorError: the file is damaged; its header can't name more bytes than it has.
    """
    with safe_open(path, "pt") as file:
        found = {
            name.removeprefix(part): tuple(file.get_slice(name).get_shape())
            for name in file.keys()  # noqa: SIM118
            if name.startswith(part)
        }
    for name, tensor in wanted.items():
        if name not in found:
            raise ValueError(f"{path.name} has no {name}")
        if found[name] != tuple(tensor.shape):
            shapes = f"{_shape(found[name])} in {path.name}, not {_shape(tuple(tensor.shape))}"
            raise ValueError(f"{name} is {shapes}")
    for name in found.keys() - wanted.keys():
        raise ValueError(f"{path.name} has a tensor {visible(name)[:80]}, which the network hasn't")


def read_part(path: Path, part: str) -> dict[str, Tensor]:
    """The tensors of a file whose names begin with `part`, by the rest of their names."""
    with safe_open(path, "pt") as file:
        names = [name for name in file.keys() if name.startswith(part)]  # noqa: SIM118
        return {name.removeprefix(part): file.get_tensor(name) for name in names}


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"
