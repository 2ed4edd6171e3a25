"""The RevGAN generator: two encoders and two decoders around one reversible core."""

from dataclasses import asdict, dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from revgan.networks.layers import (
    InstanceNorm,
    Keep,
    ReflectConv,
    init_weights,
    normalised,
    upsampling_conv,
)
from revgan.reversible import AdditiveCoupling, ReversibleSequential

Direction = Literal["AtoB", "BtoA"]
Memory = Literal["naive", "reversible", "lean"]
MemoryChoice = Literal["auto", "naive", "reversible", "lean"]

DOWNSAMPLINGS = 2
"""The encoder halves the resolution twice (Section 1.1)."""


@dataclass(frozen=True)
class GeneratorConfig:
    """The generator's architecture.

    Attributes:
        width: K, channels after the first convolution; the core has 4K.
        depth: R, reversible blocks in the core.
        memory: "naive" stores every activation; "reversible" recomputes the core's in the backward
            pass; "lean" recomputes those of encoders and decoders as well. "auto" takes the fastest
            that fits into the device's free memory. Results are the same.
        stored_blocks: how many blocks of the core store their activations all the same, in
            "reversible" and "lean"; "auto" decides this too.
    """

    width: int = 32
    depth: int = 6
    memory: MemoryChoice = "auto"
    stored_blocks: int = 0

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be 1 or more, not {self.width}")
        if self.depth < 0:
            raise ValueError(f"depth must be 0 or more, not {self.depth}")
        if self.memory not in get_args(MemoryChoice):
            known = ", ".join(get_args(MemoryChoice))
            raise ValueError(f"memory must be one of {known}, not {self.memory!r}")
        if not 0 <= self.stored_blocks <= self.depth:
            raise ValueError(
                f"stored_blocks must be from 0 to depth, {self.depth}, not {self.stored_blocks}"
            )
        if self.stored_blocks and self.memory in ("auto", "naive"):
            raise ValueError(
                f"stored_blocks must be 0 with memory {self.memory}, not {self.stored_blocks}; "
                "only reversible and lean take such a number"
            )

    def build(
        self, spatial_dims: Literal[2, 3], in_channels: int, out_channels: int
    ) -> "RevGenerator":
        """A generator with fresh weights between domains of these channels.

        Raises:
            ValueError: `memory` is still "auto"; the planner (`revgan.training.planning`) decides.
        """
        return RevGenerator(spatial_dims, in_channels, out_channels, **asdict(self))


class RevGenerator(nn.Module):
    """Translates A to B forwards and B to A backwards through one core (Section 1.1, Figure 1).

    AtoB = decoder_b(core(encoder_a(x))); BtoA = decoder_a(core.inverse(encoder_b(y))).

    Args:
        spatial_dims: 2 for images, 3 for volumes.
        in_channels: channels of domain A.
        out_channels: channels of domain B.
        width, depth, memory, stored_blocks: see `GeneratorConfig`.

    Shapes: (B, in_channels, *spatial) in A, (B, out_channels, *spatial) in B, every spatial size a
    multiple of `size_multiple` and at least `min_size`. Values in [-1, 1].
    """

    encoder_a: nn.Sequential
    encoder_b: nn.Sequential
    core: ReversibleSequential
    decoder_a: nn.Sequential
    decoder_b: nn.Sequential

    size_multiple = 2**DOWNSAMPLINGS
    min_size = 2 * size_multiple  # reflection needs two positions at the lowest resolution

    def __init__(
        self,
        spatial_dims: Literal[2, 3] = 2,
        in_channels: int = 3,
        out_channels: int = 3,
        width: int = 32,
        depth: int = 6,
        memory: Memory = "reversible",
        stored_blocks: int = 0,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, not {spatial_dims}")
        if min(in_channels, out_channels) < 1:
            raise ValueError(
                f"in_channels and out_channels must be 1 or more, not {in_channels}, {out_channels}"
            )
        self.config = GeneratorConfig(width, depth, memory, stored_blocks)
        if self.config.memory == "auto":
            raise ValueError("memory auto is for the planner to decide; name a mode")
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.out_channels = out_channels
        core_channels = width * 2**DOWNSAMPLINGS
        self.encoder_a = encoder(spatial_dims, in_channels, width)
        self.encoder_b = encoder(spatial_dims, out_channels, width)
        self.core = ReversibleSequential(
            *(
                self._block(number, core_channels // 2, memory, stored_blocks)
                for number in range(depth)
            ),
            memory_saving=memory != "naive",
            stored_blocks=stored_blocks,
        )
        keep: Keep = "padded" if memory == "lean" else "input"
        self.decoder_a = decoder(spatial_dims, in_channels, width, keep)
        self.decoder_b = decoder(spatial_dims, out_channels, width, keep)
        init_weights(self)

    def forward(self, x: Tensor, direction: Direction = "AtoB") -> Tensor:
        """Translates x.

        Raises:
            ValueError: the direction is unknown, or x has a shape that this generator can't take.
        """
        if direction not in ("AtoB", "BtoA"):
            raise ValueError(f"direction must be AtoB or BtoA, not {direction!r}")
        self._check_shape(x, direction)
        if direction == "AtoB":
            y = self._decode(self.decoder_b, self.core(self._run(self.encoder_a, x)))
        else:
            y = self._decode(self.decoder_a, self.core.inverse(self._run(self.encoder_b, x)))
        return y.contiguous()  # inside, the channels are last

    def _block(
        self, number: int, channels: int, memory: Memory, stored_blocks: int
    ) -> AdditiveCoupling:
        # What the core recomputes, it drops at once. It stores the last blocks of each direction.
        from_the_ends = min(number, self.config.depth - 1 - number)
        stored = memory == "naive" or from_the_ends < stored_blocks
        keep: Keep = "input" if stored else "padded"
        f, g = (residual_function(self.spatial_dims, channels, keep) for _ in "fg")
        return AdditiveCoupling(f, g)

    def _decode(self, decoder: nn.Sequential, x: Tensor) -> Tensor:
        if self.config.memory != "lean":
            return self._run(decoder, x)
        # Tanh keeps its small output. So the recomputation may end before the last convolution, the
        # dearest of the decoder, as soon as that has its input.
        y: Tensor = decoder[-1](self._run(decoder[:-1], x))
        return y

    def _run(self, layers: nn.Module, x: Tensor) -> Tensor:
        """Runs layers of an encoder or a decoder; if lean, the backward pass runs them again."""
        if self.config.memory == "lean" and torch.is_grad_enabled():
            y: Tensor = checkpoint(layers, x, use_reentrant=False, preserve_rng_state=False)
        else:
            y = layers(x)
        return y

    def _check_shape(self, x: Tensor, direction: Direction) -> None:
        channels = self.in_channels if direction == "AtoB" else self.out_channels
        spatial = tuple(x.shape[2:])
        fits = all(s % self.size_multiple == 0 and s >= self.min_size for s in spatial)
        if x.ndim != self.spatial_dims + 2 or x.shape[1] != channels or not fits:
            raise ValueError(
                f"{direction} takes (batch, {channels}, *spatial) with {self.spatial_dims} "
                f"spatial sizes, multiples of {self.size_multiple} from {self.min_size} up, "
                f"not shape {tuple(x.shape)}"
            )


def encoder(spatial_dims: int, in_channels: int, width: int) -> nn.Sequential:
    """7x7 convolution to K channels, two 3x3 convolutions of stride 2, doubling the channels."""
    layers = normalised(ReflectConv(spatial_dims, in_channels, width, 7))
    for level in range(DOWNSAMPLINGS):
        channels = width * 2**level
        layers += normalised(ReflectConv(spatial_dims, channels, 2 * channels, 3, stride=2))
    return nn.Sequential(*layers)


def residual_function(spatial_dims: int, channels: int, keep: Keep = "input") -> nn.Sequential:
    """The function f or g of a block (the paper's NN_1 and NN_2, Figure 2).

    Args:
        spatial_dims: 2 or 3.
        channels: of input and output.
        keep: see `ReflectConv`.
    """
    return nn.Sequential(
        *normalised(ReflectConv(spatial_dims, channels, channels, 3, keep=keep)),
        ReflectConv(spatial_dims, channels, channels, 3, keep=keep),
        InstanceNorm(),
    )


def decoder(
    spatial_dims: int, out_channels: int, width: int, keep: Keep = "input"
) -> nn.Sequential:
    """Two fractionally strided 3x3 convolutions, halving the channels, then 7x7 and tanh.

    Args:
        spatial_dims: 2 or 3.
        out_channels: of the image.
        width: channels before the last convolution.
        keep: see `ReflectConv`; of the last convolution.
    """
    layers: list[nn.Module] = []
    for level in reversed(range(DOWNSAMPLINGS)):
        channels = width * 2**level
        layers += normalised(upsampling_conv(spatial_dims, 2 * channels, channels))
    last = ReflectConv(spatial_dims, width, out_channels, 7, keep=keep)
    return nn.Sequential(*layers, last, nn.Tanh())
