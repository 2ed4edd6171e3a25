"""From a configuration to a generator of the model that it names."""

from typing import Literal

from revgan.networks.config import GeneratorConfig, Model
from revgan.networks.generator import RevGenerator, TwoWayGenerator
from revgan.networks.resnet import ResnetPair
from revgan.networks.unet import UnetPair

GENERATORS: dict[Model, type[TwoWayGenerator]] = {
    kind.model: kind for kind in (RevGenerator, ResnetPair, UnetPair)
}


def build_generator(
    config: GeneratorConfig, spatial_dims: Literal[2, 3], in_channels: int, out_channels: int
) -> TwoWayGenerator:
    """A generator with fresh weights, between domain A (`in_channels`) and B (`out_channels`).

    Raises:
        ValueError: `memory` is "auto", which the planner (`revgan.training.choosing`) must replace.
    """
    kind = GENERATORS[config.model]
    return kind.from_config(config, spatial_dims, in_channels, out_channels)
