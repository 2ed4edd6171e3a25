"""The PatchGAN discriminator, in the paper's form and in the released code's."""

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from revgan.networks.config import DiscriminatorConfig, DiscriminatorForm, Init, Norm
from revgan.networks.layers import conv, init_weights, norm_layers


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches as real or fake (Section 1.2, Figure 5; Isola et al., 2017).

    Returns logits: the paper's Sigmoid belongs to the loss (`revgan.training.losses`), where the
    two together are numerically stable.

    Args: see `DiscriminatorConfig`; `in_channels` are those of the judged image.

    Shapes: (B, in_channels, *spatial) to (B, 1, *patches). Sizes from `config.min_size` up.
    """

    def __init__(
        self,
        spatial_dims: Literal[2, 3] = 2,
        in_channels: int = 3,
        width: int = 64,
        form: DiscriminatorForm = "patch70",
        norm: Norm = "instance",
        init: Init = "normal",
    ) -> None:
        super().__init__()
        self.config = DiscriminatorConfig(form, width, norm, init)
        last_stride, head_kernel = (2, 1) if form == "paper" else (1, 4)
        channels = [in_channels, width, 2 * width, 4 * width, 8 * width]
        strides = [2, 2, 2, last_stride]
        layers: list[nn.Module] = []
        for level, (before, after) in enumerate(pairwise(channels)):
            layers.append(conv(spatial_dims, before, after, 4, strides[level]))
            if level > 0:
                layers += norm_layers(norm, spatial_dims, after)
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        layers.append(conv(spatial_dims, channels[-1], 1, head_kernel, 1))
        self.layers = nn.Sequential(*layers)
        init_weights(self, init)

    def forward(self, x: Tensor) -> Tensor:
        """The logit of "real" per patch."""
        logits: Tensor = self.layers(x)
        return logits
