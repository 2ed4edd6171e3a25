"""The ResNet generator of CycleGAN and pix2pix, one per direction: what RevGAN is compared with."""

from typing import Literal

from torch import Tensor, nn

from revgan.networks.generator import DOWNSAMPLINGS, decoder, encoder, residual_function
from revgan.networks.layers import init_weights


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

    Shapes: (B, in_channels, *spatial) to (B, out_channels, *spatial), every spatial size a multiple
    of 4 from 8 up. Values in [-1, 1].
    """

    def __init__(
        self,
        spatial_dims: Literal[2, 3] = 2,
        in_channels: int = 3,
        out_channels: int = 3,
        width: int = 32,
        depth: int = 6,
    ) -> None:
        super().__init__()
        core_channels = width * 2**DOWNSAMPLINGS
        self.encoder = encoder(spatial_dims, in_channels, width)
        self.blocks = nn.ModuleList(
            residual_function(spatial_dims, core_channels) for _ in range(depth)
        )
        self.decoder = decoder(spatial_dims, out_channels, width)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Translates x."""
        x = self.encoder(x)
        for block in self.blocks:
            x = x + block(x)
        y: Tensor = self.decoder(x)
        return y.contiguous()  # inside, the channels are last
