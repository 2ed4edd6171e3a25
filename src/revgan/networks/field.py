"""The vector field of a continuous-depth core."""

import torch
from torch import Tensor, nn

from revgan.networks.config import GeneratorConfig
from revgan.networks.layers import InstanceNorm, PaddedConv
from revgan.networks.parts import residual_function


class TimeField(nn.Module):
    """A residual block's function of all channels that also depends on the time: v(t, h).

    It is the function of a ResNet's block, except that each normalised feature map is scaled and
    shifted by an affine function of the time. (A constant channel that holds the time, as in Chen
    et al.'s networks, would be removed by instance norm.) A fresh field ignores the time.

    Args:
        config: of the generator.
        spatial_dims: 2 or 3.
        channels: of h.

    Shapes: (B, channels, *spatial) to the same.
    """

    def __init__(self, config: GeneratorConfig, spatial_dims: int, channels: int) -> None:
        super().__init__()
        layers = list(residual_function(config, spatial_dims, channels, keep="padded"))
        modulated = InstanceNorm if config.norm == "instance" else PaddedConv
        self.layers = nn.ModuleList()
        for layer in layers:
            self.layers.append(layer)
            if isinstance(layer, modulated):
                self.layers.append(TimeModulation(spatial_dims, channels))

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """The derivative of h at a time, a number without dimensions."""
        for layer in self.layers:
            h = layer(t, h) if isinstance(layer, TimeModulation) else layer(h)
        return h


class TimeModulation(nn.Module):
    """Scales each channel by 1 + t * scale and adds t * shift to it; both start at 0."""

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        shape = (channels, *[1] * spatial_dims)
        self.scale = nn.Parameter(torch.zeros(shape))
        self.shift = nn.Parameter(torch.zeros(shape))

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        return h * (1 + t * self.scale) + t * self.shift
