"""The RevGAN generator: two encoders and two decoders around one reversible core."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from revgan.directions import DIRECTIONS, Direction, ends
from revgan.networks.axes import in_words
from revgan.networks.config import GeneratorConfig, Memory, MemoryChoice, Model
from revgan.networks.core import ode_core, residual_functions, reversible_core
from revgan.networks.parts import decoder, draw_weights, encoder, with_skip
from revgan.networks.slabs import Slabs
from revgan.reversible import OdeCore, ReversibleSequential


class Generator(nn.Module, ABC):
    """Turns images or volumes of one domain into those of another.

    Args:
        spatial_dims: 2 for images, 3 for volumes.
        in_channels: channels of the input; if it translates both ways, of domain A.
        out_channels: channels of the translation; if it translates both ways, of domain B.
        width, depth, stored_blocks: see `GeneratorConfig`.
        memory: see `GeneratorConfig`, but not "auto", which is for the planner
            (`revgan.training.choosing`). By default "reversible" in `RevGenerator`, else
            "naive".
        **variant: any other field of `GeneratorConfig` except `model`.

    Raises:
        ValueError: an argument is out of range, or doesn't go with another.
    """

    model: ClassVar[Model]
    default_memory: ClassVar[Memory] = "naive"

    def __init__(
        self,
        spatial_dims: Literal[2, 3] = 2,
        in_channels: int = 3,
        out_channels: int = 3,
        width: int = 32,
        depth: int = 6,
        memory: MemoryChoice | None = None,
        stored_blocks: int = 0,
        **variant: Any,
    ) -> None:
        memory = memory or self.default_memory
        config = GeneratorConfig(
            self.model, width, depth, memory=memory, stored_blocks=stored_blocks, **variant
        )
        self._build(config, spatial_dims, in_channels, out_channels)

    @classmethod
    def from_config(
        cls,
        config: GeneratorConfig,
        spatial_dims: Literal[2, 3],
        in_channels: int,
        out_channels: int,
    ) -> Self:
        """A generator from a whole configuration instead of its fields."""
        generator = cls.__new__(cls)  # not __init__, which would make another configuration
        generator._build(config, spatial_dims, in_channels, out_channels)
        return generator

    def _build(
        self,
        config: GeneratorConfig,
        spatial_dims: Literal[2, 3],
        in_channels: int,
        out_channels: int,
    ) -> None:
        super().__init__()
        if config.model != self.model:
            raise ValueError(f"model must be {self.model}, not {config.model}")
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, not {spatial_dims}")
        if min(in_channels, out_channels) < 1:
            raise ValueError(
                f"in_channels and out_channels must be 1 or more, not {in_channels}, {out_channels}"
            )
        if config.skip and in_channels != out_channels:
            raise ValueError(
                "skip adds the image to its translation, which takes the same channels in both "
                f"domains, not {in_channels} and {out_channels}"
            )
        if config.memory == "auto":
            raise ValueError("memory auto is for the planner to decide; name a mode")
        config.require_dims(spatial_dims)
        self.config = config
        self.spatial_dims: Literal[2, 3] = spatial_dims
        self.in_channels = in_channels
        self.out_channels = out_channels
        self._add_layers()

    @abstractmethod
    def _add_layers(self) -> None:
        """Adds the layers that `config`, `spatial_dims` and the channels ask for."""

    def extra_repr(self) -> str:
        channels = f"in_channels={self.in_channels}, out_channels={self.out_channels}"
        return f"spatial_dims={self.spatial_dims}, {channels}, {self.config.summary}"

    def _check_shape(self, x: Tensor, channels: int, what: str) -> None:
        dims = self.spatial_dims
        multiples, least = self.config.size_multiples(dims), self.config.min_sizes(dims)
        limits = zip(x.shape[2:], multiples, least, strict=False)  # the count is checked below
        fits = all(size % multiple == 0 and size >= low for size, multiple, low in limits)
        if x.ndim != dims + 2 or x.shape[1] != channels or not fits:
            raise ValueError(
                f"{what} takes (batch, {channels}, *spatial) with {dims} spatial sizes, multiples "
                f"of {in_words(multiples)} from {in_words(least)} up, not shape {tuple(x.shape)}"
            )


class TwoWayGenerator(Generator):
    """Translates both ways between two domains, A and B.

    Args: see `Generator`.

    Shapes: (B, in_channels, *spatial) in A, (B, out_channels, *spatial) in B, spatial sizes
    multiples of `config.size_multiples` and at least `config.min_sizes`. Values lie in [-1, 1],
    except in translations without tanh.
    """

    directions: tuple[Direction, ...] = DIRECTIONS
    """The directions that it translates once trained."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of its weights, and of its inputs."""
        return next(self.parameters()).dtype

    def channels(self, direction: Direction) -> tuple[int, int]:
        """The channels of inputs and of translations in a direction."""
        of = {"a": self.in_channels, "b": self.out_channels}
        before, after = ends(direction)
        return of[before], of[after]

    @abstractmethod
    def forward(self, x: Tensor, direction: Direction = "AtoB") -> Tensor:
        """Translates x.

        Raises:
            ValueError: it doesn't know the direction, or can't take the shape of x.
        """

    def _check(self, x: Tensor, direction: Direction) -> None:
        if direction not in self.directions:
            known = " or ".join(self.directions)
            raise ValueError(f"direction must be {known}, not {direction!r}")
        self._check_shape(x, self.channels(direction)[0], direction)


class RevGenerator(TwoWayGenerator):
    """Translates A to B forwards and B to A backwards through one core (Section 1.1, Figure 1).

    AtoB = decoder_b(core(encoder_a(x))); BtoA = decoder_a(core.inverse(encoder_b(y))).

    Args: see `Generator`.

    Shapes: see `TwoWayGenerator`.

    Example:
        >>> import torch
        >>> from revgan.networks import RevGenerator
        >>> generator = RevGenerator(2, in_channels=3, out_channels=1, width=8, depth=2)
        >>> a = torch.rand(1, 3, 32, 32) * 2 - 1
        >>> b = generator(a, "AtoB")
        >>> b.shape
        torch.Size([1, 1, 32, 32])
        >>> generator(b, "BtoA").shape
        torch.Size([1, 3, 32, 32])
    """

    model = "revgan"
    default_memory = "reversible"

    encoder_a: nn.Sequential
    encoder_b: nn.Sequential
    core: ReversibleSequential | OdeCore
    decoder_a: nn.Sequential
    decoder_b: nn.Sequential

    def _add_layers(self) -> None:
        config, dims = self.config, self.spatial_dims
        self.encoder_a = encoder(config, dims, self.in_channels)
        self.encoder_b = encoder(config, dims, self.out_channels)
        self.core = (ode_core if config.core == "ode" else reversible_core)(config, dims)
        self.decoder_a = decoder(config, dims, self.in_channels)
        self.decoder_b = decoder(config, dims, self.out_channels)
        decoders = self.decoder_a, self.decoder_b
        draw_weights(self, config, residual_functions(self.core), decoders)

    def forward(self, x: Tensor, direction: Direction = "AtoB") -> Tensor:
        """Translates x: decoder(core(encoder(x))), with the core run backwards for BtoA."""
        self._check(x, direction)
        if direction == "AtoB":
            y = self._translated(x, self.encoder_a, self.decoder_b, inverse=False)
        else:
            y = self._translated(x, self.encoder_b, self.decoder_a, inverse=True)
        return with_skip(self.config, y, x).contiguous()  # inside, the channels are last

    def _translated(
        self, x: Tensor, encoder: nn.Sequential, decoder: nn.Sequential, *, inverse: bool
    ) -> Tensor:
        """The decoder's output for what the core makes of the encoder's."""
        if isinstance(decoder, Slabs) and isinstance(self.core, ReversibleSequential):
            # Joined slab by slab. The encoder's output has no name, as that would keep it.
            parts: Sequence[Tensor] = self.core.halves(encoder(x), inverse=inverse)
        else:
            parts = [(self.core.inverse if inverse else self.core)(encoder(x))]
        # The core computes in 32 bits or more, whatever the networks around it do.
        dtype = next(decoder.parameters()).dtype
        if dtype in (torch.float16, torch.bfloat16):
            parts = [part.to(dtype) for part in parts]
        return decoder(*parts)
