"""Generators and discriminators, written once for 2D and 3D."""

from typing import TYPE_CHECKING

from revgan.directions import Direction
from revgan.faces import face
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
    # Imported on first use: configurations, and with them the help, do without PyTorch.
    __getattr__ = face(__name__, _HOMES)
