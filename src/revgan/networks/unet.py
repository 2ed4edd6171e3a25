"""Pix2pix's own generator, a U-Net."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from revgan.networks.axes import FACTOR, strides
from revgan.networks.config import DROPPED_FROM
from revgan.networks.generator import Generator
from revgan.networks.layers import TRANSPOSED_CONVOLUTIONS, conv, norm_layers
from revgan.networks.pair import GeneratorPair
from revgan.networks.parts import draw_weights, with_skip

WIDEST = 8
"""Times the width: the most channels of a level, and what upsampling layers with dropout have."""

SLOPE = 0.2
"""Of the encoder's leaky ReLUs, below 0."""


class UnetGenerator(Generator):
    """Encoder and decoder with a connection at each level (Isola et al., pix2pix, 2017, 6.1.1).

    Level l halves the resolution to the l-th power of 1/2 by a convolution with kernels of 4, and
    has `width` channels, doubled from level to level up to 8 times as many. The decoder goes back
    up by transposed convolutions, each of which sees what the level above made and, beside it, what
    the encoder had there. The outermost layers have no norm, and neither has the encoder's
    innermost, which may end with one position. Layers and places of norms and dropout are those of
    pix2pix's code, whose weights fit (`revgan import`). It translates one way only.

    Args: see `Generator`; it has no blocks, and so no depth. Without `downsamplings` there are 8.

    Shapes: (B, in_channels, *spatial) to (B, out_channels, *spatial), with sizes and values as for
    `TwoWayGenerator`.

    Example:
        >>> import torch
        >>> from revgan.networks import UnetGenerator
        >>> generator = UnetGenerator(in_channels=3, out_channels=1, width=4, downsamplings=5)
        >>> generator(torch.rand(1, 3, 64, 96)).shape
        torch.Size([1, 1, 64, 96])
    """

    model = "unet"

    def _add_layers(self) -> None:
        config, dims = self.config, self.spatial_dims
        innermost = config.levels - 1
        channels = [config.width * min(FACTOR**level, WIDEST) for level in range(config.levels)]
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        for level in range(config.levels):
            scales = strides(config.halvings, level, config.levels, dims)
            before = channels[level - 1] if level else self.in_channels
            normed = 0 < level < innermost
            norm = norm_layers(config.norm, dims, channels[level]) if normed else []
            # The next level changes its input in place, to what the decoder's ReLU makes the same
            # of: above 0, a leaky ReLU does nothing.
            leaky = [nn.LeakyReLU(SLOPE, inplace=True)] if level else []
            kernel = tuple(_side(scale) for scale in scales)
            down = conv(dims, before, channels[level], kernel, scales)
            self.encoder.append(nn.Sequential(*leaky, down, *norm))

            seen = channels[level] * (1 if level == innermost else 2)
            made = before if level else self.out_channels
            up = _transposed(dims, seen, made, scales)
            behind = norm_layers(config.norm, dims, made) if level else []
            if config.dropout and DROPPED_FROM <= level < innermost:
                behind.append(nn.Dropout(config.dropout))
            self.decoder.insert(0, nn.Sequential(nn.ReLU(inplace=True), up, *behind))
        self.end = nn.Tanh() if config.tanh and not config.skip else nn.Identity()
        draw_weights(self, config, (), ())  # identity_start isn't for U-Nets

    def forward(self, x: Tensor) -> Tensor:
        """Translates x."""
        self._check_shape(x, self.in_channels, "the generator")
        seen: list[Tensor] = []
        h = x
        for down in self.encoder:
            h = down(h)
            seen.append(h)
        y = seen.pop()
        for number, up in enumerate(self.decoder):
            y = up(y if number == 0 else torch.cat([seen.pop(), y], dim=1))
        return with_skip(self.config, self.end(y), x).contiguous()  # inside, the channels are last


class UnetPair(GeneratorPair):
    """A `UnetGenerator` for each direction; see `GeneratorPair`."""

    model = "unet"
    one_way = UnetGenerator


def _side(scale: int) -> int:
    """Of the kernel along an axis that is halved, or, in thin volumes, not."""
    return 4 if scale == FACTOR else 3


def _transposed(dims: int, channels: int, made: int, scales: Sequence[int]) -> nn.Module:
    """A transposed convolution that undoes the sizes of a convolution of these strides."""
    # mypy can't see that the tuples have the length that the layer takes.
    make: Any = TRANSPOSED_CONVOLUTIONS[dims]
    sides = tuple(_side(scale) for scale in scales)
    layer: nn.Module = make(channels, made, sides, stride=tuple(scales), padding=1)
    return layer
