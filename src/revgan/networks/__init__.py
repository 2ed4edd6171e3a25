"""Generators and discriminators, written once for 2D and 3D."""

from revgan.networks.discriminator import DiscriminatorConfig, PatchDiscriminator
from revgan.networks.generator import Direction, GeneratorConfig, RevGenerator

__all__ = [
    "Direction",
    "DiscriminatorConfig",
    "GeneratorConfig",
    "PatchDiscriminator",
    "RevGenerator",
]
