"""The PatchGAN discriminator, in the paper's form and in the released code's."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, Self

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as normalise_spectrally

from revgan.networks.axes import FACTOR, PerAxis, strides
from revgan.networks.config import Init, Norm
from revgan.networks.discriminator_config import DiscriminatorConfig, DiscriminatorForm
from revgan.networks.layers import conv, init_weights, norm_layers
from revgan.networks.slabs import Slabs


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches as real or fake (Section 1.2, Figure 5; Isola et al., 2017).

    Returns logits: the paper's Sigmoid is part of the loss (`adversarial_loss`), as the two are
    only numerically stable together.

    Args:
        spatial_dims: 2 for images, 3 for volumes.
        in_channels: channels of the judged image.
        width, form, norm, init, downsamplings, spectral_norm: see `DiscriminatorConfig`.
        slabs: into how many slabs to cut what it judges, as `GeneratorConfig.slabs` does; with 2 or
            more, it has first derivatives only.

    Shapes: (B, in_channels, *spatial) to (B, 1, *patches). Sizes from `config.min_sizes` up.

    Example:
        >>> import torch
        >>> from revgan.networks import PatchDiscriminator
        >>> judge = PatchDiscriminator(spatial_dims=2, in_channels=3, width=4)
        >>> judge(torch.rand(1, 3, 64, 64)).shape  # a logit for each patch of 70 x 70 pixels
        torch.Size([1, 1, 6, 6])
    """

    def __init__(
        self,
        spatial_dims: Literal[2, 3] = 2,
        in_channels: int = 3,
        width: int = 64,
        form: DiscriminatorForm = "patch70",
        norm: Norm = "instance",
        init: Init = "normal",
        downsamplings: PerAxis | None = None,
        spectral_norm: bool = False,
        slabs: int = 0,
    ) -> None:
        config = DiscriminatorConfig(form, width, norm, init, downsamplings, spectral_norm)
        self._build(config, spatial_dims, in_channels, slabs)

    @classmethod
    def from_config(
        cls,
        config: DiscriminatorConfig,
        spatial_dims: Literal[2, 3],
        in_channels: int,
        slabs: int = 0,
    ) -> Self:
        """A discriminator from a whole configuration instead of its fields."""
        judge = cls.__new__(cls)  # not __init__, which would make another configuration
        judge._build(config, spatial_dims, in_channels, slabs)
        return judge

    def _build(
        self,
        config: DiscriminatorConfig,
        spatial_dims: Literal[2, 3],
        in_channels: int,
        slabs: int,
    ) -> None:
        super().__init__()
        self.config = config
        channels = [in_channels, *(config.width * factor for factor in (1, 2, 4, 8))]
        layers: list[nn.Module] = []
        for level, (before, after) in enumerate(pairwise(channels)):
            kernel: PerAxis = 4
            step: PerAxis = 1
            if level < config.levels:
                step = strides(config.halvings, level, config.levels, spatial_dims)
                kernel = tuple(4 if each == FACTOR else 3 for each in step)
            layers.append(conv(spatial_dims, before, after, kernel, step))
            if level > 0:
                layers += norm_layers(config.norm, spatial_dims, after)
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        layers.append(conv(spatial_dims, channels[-1], 1, 1 if config.form == "paper" else 4, 1))
        self.layers = (
            Slabs(*layers, slabs=slabs, kept=True) if slabs > 1 else nn.Sequential(*layers)
        )
        init_weights(self, config.init)
        if config.spectral_norm:
            for layer in self.layers:
                if isinstance(layer, nn.Conv2d | nn.Conv3d):
                    normalise_spectrally(layer)

    def forward(self, x: Tensor) -> Tensor:
        """The logit of "real" per patch."""
        return self.layers(x)

    def patches(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """How many patches it judges along each axis of an image of this size."""
        sizes = tuple(spatial)
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d | nn.Conv3d):
                pads: Any = layer.padding  # numbers, as `conv` gives it
                around = zip(sizes, pads, layer.kernel_size, layer.stride, strict=True)
                sizes = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in around)
        return sizes
