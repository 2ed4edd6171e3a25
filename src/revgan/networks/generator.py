"""The RevGAN generator: two encoders and two decoders around one reversible core."""

from abc import ABC, abstractmethod
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from revgan.directions import DIRECTIONS, Direction
from revgan.networks.config import GeneratorConfig, MemoryChoice
from revgan.networks.field import TimeField
from revgan.networks.layers import FrozenStatistics, Keep, init_weights
from revgan.networks.parts import decoder, encoder, residual_function, start_as_identity
from revgan.reversible import (
    AdditiveCoupling,
    AffineCoupling,
    Coupling,
    OdeCore,
    ReversibleSequential,
)


class TwoWayGenerator(nn.Module, ABC):
    """What translates between two domains of images or volumes, in both directions.

    Args:
        spatial_dims: 2 for images, 3 for volumes.
        in_channels: channels of domain A.
        out_channels: channels of domain B.
        config: the architecture.

    Shapes: (B, in_channels, *spatial) in A, (B, out_channels, *spatial) in B, every spatial size a
    multiple of `config.size_multiple` and at least `config.min_size`. Values in [-1, 1], but for
    translations without tanh.
    """

    def __init__(
        self,
        spatial_dims: Literal[2, 3],
        in_channels: int,
        out_channels: int,
        config: GeneratorConfig,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, not {spatial_dims}")
        if min(in_channels, out_channels) < 1:
            raise ValueError(
                f"in_channels and out_channels must be 1 or more, not {in_channels}, {out_channels}"
            )
        if config.memory == "auto":
            raise ValueError("memory auto is for the planner to decide; name a mode")
        self.config = config
        self.spatial_dims: Literal[2, 3] = spatial_dims
        self.in_channels = in_channels
        self.out_channels = out_channels

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions that it has learned, or will."""
        return DIRECTIONS

    def forward(self, x: Tensor, direction: Direction = "AtoB") -> Tensor:
        """Translates x.

        Raises:
            ValueError: the direction is unknown, or x has a shape that this generator can't take.
        """
        if direction not in self.directions:
            known = " or ".join(self.directions)
            raise ValueError(f"direction must be {known}, not {direction!r}")
        self._check_shape(x, direction)
        return self._translate(x, direction).contiguous()  # inside, the channels are last

    @abstractmethod
    def _translate(self, x: Tensor, direction: Direction) -> Tensor:
        """Translates x, whose shape is right."""

    def _check_shape(self, x: Tensor, direction: Direction) -> None:
        channels = self.in_channels if direction == "AtoB" else self.out_channels
        multiple, least = self.config.size_multiple, self.config.min_size
        spatial = tuple(x.shape[2:])
        fits = all(size % multiple == 0 and size >= least for size in spatial)
        if x.ndim != self.spatial_dims + 2 or x.shape[1] != channels or not fits:
            raise ValueError(
                f"{direction} takes (batch, {channels}, *spatial) with {self.spatial_dims} "
                f"spatial sizes, multiples of {multiple} from {least} up, "
                f"not shape {tuple(x.shape)}"
            )


class RevGenerator(TwoWayGenerator):
    """Translates A to B forwards and B to A backwards through one core (Section 1.1, Figure 1).

    AtoB = decoder_b(core(encoder_a(x))); BtoA = decoder_a(core.inverse(encoder_b(y))).

    Args:
        spatial_dims, in_channels, out_channels: see `TwoWayGenerator`.
        width, depth, memory, stored_blocks: see `GeneratorConfig`.
        **variant: its other fields but `model`.
    """

    encoder_a: nn.Sequential
    encoder_b: nn.Sequential
    core: ReversibleSequential | OdeCore
    decoder_a: nn.Sequential
    decoder_b: nn.Sequential

    def __init__(
        self,
        spatial_dims: Literal[2, 3] = 2,
        in_channels: int = 3,
        out_channels: int = 3,
        width: int = 32,
        depth: int = 6,
        memory: MemoryChoice = "reversible",
        stored_blocks: int = 0,
        **variant: Any,
    ) -> None:
        config = GeneratorConfig(
            "revgan", width, depth, memory=memory, stored_blocks=stored_blocks, **variant
        )
        super().__init__(spatial_dims, in_channels, out_channels, config)
        self.encoder_a = encoder(config, spatial_dims, in_channels)
        self.encoder_b = encoder(config, spatial_dims, out_channels)
        self.core = _ode(config, spatial_dims) if config.core == "ode" else self._couplings()
        keep: Keep = "padded" if memory == "lean" else "input"
        self.decoder_a = decoder(config, spatial_dims, in_channels, keep)
        self.decoder_b = decoder(config, spatial_dims, out_channels, keep)
        init_weights(self, config.init)
        if config.identity_start:
            for function in self._residual_functions():
                start_as_identity(function)

    def _translate(self, x: Tensor, direction: Direction) -> Tensor:
        if direction == "AtoB":
            return self._decode(self.decoder_b, self.core(self._run(self.encoder_a, x)))
        return self._decode(self.decoder_a, self.core.inverse(self._run(self.encoder_b, x)))

    def _couplings(self) -> ReversibleSequential:
        config = self.config
        return ReversibleSequential(
            *(self._coupling(number) for number in range(config.depth)),
            memory_saving=config.memory != "naive",
            stored_blocks=config.stored_blocks,
        )

    def _coupling(self, number: int) -> Coupling:
        config, half = self.config, self.config.core_channels // 2
        # What the core recomputes, it drops at once. It stores the last blocks of each direction.
        from_the_ends = min(number, config.depth - 1 - number)
        stored = config.memory == "naive" or from_the_ends < config.stored_blocks
        keep: Keep = "input" if stored else "padded"
        out = half if config.coupling == "additive" else 2 * half
        f, g = (residual_function(config, self.spatial_dims, half, out, keep) for _ in "fg")
        if config.coupling == "affine":
            return AffineCoupling(f, g)
        return AdditiveCoupling(f, g, exact=config.exact)

    def _residual_functions(self) -> list[nn.Module]:
        if isinstance(self.core, OdeCore):
            return [self.core.field]
        return [function for block in self.core for function in (block.f, block.g)]

    def _decode(self, decoder: nn.Sequential, x: Tensor) -> Tensor:
        if self.config.memory != "lean" or not self.config.tanh:
            return self._run(decoder, x)
        # Tanh keeps its small output. So the recomputation may end before the last convolution, the
        # dearest of the decoder, as soon as that has its input.
        y: Tensor = decoder[-1](self._run(decoder[:-1], x))
        return y

    def _run(self, layers: nn.Module, x: Tensor) -> Tensor:
        """Runs layers of an encoder or a decoder; if lean, the backward pass runs them again."""
        y: Tensor
        if not (self.config.memory == "lean" and torch.is_grad_enabled()):
            y = layers(x)
        elif self.config.norm == "batch":
            y = _recomputed(layers, x, context_fn=lambda: (nullcontext(), FrozenStatistics(layers)))
        else:
            y = _recomputed(layers, x)
        return y


_recomputed = partial(
    checkpoint,
    use_reentrant=False,
    preserve_rng_state=False,  # encoders and decoders draw nothing
)


def _ode(config: GeneratorConfig, spatial_dims: Literal[2, 3]) -> OdeCore:
    return OdeCore(
        TimeField(config, spatial_dims, config.core_channels),
        config.depth,
        solver=config.ode_solver,
        rtol=config.ode_rtol,
        atol=config.ode_atol,
        step=config.ode_step,
        memory_saving=config.memory != "naive",
    )
