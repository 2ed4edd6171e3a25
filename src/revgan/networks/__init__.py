"""Generators and discriminators, written once for 2D and 3D."""

from revgan.networks.discriminator import DiscriminatorConfig, PatchDiscriminator
from revgan.networks.generator import Direction, GeneratorConfig, RevGenerator
from revgan.networks.resnet import ResnetGenerator

__all__ = [
    "Direction",
    "DiscriminatorConfig",
    "GeneratorConfig",
    "PatchDiscriminator",
    "ResnetGenerator",
    "RevGenerator",
]
