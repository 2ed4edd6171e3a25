"""The ResNet generators of CycleGAN and pix2pix: RevGAN's baselines."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from revgan.directions import DIRECTIONS, Direction
from revgan.networks.generator import Generator, TwoWayGenerator
from revgan.networks.parts import decoder, draw_weights, encoder, residual_function, with_skip


class ResnetGenerator(Generator):
    """Encoder, residual blocks, decoder (Johnson et al., 2016; Zhu et al., CycleGAN, 2017).

    Encoder and decoder are those of `RevGenerator`; each of the `depth` blocks adds to its input a
    function of all its channels. It translates one way only.

    Args: see `Generator`.

    Shapes: (B, in_channels, *spatial) to (B, out_channels, *spatial), with sizes and values as for
    `TwoWayGenerator`.

    Example:
        >>> import torch
        >>> from revgan.networks import ResnetGenerator
        >>> generator = ResnetGenerator(3, in_channels=1, out_channels=2, width=4, depth=2)
        >>> generator(torch.rand(1, 1, 8, 8, 12)).shape
        torch.Size([1, 2, 8, 8, 12])
    """

    model = "resnet"

    def _add_layers(self) -> None:
        config, dims = self.config, self.spatial_dims
        self.encoder = encoder(config, dims, self.in_channels)
        self.blocks = nn.ModuleList(
            residual_function(config, dims, config.core_channels) for _ in range(config.depth)
        )
        self.decoder = decoder(config, dims, self.out_channels)
        draw_weights(self, config, self.blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Translates x."""
        self._check_shape(x, self.in_channels, "the generator")
        h = self.encoder(x)
        for block in self.blocks:
            h = h + block(h)
        return with_skip(
            self.config, self.decoder(h), x
        ).contiguous()  # inside, the channels are last


class ResnetPair(TwoWayGenerator):
    """A `ResnetGenerator` for each direction; the two share nothing.

    Trained with the unpaired objective they are CycleGAN; with the paired one, pix2pix both ways.

    Args:
        *arguments, **fields: see `Generator`.
        directions: the directions to have a generator for; training needs both.

    Shapes: see `TwoWayGenerator`.
    """

    model = "resnet"

    def __init__(
        self,
        *arguments: Any,
        directions: Sequence[Direction] = DIRECTIONS,
        **fields: Any,
    ) -> None:
        if not directions or not set(directions) <= set(DIRECTIONS):
            known = " and ".join(DIRECTIONS)
            raise ValueError(f"directions must be one or both of {known}, not {list(directions)}")
        self.directions = tuple(directions)
        super().__init__(*arguments, **fields)

    def _add_layers(self) -> None:
        self.generators = nn.ModuleDict()
        for direction in self.directions:
            self.generators[direction] = ResnetGenerator.from_config(
                self.config, self.spatial_dims, *self.channels(direction)
            )

    def forward(self, x: Tensor, direction: Direction = "AtoB") -> Tensor:
        """Translates x by the direction's own generator."""
        self._check(x, direction)
        return self.generators[direction](x)
