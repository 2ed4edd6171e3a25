"""The ResNet generators of CycleGAN and pix2pix: what RevGAN is compared with."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from revgan.directions import DIRECTIONS, Direction
from revgan.networks.config import GeneratorConfig, MemoryChoice
from revgan.networks.generator import TwoWayGenerator
from revgan.networks.layers import init_weights
from revgan.networks.parts import decoder, encoder, residual_function, start_as_identity


class ResnetGenerator(nn.Module):
    """Encoder, residual blocks, decoder (Johnson et al., 2016; Zhu et al., CycleGAN, 2017).

    Encoder and decoder are those of `RevGenerator`; each of the `depth` blocks adds to its input a
    function of all 4K channels. It translates one way only.

    Args:
        spatial_dims: 2 for images, 3 for volumes.
        in_channels: channels of the input.
        out_channels: channels of the translation.
        width: K, channels after the first convolution.
        depth: number of residual blocks.
        **variant: further fields of `GeneratorConfig`.

    Shapes: as of `TwoWayGenerator`.
    """

    def __init__(
        self,
        spatial_dims: Literal[2, 3] = 2,
        in_channels: int = 3,
        out_channels: int = 3,
        width: int = 32,
        depth: int = 6,
        **variant: Any,
    ) -> None:
        super().__init__()
        config = GeneratorConfig("resnet", width, depth, **variant)
        self.encoder = encoder(config, spatial_dims, in_channels)
        self.blocks = nn.ModuleList(
            residual_function(config, spatial_dims, config.core_channels) for _ in range(depth)
        )
        self.decoder = decoder(config, spatial_dims, out_channels)
        init_weights(self, config.init)
        if config.identity_start:
            for block in self.blocks:
                start_as_identity(block)

    def forward(self, x: Tensor) -> Tensor:
        """Translates x."""
        x = self.encoder(x)
        for block in self.blocks:
            x = x + block(x)
        y: Tensor = self.decoder(x)
        return y.contiguous()  # inside, the channels are last


class ResnetPair(TwoWayGenerator):
    """One `ResnetGenerator` a direction, which share nothing.

    Trained with the unpaired objective they are CycleGAN; with the paired one, pix2pix both ways.

    Args:
        spatial_dims, in_channels, out_channels: see `TwoWayGenerator`.
        width, depth: of each generator.
        memory: every activation is stored: "naive" is the only mode.
        directions: those to have a generator for; training needs both.
        **variant: other fields of `GeneratorConfig` that a ResNet has.
    """

    def __init__(
        self,
        spatial_dims: Literal[2, 3] = 2,
        in_channels: int = 3,
        out_channels: int = 3,
        width: int = 32,
        depth: int = 6,
        memory: MemoryChoice = "naive",
        *,
        directions: Sequence[Direction] = DIRECTIONS,
        **variant: Any,
    ) -> None:
        config = GeneratorConfig("resnet", width, depth, memory=memory, **variant)
        super().__init__(spatial_dims, in_channels, out_channels, config)
        if not directions or not set(directions) <= set(DIRECTIONS):
            known = " and ".join(DIRECTIONS)
            raise ValueError(f"directions must be one or both of {known}, not {list(directions)}")
        self.generators = nn.ModuleDict()
        for direction in directions:
            channels = (in_channels, out_channels)
            source, target = channels if direction == "AtoB" else channels[::-1]
            self.generators[direction] = ResnetGenerator(
                spatial_dims, source, target, width, depth, **variant
            )

    @property
    def directions(self) -> tuple[Direction, ...]:
        return tuple(self.generators)  # type: ignore[arg-type]  # ModuleDict's keys are plain str

    def _translate(self, x: Tensor, direction: Direction) -> Tensor:
        y: Tensor = self.generators[direction](x)
        return y
