"""How encoders and decoders change the resolution."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from revgan.networks import GeneratorConfig
from revgan.networks.layers import PaddedConv
from revgan.networks.resampling import (
    PixelShuffle,
    PixelUnshuffle,
    downsampling_layer,
    upsampling_layer,
)
from revgan.networks.resizing import Resize


def test_pixel_shuffling_of_images_is_pytorchs():
    x = torch.randn(2, 12, 3, 5)
    assert torch.equal(PixelShuffle()(x), F.pixel_shuffle(x, 2))
    y = torch.randn(2, 3, 6, 4)
    assert torch.equal(PixelUnshuffle()(y), F.pixel_unshuffle(y, 2))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_pixel_unshuffling_undoes_pixel_shuffling(spatial_dims):
    x = torch.randn(2, 3 * 2**spatial_dims, *[4] * spatial_dims)
    y = PixelShuffle()(x)
    assert y.shape == (2, 3, *[8] * spatial_dims)
    assert torch.equal(PixelUnshuffle()(y), x)


def test_pixel_shuffling_of_volumes_puts_eight_channels_into_one_cube():
    x = torch.arange(8.0).view(1, 8, 1, 1, 1)
    assert torch.equal(PixelShuffle()(x), torch.arange(8.0).view(1, 1, 2, 2, 2))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_resizing_repeats_or_interpolates(spatial_dims):
    ramp = torch.arange(4.0).view(1, 1, 4, *[1] * (spatial_dims - 1))
    ramp = ramp.expand(1, 1, *[4] * spatial_dims)

    def along_first_axis(y):
        return y[(0, 0, slice(None), *[3] * (spatial_dims - 1))].tolist()

    nearest, linear = (Resize(bilinear=bilinear)(ramp) for bilinear in (False, True))
    assert along_first_axis(nearest) == [0, 0, 1, 1, 2, 2, 3, 3]
    # Positions are centres of pixels: the new ones lie a quarter off the old ones.
    assert along_first_axis(linear) == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("downsampling", ["strided", "subpixel"])
@pytest.mark.parametrize("padding", ["reflect", "zeros"])
def test_downsampling_halves_sides_and_doubles_channels(spatial_dims, downsampling, padding):
    config = GeneratorConfig(downsampling=downsampling, downsampling_padding=padding)
    layer = downsampling_layer(config, spatial_dims, 3)
    assert layer(torch.randn(2, 3, *[8] * spatial_dims)).shape == (2, 6, *[4] * spatial_dims)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("upsampling", ["transposed", "subpixel", "nearest", "bilinear"])
def test_upsampling_doubles_sides_and_halves_channels(spatial_dims, upsampling):
    layer = upsampling_layer(GeneratorConfig(upsampling=upsampling), spatial_dims, 6)
    assert layer(torch.randn(2, 6, *[4] * spatial_dims)).shape == (2, 3, *[8] * spatial_dims)


def test_subpixel_layers_convolve_at_the_lower_resolution():
    config = GeneratorConfig(downsampling="subpixel", upsampling="subpixel")
    sizes = []
    for layer, size in (
        (downsampling_layer(config, 2, 4), 16),
        (upsampling_layer(config, 2, 4), 8),
    ):
        for conv in (m for m in layer.modules() if isinstance(m, PaddedConv)):
            conv.register_forward_hook(lambda _, inputs, y: sizes.append(inputs[0].shape[-1]))
        layer(torch.randn(1, 4, size, size))
    assert sizes == [8, 8]


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
def test_strided_convolutions_pad_as_asked(padding):
    layer = downsampling_layer(GeneratorConfig(downsampling_padding=padding), 2, 3)
    plain = nn.Conv2d(3, 6, 3, stride=2, padding=1, padding_mode=padding)
    plain.load_state_dict(layer.conv.state_dict())
    x = torch.randn(1, 3, 8, 6)
    # The same products, summed in an order that depends on the layout of the weights.
    assert torch.allclose(layer(x), plain(x), atol=1e-6)
