"""Weights from other code: the paper's released code, CycleGAN and pix2pix.

Their networks are chains of layers, padding, norms and activations included: ``model.4.weight``
belongs to the fifth. These are the chains that can be read (c: convolution, n: norm, -: neither):

    encoder             0-  1c 2n 3-  4c 5n 6-  7c 8n 9-
    function of a block 0-  1c 2n 3-  4-  5c 6n            with dropout, the second c is 6
    decoder             0c 1n 2-  3c 4n 5-  6-  7c 8-

The released code has a file each for encoders, core and decoders; core block i has the functions
``model.i.rev_block.rev_block.Fm`` (our f) and ``.Gm`` (g). A ResNet generator is one chain in one
file: encoder, blocks with ``conv_block``, decoder.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from revgan.directions import Direction
from revgan.errors import UserError, out_of_memory
from revgan.networks.config import GeneratorConfig, Norm
from revgan.networks.generator import RevGenerator
from revgan.networks.layers import BatchNorm, Convolution
from revgan.networks.resnet import ResnetGenerator, ResnetPair
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
"""What their blocks drop, if anything."""

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

    def norm(self) -> Norm:
        """The normalisation: only batch norm has weights, and only instance norm follows biases."""
        if "model.2.weight" in self.tensors:
            return "batch"
        return "instance" if "model.1.bias" in self.tensors else "none"

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
    generator = RevGenerator(
        _spatial_dims(kernel),
        in_channels,
        out_channels,
        width,
        _count(core, ".Fm.1.weight"),
        exact=False,
        **variant,
    )
    for part, weights in parts.items():
        module = getattr(generator, part)
        if isinstance(module, ReversibleSequential):
            layers = _core_layers(module)
        else:
            places = ENCODER if part.startswith("encoder") else DECODER
            layers = _layers(module, "model.", places)
        _load(weights, layers, generator.config)
    return generator


def import_resnets(generators: Mapping[Direction, Weights]) -> ResnetPair:
    """The ResNet generators of CycleGAN (both directions) or pix2pix (one), in 2D or 3D.

    Args:
        generators: the weights for one or both directions.

    Raises:
        UserError: they aren't from that code, not all from one training, or a U-Net's.
    """
    for weights in generators.values():
        if any(key.startswith("model.model.") for key in weights.tensors):
            raise UserError(
                f"{weights.path} is a U-Net, pix2pix's default, which revgan doesn't have; give a "
                "ResNet generator, such as --netG resnet_9blocks trains"
            )
    direction, first = next(iter(generators.items()))
    width, source, *kernel = first.convolution("model.1")
    depth = _count(first, ".conv_block.1.weight")
    last = FIRST_BLOCK + depth + DECODER[-1]
    target = first.convolution(f"model.{last}")[0]
    in_channels, out_channels = (source, target) if direction == "AtoB" else (target, source)
    pair = ResnetPair(
        _spatial_dims(kernel),
        in_channels,
        out_channels,
        width,
        depth,
        directions=tuple(generators),
        **_variant(first, first, f"model.{FIRST_BLOCK}.conv_block"),
    )
    for direction, weights in generators.items():
        generator = pair.generators[direction]
        assert isinstance(generator, ResnetGenerator)
        _load(weights, _resnet_layers(generator), pair.config)
    return pair


def _variant(first: Weights, blocks: Weights, function: str) -> dict[str, Any]:
    return {
        "norm": first.norm(),
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


def _resnet_layers(generator: ResnetGenerator) -> dict[str, nn.Module]:
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
    kind = "RevGAN" if config.model == "revgan" else "ResNet generator"
    network = f"isn't a {kind} of width {config.width}, depth {config.depth} and norm {config.norm}"
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
