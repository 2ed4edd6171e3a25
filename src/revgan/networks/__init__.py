"""Generators and discriminators, written once for 2D and 3D."""

from revgan.directions import Direction
from revgan.networks.building import build_generator
from revgan.networks.config import DiscriminatorConfig, GeneratorConfig
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
