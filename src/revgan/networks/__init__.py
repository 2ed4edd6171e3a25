"""Generators and discriminators, written once for 2D and 3D."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from revgan.directions import Direction
from revgan.networks.config import DiscriminatorConfig, GeneratorConfig

if TYPE_CHECKING:
    from revgan.networks.building import build_generator
    from revgan.networks.discriminator import PatchDiscriminator
    from revgan.networks.generator import RevGenerator, TwoWayGenerator
    from revgan.networks.resnet import ResnetGenerator, ResnetPair

__all__ = [
    "Direction",
    "DiscriminatorConfig",
    "GeneratorConfig",
    "PatchDiscriminator",
    "ResnetGenerator",
    "ResnetPair",
    "RevGenerator",
    "TwoWayGenerator",
    "build_generator",
]

_HOMES = {
    "PatchDiscriminator": "discriminator",
    "ResnetGenerator": "resnet",
    "ResnetPair": "resnet",
    "RevGenerator": "generator",
    "TwoWayGenerator": "generator",
    "build_generator": "building",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # Imported on first use: configurations, and with them the help, do without PyTorch.
        if name in _HOMES:
            return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
