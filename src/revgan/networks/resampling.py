"""How encoders halve and decoders double the resolution: the paper's way, and others."""

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor, nn

from revgan.networks.axes import FACTOR, scales_of
from revgan.networks.config import GeneratorConfig
from revgan.networks.layers import TRANSPOSED_CONVOLUTIONS, PaddedConv
from revgan.networks.resizing import Resize, ResizeConv


class PixelShuffle(nn.Module):
    """Turns channels into positions: (B, C * prod(scales), *spatial) to (B, C, *scaled).

    Neighbouring positions come from neighbouring channels, as in Shi et al. (2016); in 2D it is
    `torch.pixel_shuffle`.

    Args:
        scales: by what each axis is multiplied; None for 2.
    """

    def __init__(self, scales: Sequence[int] | None = None) -> None:
        super().__init__()
        self.scales = scales

    def forward(self, x: Tensor) -> Tensor:
        dims, (batch, _, *sizes) = x.ndim - 2, x.shape
        scales = scales_of(self, dims)
        cubes = x.reshape(batch, -1, *scales, *sizes)
        # The position inside a cube goes behind the cube's, axis by axis.
        order = [axis for i in range(2, 2 + dims) for axis in (i + dims, i)]
        made = (scale * size for scale, size in zip(scales, sizes, strict=True))
        return cubes.permute(0, 1, *order).reshape(batch, -1, *made)


class PixelUnshuffle(nn.Module):
    """Turns positions into channels: the inverse of `PixelShuffle`."""

    def __init__(self, scales: Sequence[int] | None = None) -> None:
        super().__init__()
        self.scales = scales

    def forward(self, x: Tensor) -> Tensor:
        dims, (batch, channels, *sizes) = x.ndim - 2, x.shape
        scales = scales_of(self, dims)
        fewer = [size // scale for size, scale in zip(sizes, scales, strict=True)]
        pairs = (n for pair in zip(fewer, scales, strict=True) for n in pair)
        cubes = x.reshape(batch, channels, *pairs)
        inside, cube = range(3, 3 + 2 * dims, 2), range(2, 2 + 2 * dims, 2)
        return cubes.permute(0, 1, *inside, *cube).reshape(batch, channels * prod(scales), *fewer)


def downsampling_layer(
    config: GeneratorConfig, spatial_dims: int, channels: int, scales: Sequence[int] | None = None
) -> nn.Module:
    """Halves axes and doubles the channels, by a 3x3 convolution.

    Args:
        config: of the generator.
        spatial_dims: 2 or 3.
        channels: before.
        scales: by what each axis is divided; None for 2.
    """
    padding, scales = config.downsampling_padding, tuple(scales or (FACTOR,) * spatial_dims)
    if config.downsampling == "strided":
        return PaddedConv(spatial_dims, channels, 2 * channels, 3, scales, padding)
    conv = PaddedConv(spatial_dims, channels * prod(scales), 2 * channels, 3, padding=padding)
    return nn.Sequential(PixelUnshuffle(scales), conv)


def upsampling_layer(
    config: GeneratorConfig, spatial_dims: int, channels: int, scales: Sequence[int] | None = None
) -> nn.Module:
    """Doubles axes and halves the channels; arguments as of `downsampling_layer`.

    In the paper it is a fractionally strided 3x3 convolution. Odena et al. (2016) recommend
    resizing and then convolving at stride 1; Shi et al. (2016) convolve at the lower resolution.
    """
    half, scales = channels // 2, tuple(scales or (FACTOR,) * spatial_dims)
    if config.upsampling == "transposed":
        # mypy can't see that the tuples have the length that the layer takes.
        make: Any = TRANSPOSED_CONVOLUTIONS[spatial_dims]
        kept = tuple(scale - 1 for scale in scales)
        layer: nn.Module = make(channels, half, 3, stride=scales, padding=1, output_padding=kept)
        return layer
    if config.upsampling == "subpixel":
        shuffled = half * prod(scales)
        return nn.Sequential(PaddedConv(spatial_dims, channels, shuffled, 3), PixelShuffle(scales))
    resize = Resize(bilinear=config.upsampling == "bilinear", scales=scales)
    return ResizeConv(resize, PaddedConv(spatial_dims, channels, half, 3))
