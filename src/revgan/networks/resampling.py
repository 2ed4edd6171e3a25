"""How encoders halve and decoders double the resolution: the paper's way, and others."""

import torch.nn.functional as F
from torch import Tensor, nn

from revgan.networks.config import GeneratorConfig
from revgan.networks.layers import TRANSPOSED_CONVOLUTIONS, PaddedConv

SCALE = 2
"""Down- and upsampling layers change each side by this factor."""


class PixelShuffle(nn.Module):
    """Turns channels into positions: (B, C * 2**d, *spatial) to (B, C, *(2 * spatial)).

    Neighbouring positions come from neighbouring channels, as in Shi et al. (2016); in 2D it is
    `torch.pixel_shuffle`.
    """

    def forward(self, x: Tensor) -> Tensor:
        dims, (batch, channels, *sizes) = x.ndim - 2, x.shape
        cubes = x.reshape(batch, channels // SCALE**dims, *[SCALE] * dims, *sizes)
        # The position inside a cube goes behind the cube's, axis by axis.
        order = [axis for i in range(2, 2 + dims) for axis in (i + dims, i)]
        return cubes.permute(0, 1, *order).reshape(batch, -1, *(SCALE * size for size in sizes))


class PixelUnshuffle(nn.Module):
    """Turns positions into channels: the inverse of `PixelShuffle`."""

    def forward(self, x: Tensor) -> Tensor:
        dims, (batch, channels, *sizes) = x.ndim - 2, x.shape
        halved = [size // SCALE for size in sizes]
        cubes = x.reshape(batch, channels, *(n for half in halved for n in (half, SCALE)))
        inside, cube = range(3, 3 + 2 * dims, 2), range(2, 2 + 2 * dims, 2)
        return cubes.permute(0, 1, *inside, *cube).reshape(batch, channels * SCALE**dims, *halved)


class Resize(nn.Module):
    """Doubles each side by interpolation.

    Args:
        bilinear: whether to take the weighted mean of neighbours (trilinear for volumes), or the
            nearest one.
    """

    def __init__(self, *, bilinear: bool) -> None:
        super().__init__()
        self.bilinear = bilinear

    def forward(self, x: Tensor) -> Tensor:
        mode = ("bilinear" if x.ndim == 4 else "trilinear") if self.bilinear else "nearest"
        return F.interpolate(x, scale_factor=SCALE, mode=mode)

    def extra_repr(self) -> str:
        return f"bilinear={self.bilinear}"


def downsampling_layer(config: GeneratorConfig, spatial_dims: int, channels: int) -> nn.Module:
    """Halves each side and doubles the channels by a 3x3 convolution."""
    padding = config.downsampling_padding
    if config.downsampling == "strided":
        return PaddedConv(spatial_dims, channels, 2 * channels, 3, SCALE, padding)
    unshuffled = channels * SCALE**spatial_dims
    conv = PaddedConv(spatial_dims, unshuffled, 2 * channels, 3, padding=padding)
    return nn.Sequential(PixelUnshuffle(), conv)


def upsampling_layer(config: GeneratorConfig, spatial_dims: int, channels: int) -> nn.Module:
    """Doubles each side and halves the channels by a 3x3 convolution.

    In the paper it is a fractionally strided one. Odena et al. (2016) recommend resizing and then
    convolving at stride 1; Shi et al. (2016) convolve at the lower resolution.
    """
    half = channels // 2
    if config.upsampling == "transposed":
        return TRANSPOSED_CONVOLUTIONS[spatial_dims](
            channels, half, kernel_size=3, stride=SCALE, padding=1, output_padding=1
        )
    if config.upsampling == "subpixel":
        shuffled = half * SCALE**spatial_dims
        return nn.Sequential(PaddedConv(spatial_dims, channels, shuffled, 3), PixelShuffle())
    return nn.Sequential(
        Resize(bilinear=config.upsampling == "bilinear"),
        PaddedConv(spatial_dims, channels, half, 3),
    )
