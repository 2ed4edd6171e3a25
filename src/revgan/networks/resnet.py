"""The ResNet generators of CycleGAN and pix2pix: RevGAN's baselines."""

from torch import Tensor, nn

from revgan.networks.generator import Generator
from revgan.networks.pair import GeneratorPair
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
        draw_weights(self, config, self.blocks, [self.decoder])

    def forward(self, x: Tensor) -> Tensor:
        """Translates x."""
        self._check_shape(x, self.in_channels, "the generator")
        h = self.encoder(x)
        for block in self.blocks:
            h = h + block(h)
        return with_skip(
            self.config, self.decoder(h), x
        ).contiguous()  # inside, the channels are last


class ResnetPair(GeneratorPair):
    """A `ResnetGenerator` for each direction; see `GeneratorPair`."""

    model = "resnet"
    one_way = ResnetGenerator
