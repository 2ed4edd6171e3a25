"""Weights from other code: the paper's released code, CycleGAN and pix2pix.

Their networks are chains of layers, padding, norms and activations included: ``model.4.weight``
belongs to the fifth. These are the chains that can be read (c: convolution, n: norm, -: neither):

    encoder             0-  1c 2n 3-  4c 5n 6-  7c 8n 9-
    function of a block 0-  1c 2n 3-  4-  5c 6n            with dropout, the second c is 6
    decoder             0c 1n 2-  3c 4n 5-  6-  7c 8-

The released code has a file each for encoders, core and decoders; core block i has the functions
``model.i.rev_block.rev_block.Fm`` (our f) and ``.Gm`` (g). A ResNet generator is one chain in one
file: encoder, blocks with ``conv_block``, decoder. A U-Net is a chain of levels in each other:

    outermost level     0c 1-> 2- 3c 4-                    the arrow is the next level
    others              0- 1c 2n 3-> 4- 5c 6n              dropout, if any, is 7
    innermost level     0- 1c 2- 3c 4n
"""

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from revgan.directions import Direction
from revgan.errors import UserError, out_of_memory
from revgan.networks.config import DROPPED_FROM, UNET_DOWNSAMPLINGS, GeneratorConfig, Norm
from revgan.networks.generator import RevGenerator, TwoWayGenerator
from revgan.networks.layers import BatchNorm, Convolution
from revgan.networks.pair import GeneratorPair
from revgan.networks.resnet import ResnetGenerator, ResnetPair
from revgan.networks.unet import UnetGenerator, UnetPair
from revgan.reversible import ReversibleSequential

REVGAN_FILES = {
    "encoder_a": "G_A_enc",
    "core": "G_core",
    "decoder_b": "G_A_dec",
    "encoder_b": "G_B_enc",
    "decoder_a": "G_B_dec",
}
"""The released code's names for the parts of a `RevGenerator`; there, A in a name means AtoB."""

CYCLEGAN_FILES: dict[Direction, str] = {"AtoB": "G_A", "BtoA": "G_B"}
"""CycleGAN's names for the generators of both directions."""

PIX2PIX_FILE = "G"
"""Pix2pix's name for its one generator, of either direction."""

ENCODER = (1, 4, 7)
DECODER = (0, 3, 7)
FUNCTION, FUNCTION_WITH_DROPOUT = (1, 5), (1, 6)
FIRST_BLOCK = 10
"""Places of the convolutions in their chain, and of the first block in a ResNet's."""

DROPOUT = 0.5
"""What their blocks drop, if anything; U-Nets don't show it, and pix2pix's usually have it."""

UNET = "model.model."
"""What the names in a U-Net begin with."""

RUNNING_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class Weights:
    """A state dict that other code wrote.

    Attributes:
        path: the file it is from.
        tensors: by their names in the file, without a leading ``module.``.
    """

    path: Path
    tensors: dict[str, Tensor]

    def convolution(self, name: str) -> torch.Size:
        """The shape of a convolution's weight: channels out, channels in, *kernel.

        Raises:
            UserError: there is no such weight.
        """
        key = f"{name}.weight"
        if key not in self.tensors:
            raise _misfit(self, f"has no {key}")
        shape = self.tensors[key].shape
        if len(shape) not in (4, 5) or 0 in shape:
            raise _misfit(self, f"has {key} of shape {tuple(shape)}, which isn't a convolution's")
        return shape

    def norm(self, chain: str, norm: int = 2) -> Norm:
        """The normalisation: only batch norm has weights, and only instance norm follows biases.

        Args:
            chain: what the names of a chain begin with, whose convolution is at 1.
            norm: the place of a norm in it.
        """
        if f"{chain}{norm}.weight" in self.tensors:
            return "batch"
        return "instance" if f"{chain}1.bias" in self.tensors else "none"

    def dropout(self, function: str) -> float:
        """The dropout in a block's function of this name."""
        places = [place for place in (5, 6) if f"{function}.{place}.weight" in self.tensors]
        return DROPOUT if places == [6] else 0.0


def read_weights(path: Path) -> Weights:
    """Reads a state dict that ``torch.save`` wrote, and runs no code that may be in it.

    Raises:
        UserError: the file holds anything else, or is damaged.
        OSError: it can't be opened.
    """
    with path.open("rb") as file:
        try:
            with warnings.catch_warnings():  # of what is refused in any case
                warnings.simplefilter("ignore")
                content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # damage shows in errors of many kinds
            if out_of_memory(error):
                raise
            raise UserError(
                f"{path} can't be read as weights: it is damaged, or holds more than tensors, "
                "which revgan refuses to load; give a file that holds a network's state_dict()"
            ) from error
    tensors = content if isinstance(content, dict) else {}
    if not tensors or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in tensors.items()
    ):
        raise UserError(
            f"{path} holds no named tensors; give a file that holds a network's state_dict()"
        )
    return Weights(path, {key.removeprefix("module."): value for key, value in tensors.items()})


def import_revgan(parts: Mapping[str, Weights]) -> RevGenerator:
    """The generator of the paper's released code, unpaired or paired, in 2D or 3D.

    It computes plain sums (``exact=False``) and pads strided convolutions with zeros, as there.

    Args:
        parts: the weights of each part, by the keys of `REVGAN_FILES`.

    Raises:
        UserError: they aren't from that code, or not all from one training.
    """
    first, core = parts["encoder_a"], parts["core"]
    width, in_channels, *kernel = first.convolution("model.1")
    out_channels = parts["decoder_b"].convolution("model.7")[0]
    variant = _variant(first, core, "model.0.rev_block.rev_block.Fm")

    def make() -> RevGenerator:
        return RevGenerator(
            _spatial_dims(kernel),
            in_channels,
            out_channels,
            width,
            _count(core, ".Fm.1.weight"),
            exact=False,
            **variant,
        )

    def fill(generator: RevGenerator) -> None:
        for part, weights in parts.items():
            module = getattr(generator, part)
            if isinstance(module, ReversibleSequential):
                layers = _core_layers(module)
            else:
                places = ENCODER if part.startswith("encoder") else DECODER
                layers = _layers(module, "model.", places)
            _load(weights, layers, generator.config)

    return _filled(make, fill, first)


def import_pair(generators: Mapping[Direction, Weights]) -> GeneratorPair:
    """The generators of CycleGAN (both directions) or pix2pix (one), in 2D or 3D.

    Args:
        generators: the weights for one or both directions, of ResNets or of U-Nets.

    Raises:
        UserError: they aren't from that code, or not all from one training.
    """
    first = next(iter(generators.values()))
    is_unet = any(key.startswith(UNET) for key in first.tensors)
    return (_import_unets if is_unet else _import_resnets)(generators)


def _import_unets(generators: Mapping[Direction, Weights]) -> UnetPair:
    direction, first = next(iter(generators.items()))
    width, source, *kernel = first.convolution(f"{UNET}0")
    target = first.convolution(f"{UNET}3")[1]  # transposed: channels in, channels out
    levels = next(n for n in count(1) if f"{_level(n)}1.weight" not in first.tensors)
    fewest, most = UNET_DOWNSAMPLINGS
    if not fewest <= levels <= most:
        raise _misfit(first, f"has {levels} levels, but U-Nets from {fewest} to {most} here")
    in_channels, out_channels = (source, target) if direction == "AtoB" else (target, source)

    def make() -> UnetPair:
        return UnetPair(
            _spatial_dims(kernel),
            in_channels,
            out_channels,
            width,
            directions=tuple(generators),
            downsamplings=levels,
            norm=first.norm(_level(levels - 1), 4),
            dropout=DROPOUT if levels > DROPPED_FROM + 1 else 0.0,
        )

    return _filled_pair(make, _unet_layers, generators)


def _level(number: int) -> str:
    """What the names of a U-Net's level begin with, the outermost of which is 0."""
    return UNET if number == 0 else f"{UNET}1.model." + "3.model." * (number - 1)


def _unet_layers(generator: nn.Module) -> dict[str, nn.Module]:
    assert isinstance(generator, UnetGenerator)
    layers: dict[str, nn.Module] = {}
    innermost = len(generator.encoder) - 1
    for level, (down, up) in enumerate(
        zip(generator.encoder, reversed(generator.decoder), strict=True)
    ):
        behind = 3 if level in (0, innermost) else 5
        layers |= _layers(down, _level(level), [1 if level else 0])
        layers |= _layers(up, _level(level), [behind])
    return layers


def _import_resnets(generators: Mapping[Direction, Weights]) -> ResnetPair:
    direction, first = next(iter(generators.items()))
    width, source, *kernel = first.convolution("model.1")
    depth = _count(first, ".conv_block.1.weight")
    last = FIRST_BLOCK + depth + DECODER[-1]
    target = first.convolution(f"model.{last}")[0]
    in_channels, out_channels = (source, target) if direction == "AtoB" else (target, source)

    def make() -> ResnetPair:
        return ResnetPair(
            _spatial_dims(kernel),
            in_channels,
            out_channels,
            width,
            depth,
            directions=tuple(generators),
            **_variant(first, first, f"model.{FIRST_BLOCK}.conv_block"),
        )

    return _filled_pair(make, _resnet_layers, generators)


Made = TypeVar("Made", bound=TwoWayGenerator)


def _filled(make: Callable[[], Made], fill: Callable[[Made], None], first: Weights) -> Made:
    """A generator with the weights of files, once it is known without taking memory that they fit.

    Args:
        make: makes one with fresh weights.
        fill: copies weights into it, and refuses what doesn't fit.
        first: the weights that decided its sizes.
    """
    try:
        with torch.device("meta"):
            fill(make())
        generator = make()
    except ValueError as error:
        raise _misfit(first, f"has sizes that no generator here has: {error}") from error
    fill(generator)
    return generator


Pair = TypeVar("Pair", bound=GeneratorPair)


def _filled_pair(
    make: Callable[[], Pair],
    layers_of: Callable[[nn.Module], dict[str, nn.Module]],
    generators: Mapping[Direction, Weights],
) -> Pair:
    """As `_filled`, for a generator per direction."""

    def fill(pair: Pair) -> None:
        for direction, weights in generators.items():
            _load(weights, layers_of(pair.generators[direction]), pair.config)

    return _filled(make, fill, next(iter(generators.values())))


def _variant(first: Weights, blocks: Weights, function: str) -> dict[str, Any]:
    return {
        "norm": first.norm("model."),
        "dropout": blocks.dropout(function),
        "downsampling_padding": "zeros",
        "memory": "naive",
    }


def _spatial_dims(kernel: list[int]) -> Literal[2, 3]:
    return 2 if len(kernel) == 2 else 3


def _count(weights: Weights, ending: str) -> int:
    return sum(key.endswith(ending) for key in weights.tensors)


def _core_layers(core: ReversibleSequential) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {}
    for number, block in enumerate(core):
        for name, function in (("Fm", block.f), ("Gm", block.g)):
            prefix = f"model.{number}.rev_block.rev_block.{name}."
            layers |= _layers(function, prefix, _function_places(function))
    return layers


def _resnet_layers(generator: nn.Module) -> dict[str, nn.Module]:
    assert isinstance(generator, ResnetGenerator)
    layers = _layers(generator.encoder, "model.", ENCODER)
    for number, block in enumerate(generator.blocks, FIRST_BLOCK):
        layers |= _layers(block, f"model.{number}.conv_block.", _function_places(block))
    behind = FIRST_BLOCK + len(generator.blocks)
    return layers | _layers(generator.decoder, "model.", [behind + place for place in DECODER])


def _function_places(function: nn.Module) -> tuple[int, ...]:
    drops = any(isinstance(layer, nn.Dropout) for layer in function.modules())
    return FUNCTION_WITH_DROPOUT if drops else FUNCTION


def _layers(part: nn.Module, prefix: str, places: Iterable[int]) -> dict[str, nn.Module]:
    """Our convolutions and batch norms by their names there; a norm follows its convolution."""
    layers: dict[str, nn.Module] = {}
    remaining, place = iter(places), 0
    for layer in part.modules():
        if isinstance(layer, Convolution):
            place = next(remaining)
            layers[f"{prefix}{place}"] = layer
        elif isinstance(layer, BatchNorm):
            layers[f"{prefix}{place + 1}"] = layer
    return layers


def _load(weights: Weights, layers: Mapping[str, nn.Module], config: GeneratorConfig) -> None:
    """Copies the weights into our layers.

    Statistics of instance norms are dropped: that code normalises by each image's own. A bias that
    is missing stays zero: with batch norm, or without norms, that code leaves biases out.
    """
    kind = {"revgan": "RevGAN", "resnet": "ResNet generator", "unet": "U-Net"}[config.model]
    network = f"isn't a {kind} of {config.size} and norm {config.norm}"
    left = dict(weights.tensors)
    for name, layer in layers.items():
        bare = isinstance(layer, Convolution) and config.norm != "instance"
        for entry, ours in layer.state_dict().items():
            key = f"{name}.{entry}"
            if key in left:
                theirs = left.pop(key)
                if theirs.shape != ours.shape:
                    shapes = f"{tuple(theirs.shape)}, not {tuple(ours.shape)}"
                    raise _misfit(weights, f"{network}: its {key} has shape {shapes}")
                ours.copy_(theirs)
            # PyTorch hasn't always counted batches, and nothing here depends on it.
            elif not (entry == "num_batches_tracked" or (bare and entry == "bias")):
                raise _misfit(weights, f"{network}: it has no {key}")
    for key in left:
        if config.norm == "batch" or not key.endswith(RUNNING_STATISTICS):
            raise _misfit(weights, f"{network}: it also has {key!r}")


def _misfit(weights: Weights, what: str) -> UserError:
    return UserError(
        f"{weights.path} {what}; give a checkpoint of the original code, all files of one training"
    )
