"""The parts that the generators share: encoder, decoder, and what a block computes."""

from collections.abc import Iterable

from torch import Tensor, nn

from revgan.networks.axes import FACTOR, strides
from revgan.networks.config import GeneratorConfig
from revgan.networks.layers import Keep, PaddedConv, init_weights, norm_layers
from revgan.networks.recomputing import Recomputed
from revgan.networks.resampling import downsampling_layer, upsampling_layer
from revgan.networks.slabs import Slabs


def encoder(config: GeneratorConfig, spatial_dims: int, in_channels: int) -> nn.Sequential:
    """A convolution to K channels, then downsampling layers that double them."""
    first = PaddedConv(spatial_dims, in_channels, config.width, config.first_kernel)
    layers = _normalised(config, spatial_dims, first, config.width)
    for level in range(config.levels):
        channels = config.width * FACTOR**level
        scales = strides(config.halvings, level, config.levels, spatial_dims)
        down = downsampling_layer(config, spatial_dims, channels, scales)
        layers += _normalised(config, spatial_dims, down, 2 * channels)
    return _in_a_row(config, layers)


def residual_function(
    config: GeneratorConfig,
    spatial_dims: int,
    channels: int,
    out_channels: int | None = None,
    keep: Keep = "input",
) -> nn.Sequential:
    """What a block adds: f or g of a coupling (the paper's NN_1 and NN_2, Figure 2).

    Args:
        config: of the generator.
        spatial_dims: 2 or 3.
        channels: channels of the input.
        out_channels: channels of the output; by default the same.
        keep: see `PaddedConv`.
    """
    out_channels = out_channels or channels
    first = PaddedConv(spatial_dims, channels, channels, 3, keep=keep)
    last = PaddedConv(spatial_dims, channels, out_channels, 3, keep=keep)
    return nn.Sequential(
        *_normalised(config, spatial_dims, first, channels),
        *([nn.Dropout(config.dropout)] if config.dropout else []),
        last,
        *([] if config.identity_start else norm_layers(config.norm, spatial_dims, out_channels)),
    )


def decoder(config: GeneratorConfig, spatial_dims: int, out_channels: int) -> nn.Sequential:
    """Upsampling layers that halve the channels, then a convolution to the image, and tanh.

    With `skip`, tanh comes after the sum, in `with_skip`.
    """
    layers: list[nn.Module] = []
    for level in reversed(range(config.levels)):
        channels = config.width * FACTOR**level
        scales = strides(config.halvings, level, config.levels, spatial_dims)
        up = upsampling_layer(config, spatial_dims, 2 * channels, scales)
        layers += _normalised(config, spatial_dims, up, channels)
    keep: Keep = "padded" if config.memory == "lean" else "input"  # lean drops it at once
    last = PaddedConv(spatial_dims, config.width, out_channels, config.last_kernel, keep=keep)
    layers += [last, *([nn.Tanh()] if config.tanh and not config.skip else [])]
    return _in_a_row(config, layers, contiguous=True)


def with_skip(config: GeneratorConfig, y: Tensor, x: Tensor) -> Tensor:
    """The translation of x, given what the decoder makes of it."""
    if not config.skip:
        return y
    return (x + y).tanh() if config.tanh else x + y


def draw_weights(
    network: nn.Module,
    config: GeneratorConfig,
    functions: Iterable[nn.Module],
    decoders: Iterable[nn.Module],
) -> None:
    """Gives a network fresh weights; with `identity_start`, its blocks add nothing at first.

    With `skip` as well, decoders add nothing either, so that each translation starts as its input.

    Args:
        network: a generator with all its layers.
        config: of the generator.
        functions: the residual functions of the network's blocks.
        decoders: its decoders.
    """
    init_weights(network, config.init)
    if config.identity_start:
        for part in [*functions, *(decoders if config.skip else ())]:
            last = [layer for layer in part.modules() if isinstance(layer, PaddedConv)][-1]
            nn.init.zeros_(last.conv.weight)  # its bias is zero already


def _normalised(
    config: GeneratorConfig, spatial_dims: int, conv: nn.Module, channels: int
) -> list[nn.Module]:
    """The convolution, then normalisation and ReLU."""
    return [conv, *norm_layers(config.norm, spatial_dims, channels), nn.ReLU(inplace=True)]


def _in_a_row(
    config: GeneratorConfig, layers: Iterable[nn.Module], *, contiguous: bool = False
) -> nn.Sequential:
    if config.memory != "lean":
        return nn.Sequential(*layers)
    slabs = config.slabs or 0
    if slabs > 1:
        return Slabs(*layers, slabs=slabs, contiguous=contiguous)
    return Recomputed(*layers)
