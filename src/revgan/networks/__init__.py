"""Generators and discriminators, written once for 2D and 3D."""

from typing import TYPE_CHECKING

from revgan.directions import Direction
from revgan.faces import face
from revgan.networks.config import GeneratorConfig
from revgan.networks.discriminator_config import DiscriminatorConfig

if TYPE_CHECKING:
    from revgan.networks.building import build_generator
    from revgan.networks.discriminator import PatchDiscriminator
    from revgan.networks.generator import RevGenerator, TwoWayGenerator
    from revgan.networks.pair import GeneratorPair
    from revgan.networks.resnet import ResnetGenerator, ResnetPair
    from revgan.networks.unet import UnetGenerator, UnetPair

__all__ = [
    "Direction",
    "DiscriminatorConfig",
    "GeneratorConfig",
    "GeneratorPair",
    "PatchDiscriminator",
    "ResnetGenerator",
    "ResnetPair",
    "RevGenerator",
    "TwoWayGenerator",
    "UnetGenerator",
    "UnetPair",
    "build_generator",
]

_HOMES = {
    "GeneratorPair": "pair",
    "PatchDiscriminator": "discriminator",
    "ResnetGenerator": "resnet",
    "ResnetPair": "resnet",
    "RevGenerator": "generator",
    "TwoWayGenerator": "generator",
    "UnetGenerator": "unet",
    "UnetPair": "unet",
    "build_generator": "building",
}

if not TYPE_CHECKING:
    # Imported on first use: configurations, and with them the help, do without PyTorch.
    __getattr__ = face(__name__, _HOMES)
