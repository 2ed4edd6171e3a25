"""How encoders and decoders change the resolution."""

from math import prod

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from revgan.networks import GeneratorConfig, resizing
from revgan.networks.layers import CHANNELS_LAST, PaddedConv
from revgan.networks.resampling import (
    PixelShuffle,
    PixelUnshuffle,
    downsampling_layer,
    upsampling_layer,
)
from revgan.networks.resizing import Resize, ResizeConv


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


@st.composite
def resize_convs(draw):
    """A layer, the shape of an input, and how many parts and channels there are at a time."""
    dims = draw(st.integers(2, 3))
    scales = draw(st.lists(st.integers(1, 2), min_size=dims, max_size=dims))
    channels = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    conv = PaddedConv(dims, *channels, draw(st.sampled_from([1, 3, 5])))
    layer = ResizeConv(Resize(bilinear=draw(st.booleans()), scales=scales), conv)
    # Reflection needs more positions than it adds.
    sizes = [draw(st.integers(-(-3 // scale), 6)) for scale in scales]
    return layer, [draw(st.integers(1, 2)), channels[0], *sizes], draw(st.integers(1, 5))


@settings(max_examples=60, deadline=None)
@given(
    resize_convs(),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_resize_convs_are_their_layers_one_after_the_other_bit_for_bit(drawn, last, dtype, wanted):
    # Sums of small integers are exact in any order; bilinear weights are multiples of 1/4. In 16
    # bits, autocast computes in them.
    layer, shape, parts = drawn
    half = dtype in (torch.bfloat16, torch.float16)
    layer.to(torch.float32 if half else dtype)
    x = torch.randint(-1, 2, shape).to(layer.conv.conv.weight.dtype)
    if last:
        x = x.contiguous(memory_format=CHANNELS_LAST[x.ndim])
    inputs = [x, *layer.parameters()]
    for tensor, needed in zip(inputs, wanted, strict=True):
        tensor.data.copy_(torch.randint(-1, 2, tensor.shape))
        tensor.requires_grad_(needed)

    def run(layer):
        with torch.autocast("cpu", dtype if half else torch.bfloat16, enabled=half):
            y = layer(x)
        grad = (torch.arange(y.numel()).view(y.shape) % 3 - 1).to(y.dtype)
        learned = [t for t in inputs if t.requires_grad]
        return y, *(torch.autograd.grad(y, learned, grad) if learned else ())

    enlarged = x.numel() * prod(layer.resize.scales) * dtype.itemsize
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resizing, "PIECE", -(-enlarged // (2 * parts)))
        patch.setattr(resizing, "THINNEST", 1 + last)
        patch.setattr(resizing, "GROUP", 2 * dtype.itemsize)
        ours = run(layer)
    for mine, plain in zip(ours, run(nn.Sequential(*layer)), strict=True):
        assert mine.dtype == plain.dtype
        assert torch.equal(mine, plain)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_resize_convs_have_first_and_second_derivatives(monkeypatch, dims, upsampling):
    monkeypatch.setattr(resizing, "PIECE", 1)
    monkeypatch.setattr(resizing, "GROUP", 8)
    layer = upsampling_layer(GeneratorConfig(upsampling=upsampling), dims, 2).double()
    x = torch.randn(1, 2, *[2] * dims, dtype=torch.float64, requires_grad=True)
    inputs = x, *layer.parameters()

    def run(x, *weights):
        names = (name for name, _ in layer.named_parameters())
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), x).tanh()

    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


def test_resize_convs_show_hooks_what_their_layers_return():
    layer, seen = upsampling_layer(GeneratorConfig(upsampling="bilinear"), 2, 4), []
    layer[0].register_forward_hook(lambda _, __, y: seen.append(y.shape))
    layer(torch.randn(1, 4, 8, 8))
    assert seen == [(1, 4, 16, 16)]
