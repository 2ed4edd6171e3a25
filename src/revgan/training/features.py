"""A loss by the features that another network finds, such as a user's segmenter."""

from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from revgan.errors import UserError, one_line
from revgan.files import is_there
from revgan.networks.foreign import UNetConfig, load_network
from revgan.plain_yaml import read_yaml
from revgan.text import shell_word
from revgan.training.config import LossConfig

_trusted: set[str] = set()


def trust_class(path: str) -> None:
    """Allows this process to import a network's class, such as package.module.Network.

    A configuration isn't enough for that: it may be in a folder that came from somebody else, and
    importing a module runs its code.
    """
    _trusted.add(path)


class FeatureDistance:
    """The L1 distance between the features of two images (Johnson et al., 2016, without VGG).

    Args:
        network: from (B, C, *spatial) in [-1, 1] to a tensor, or to several, whose distances are
            added up.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval().requires_grad_(False)

    def __call__(self, image: Tensor, truth: Tensor) -> Tensor:
        """The distance, whose gradient reaches the image."""
        with torch.no_grad():
            wanted = self._features(truth)
        pairs = zip(self._features(image), wanted, strict=True)
        return torch.stack([F.l1_loss(made, known) for made, known in pairs]).sum()

    def _features(self, image: Tensor) -> Sequence[Tensor]:
        found = self.network(image)
        return [found] if isinstance(found, Tensor) else list(found)


def load_features(
    config: LossConfig, shape: Sequence[int], device: torch.device, *, weights: bool = True
) -> FeatureDistance | None:
    """The feature loss that a configuration asks for; None if it asks for none.

    Args:
        config: of the losses.
        shape: (C, *spatial) of what the network will take.
        device: where to run it.
        weights: whether to read them; without, memory can be planned under fake tensors.

    Raises:
        UserError: the network can't be loaded, its class isn't trusted, or it doesn't take such
            images.
    """
    if config.feature_network is None:
        return None
    path = Path(config.feature_network)
    if path.suffix.lower() != ".safetensors":
        raise UserError(
            f"losses.feature_network {path} isn't a .safetensors file; save the network's weights "
            "as one, with safetensors.torch.save_file"
        )
    if config.feature_class is not None:
        network = _of_class(config.feature_class, path, weights)
    elif weights:
        network = load_network(path, torch.device("cpu")).network
    else:
        from monai.networks.nets import UNet

        network = UNet(**asdict(UNetConfig.read(path.with_suffix(".yaml"))))
    features = FeatureDistance(network.to(device) if device.type != "cpu" else network)
    if weights:
        _try(features, path, torch.zeros(1, *shape, device=device))
    return features


def _of_class(name: str, path: Path, weights: bool) -> nn.Module:
    if name not in _trusted:
        raise UserError(
            f"losses.feature_class {name} is code that runs, and stands in a configuration; give "
            f"--losses.feature_class {shell_word(name)} on the command line, or add --trust if you "
            "know where the configuration is from"
        )
    module, _, kind = name.rpartition(".")
    arguments_file = path.with_suffix(".yaml")
    try:
        arguments = read_yaml(arguments_file) if is_there(arguments_file) else {}
        network: Any = getattr(import_module(module), kind)(**(arguments or {}))
        if weights:
            network.load_state_dict(load_file(path))
    except Exception as error:  # the user's code may raise anything
        raise UserError(
            f"losses.feature_class {name} can't be made with the weights {path}: "
            f"{one_line(error, 200)}"
        ) from error
    if not isinstance(network, nn.Module):
        raise UserError(
            f"losses.feature_class {name} isn't a class of torch.nn.Module; give one that is"
        )
    return network


def _try(features: FeatureDistance, path: Path, image: Tensor) -> None:
    try:
        distance = features(image, image)
    except Exception as error:
        raise UserError(
            f"losses.feature_network {path} doesn't take images of shape {tuple(image.shape)}: "
            f"{one_line(error, 200)}; give a network for losses.feature_domain at the size of "
            "data.crop"
        ) from error
    if not bool(distance.isfinite()):
        raise UserError(f"losses.feature_network {path} gives NaN or infinite features")
