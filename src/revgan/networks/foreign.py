"""Networks that other people made: of formats that can do no harm, or of people whom one trusts.

Weights in safetensors hold numbers only, and graphs in ONNX only operations that compute.
TorchScript and `torch.export` files hold code: its operations can read and write any file of the
user's (`aten::from_file`, `aten::save`), and pickles in the latter can do anything.
"""

import logging
import math
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from revgan.errors import UserError, check_numbers, one_line
from revgan.networks.config import LARGEST_KERNEL, LARGEST_WIDTH
from revgan.networks.graphs import open_session, run_session
from revgan.networks.stored import require_shapes
from revgan.plain_yaml import read_yaml

LEVELS, UNITS = 12, 16
"""The most levels of a U-Net, and residual units in each; deeper ones take no image."""


class ForeignNetwork(NamedTuple):
    """A loaded network, which takes (B, C, *spatial).

    Attributes:
        network: on its device, in evaluation mode.
        multiple: what sizes must be multiples of, as far as known.
        differentiable: whether gradients pass through it.
    """

    network: nn.Module
    multiple: int = 1
    differentiable: bool = True


def load_network(path: Path, device: torch.device, *, trust: bool = False) -> ForeignNetwork:
    """Loads a network of somebody else.

    Args:
        path: `NAME.safetensors`, the weights of MONAI's `UNet` (Ronneberger et al., 2015), whose
            arguments are in `NAME.yaml` beside it; an ONNX file; or, if trusted, a file from
            TorchScript or `torch.export.save`.
        device: where to run it; ONNX runs on the CPU.
        trust: whether to load files that can run their maker's code.

    Raises:
        UserError: the file can't be loaded, or needs trust.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file; give a network's .safetensors or .onnx file")
    loaders = {".safetensors": _load_unet, ".onnx": _load_onnx}
    loader = loaders.get(path.suffix.lower(), _load_code)
    if loader is _load_code and not trust:
        raise UserError(
            f"{path} is neither a .safetensors nor an .onnx file, and others can run code of their "
            "maker, who could read and change all your files; export the network as ONNX, or add "
            "--trust if you know where the file is from"
        )
    try:
        return loader(path, device)
    except UserError:
        raise
    except Exception as error:  # damaged files raise nearly anything
        raise UserError(f"{path} can't be loaded as a network: {one_line(error, 200)}") from error


@dataclass(frozen=True)
class UNetConfig:
    """The arguments of MONAI's `UNet`, whose documentation explains them."""

    spatial_dims: int
    in_channels: int
    out_channels: int
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    kernel_size: int = 3
    up_kernel_size: int = 3
    num_res_units: int = 0
    act: str = "PRELU"
    norm: str = "INSTANCE"
    bias: bool = True
    adn_ordering: str = "NDA"

    def __post_init__(self) -> None:
        width, kernel = (1, LARGEST_WIDTH), (1, LARGEST_KERNEL)
        ranges: dict[str, tuple[float, float]] = dict.fromkeys(_WHOLE, width)
        ranges |= {"spatial_dims": (2, 3), "num_res_units": (0, UNITS)}
        check_numbers(self, **ranges | {"kernel_size": kernel, "up_kernel_size": kernel})
        if not 2 <= len(self.channels) <= LEVELS:
            raise ValueError(f"channels must list from 2 to {LEVELS} levels")
        if len(self.strides) != len(self.channels) - 1:
            raise ValueError(f"strides must list {len(self.channels) - 1}, one between two levels")

    @classmethod
    def read(cls, path: Path) -> "UNetConfig":
        """That in a YAML file.

        Raises:
            UserError: there is none, or it isn't a U-Net's.
        """
        known = {field.name: field.default is MISSING for field in fields(cls)}
        if not path.is_file():
            raise UserError(
                f"there is no {path}, which would say how the U-Net is built; write into it the "
                f"arguments of MONAI's UNet, such as: {_EXAMPLE}"
            )
        try:
            content = read_yaml(path)
            if not isinstance(content, Mapping) or not content.keys() <= known.keys():
                raise ValueError(f"it may only hold {', '.join(known)}")
            for name, required in known.items():
                if required and name not in content:
                    raise ValueError(f"it lacks {name}")
            return cls(**{name: _plain(name, value) for name, value in content.items()})
        except ValueError as error:
            raise UserError(f"{path} isn't a U-Net's: {error}; write {_EXAMPLE}") from error


_WHOLE = ("in_channels", "out_channels", "channels", "strides")

_EXAMPLE = (
    "{spatial_dims: 2, in_channels: 3, out_channels: 19, channels: [16, 32, 64], strides: [2, 2]}"
)


def _plain(name: str, value: Any) -> Any:
    """A field's value, lists as tuples.

    Raises:
        ValueError: it isn't of the field's type.
    """
    kind = {field.name: field.type for field in fields(UNetConfig)}[name]
    if kind == tuple[int, ...]:
        if isinstance(value, list) and all(type(each) is int for each in value):
            return tuple(value)
        raise ValueError(f"{name} must list whole numbers")
    if type(value) is not kind:
        raise ValueError(f"{name} must be of the type {getattr(kind, '__name__', kind)}")
    return value


def _load_unet(path: Path, device: torch.device) -> ForeignNetwork:
    from monai.networks.nets import UNet

    config = UNetConfig.read(path.with_suffix(".yaml"))
    try:
        with torch.device("meta"):  # takes no memory, whatever the sizes
            require_shapes(path, UNet(**asdict(config)).state_dict())
        network = UNet(**asdict(config))
        network.load_state_dict(load_file(path))
    except SafetensorError as error:
        raise UserError(
            f"{path} is damaged or no safetensors file: {one_line(error, 200)}"
        ) from error
    return ForeignNetwork(network.eval().to(device), math.prod(config.strides))


def _load_onnx(path: Path, device: torch.device) -> ForeignNetwork:
    return ForeignNetwork(_OnnxNetwork(path), differentiable=False)


class _OnnxNetwork(nn.Module):
    """Runs an ONNX file on the CPU.

    Args:
        path: the file.

    Raises:
        UserError: it can't be loaded, or takes several inputs.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._session = path, open_session(path)
        names = [each.name for each in self._session.get_inputs()]
        if len(names) != 1 or not self._session.get_outputs():
            raise UserError(
                f"{path} takes {len(names)} inputs; give a network of one input, an image, and of "
                "one output, its scores"
            )
        (self._input,) = names

    def forward(self, batch: Tensor) -> Tensor:
        """The first output."""
        outputs = run_session(self._session, self._path, self._input, batch.cpu().numpy())
        return torch.from_numpy(outputs[0]).to(batch.device)


def _load_code(path: Path, device: torch.device) -> ForeignNetwork:
    """From TorchScript or `torch.export.save`; may do anything."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is not a TorchScript or torch.export file; give one of these")
    with zipfile.ZipFile(path) as archive:
        exported = any(name.endswith("models/model.json") for name in archive.namelist())
    with warnings.catch_warnings():  # about TorchScript's future, which users can't change
        warnings.simplefilter("ignore")
        if not exported:
            return ForeignNetwork(torch.jit.load(path, map_location=device).eval())
        logging.getLogger("torch.export").setLevel(logging.ERROR)
        return ForeignNetwork(torch.export.load(path).module().to(device))
