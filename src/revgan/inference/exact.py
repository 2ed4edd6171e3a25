"""A generator over an image or volume of any size, norm by norm.

Instance norm needs statistics over everything. So each layer before a norm runs over all of the
image, tile by tile, and what comes of it is stored in scratch arrays; but tensors of full
resolution, which are larger than all others, are computed a second time instead. What results is
what one pass gives, but for the order in which sums are rounded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from math import prod

import torch
from torch import Tensor, nn

from revgan.data.scratch import Scratch, Window
from revgan.data.tiling import positions, tiles, whole
from revgan.directions import Direction
from revgan.inference.fields import Field, Local, Pointwise, Stored
from revgan.inference.windows import Progress, reach
from revgan.networks import (
    GeneratorPair,
    ResnetGenerator,
    RevGenerator,
    TwoWayGenerator,
    UnetGenerator,
)
from revgan.networks.axes import PerAxis, scales_of
from revgan.networks.layers import InstanceNorm, PaddedConv
from revgan.networks.parts import with_skip
from revgan.networks.resampling import PixelShuffle, PixelUnshuffle
from revgan.networks.resizing import Resize
from revgan.networks.statistics import SlabNorm
from revgan.reversible import ReversibleSequential
from revgan.reversible.couplings import coupling_steps
from revgan.reversible.steps import inverted, split

TILE_MULTIPLE = 16
"""Tiles begin at multiples of it, for the sake of quick kernels and of tiled files."""


class ExactTranslation:
    """A translation in parts of what one pass has no room for.

    Args:
        generator: the networks; their core is a chain of couplings or of residual blocks.
        direction: "AtoB" or "BtoA".
        source: (1, C, *sizes), sizes that the generator takes.
        region: the part of the translation that is wanted.
        window: no part takes more memory than a pass over so many positions a side.
        scratch: for what is kept.

    Attributes:
        scratch_size: bytes that are needed on the disk.
    """

    def __init__(
        self,
        generator: TwoWayGenerator,
        direction: Direction,
        source: Field,
        region: Window,
        window: int,
        scratch: Scratch,
    ) -> None:
        self._generator, self._direction, self._source = generator, direction, source
        self._region, self._scratch = region, scratch
        self._numbers = generator.config.width * window ** len(source.sizes)
        self._in_one_go = _sees_little(generator, window)
        self._device, self._dtype = generator.device, computed_in(generator)
        rehearsal = self._tiling(scratch.like(rehearsal=True))
        self._run(rehearsal, lambda window, x: None)
        self._work = rehearsal.done
        self.scratch_size = rehearsal.scratch.peak

    def run(self, take: Callable[[Window, Tensor], None], progress: Progress | None = None) -> None:
        """Translates.

        Args:
            take: is told each part (1, C, *window) of the region, and its window.
            progress: told about each part.

        Raises:
            UserError: the disk hasn't room enough for the scratch files.
        """
        self._scratch.require_room(self.scratch_size)
        self._run(self._tiling(self._scratch, progress, self._work), take)

    def _tiling(self, scratch: Scratch, progress: Progress | None = None, work: int = 0) -> Tiling:
        return Tiling(scratch, self._device, self._numbers, self._dtype, progress, work)

    def _run(self, tiling: Tiling, take: Callable[[Window, Tensor], None]) -> None:
        generator, x = self._generator, self._source
        if self._in_one_go:
            translation = _of_neighbourhoods(generator, self._direction, x)
        else:
            full = x.sizes if generator.config.levels else None
            translation = Fields(tiling, full).translated(generator, self._direction, x)
        tiling.sweep(translation, take, self._region)


class Evaluation(ABC):
    """How fields are computed."""

    @abstractmethod
    def sweep(
        self, field: Field, take: Callable[[Window, Tensor], None], region: Window | None = None
    ) -> None:
        """Computes all of a field, or a region of it, once; `take` is told each part."""

    @abstractmethod
    def store(
        self, field: Field, parts: int = 1, also: Callable[[Tensor], None] = lambda x: None
    ) -> list[Field]:
        """Computes a field once, and keeps it.

        Args:
            field: what to store.
            parts: into how many fields to divide the channels.
            also: is told each part that is computed.
        """


class Tiling(Evaluation):
    """Goes through fields tile by tile.

    Args:
        scratch: where stored fields are.
        device: where they are read to.
        numbers: how many of them a tile may have, in the widest of its tensors.
        dtype: of stored fields.
        progress: told of the numbers done; None for no one.
        work: all numbers to be done.

    Attributes:
        done: numbers that are.
    """

    def __init__(
        self,
        scratch: Scratch,
        device: torch.device,
        numbers: int,
        dtype: torch.dtype,
        progress: Progress | None = None,
        work: int = 0,
    ) -> None:
        self.scratch, self._device, self._numbers = scratch, device, numbers
        self._dtype = dtype
        self._progress, self._work = progress, work
        self.done = 0

    def sweep(
        self, field: Field, take: Callable[[Window, Tensor], None], region: Window | None = None
    ) -> None:
        region = region or whole(field.sizes)
        if self.scratch.rehearsal:
            self.done += int(positions(region) * field.cost)
            return
        side = max(1, int((self._numbers / field.cost) ** (1 / len(region)) + 1e-6))
        for tile in tiles(region, side, min(side, TILE_MULTIPLE)):
            take(tile, field.read(tile))
            self.done += int(positions(tile) * field.cost)
            if self._progress is not None:
                self._progress(min(self.done, self._work), self._work)

    def store(
        self, field: Field, parts: int = 1, also: Callable[[Tensor], None] = lambda x: None
    ) -> list[Field]:
        channels = field.channels // parts
        dtype = torch.empty(0, dtype=self._dtype).numpy().dtype
        arrays = [self.scratch.array((channels, *field.sizes), dtype) for _ in range(parts)]

        def keep(tile: Window, x: Tensor) -> None:
            also(x)
            for array, part in zip(arrays, x[0].to(self._dtype).split(channels), strict=True):
                array.write(tile, part.cpu().numpy())

        self.sweep(field, keep)
        return [Stored(array, self._device) for array in arrays]


class Fields:
    """Makes fields of what a generator computes.

    Args:
        evaluation: by which statistics are gathered, and fields stored.
        large: fields of these sizes are computed twice rather than stored.
    """

    def __init__(self, evaluation: Evaluation, large: tuple[int, ...] | None = None) -> None:
        self.evaluation, self._large = evaluation, large

    def translated(self, generator: TwoWayGenerator, direction: Direction, x: Field) -> Field:
        """The translation of x."""
        network: nn.Module = generator
        if isinstance(generator, GeneratorPair):
            network = generator.generators[direction]
        match network:
            case ResnetGenerator():
                y = self._residual(network, x)
            case UnetGenerator():
                y = self._connected(network, x)
            case RevGenerator():
                y = self._reversible(network, direction, x)
            case _:
                raise TypeError(f"a {type(network).__name__} can't be computed in parts")
        if not generator.config.skip:
            return y
        return Pointwise(partial(with_skip, generator.config), y.channels, y, x)

    def _residual(self, network: ResnetGenerator, x: Field) -> Field:
        h = self.through(network.encoder, x)
        for block in network.blocks:
            assert isinstance(block, nn.Sequential)
            h = self._stored(h)  # a block needs it twice
            h = Pointwise(torch.add, h.channels, h, self.through(block, h))
        return self.through(network.decoder, h)

    def _connected(self, network: UnetGenerator, x: Field) -> Field:
        """A U-Net's translation."""
        seen: list[Field] = []
        for down in network.encoder:
            assert isinstance(down, nn.Sequential)
            x = self.through(down, x)
            if not _has_norm(down):  # what is normalised is stored
                x = self._stored(x)  # the decoder needs it again
            seen.append(x)
        y = seen.pop()
        del x
        for number, up in enumerate(network.decoder):
            assert isinstance(up, nn.Sequential)
            if number:
                skip = seen.pop()
                y = Pointwise(_side_by_side, skip.channels + y.channels, skip, y)
                del skip
            y = self.through(up, y)
            if not _has_norm(up) and number < len(network.decoder) - 1:
                y = self._stored(y)
        return self.through([network.end], y)

    def _reversible(self, generator: RevGenerator, direction: Direction, x: Field) -> Field:
        core = generator.core
        assert isinstance(core, ReversibleSequential)
        forwards, steps = direction == "AtoB", coupling_steps(core)
        h = self.through(generator.encoder_a if forwards else generator.encoder_b, x)
        halves = self.evaluation.store(
            Pointwise(lambda x: torch.cat(split(x, exact=core.exact), dim=1), h.channels, h),
            parts=2,
        )
        channels = h.channels
        del x, h  # scratch arrays go with the last field that refers to them
        if not forwards:
            halves.reverse()
        for step in steps if forwards else inverted(steps):
            target, source = halves
            assert isinstance(step.net, nn.Sequential)
            features = self.through(step.net, source)
            new = Pointwise(step.combine, target.channels, target, features)
            halves = [source, self._stored(new)]
            del target, source, features, new
        if not forwards:
            halves.reverse()
        h = Pointwise(_side_by_side, channels, *halves)
        return self.through(generator.decoder_b if forwards else generator.decoder_a, h)

    def through(self, layers: Iterable[nn.Module], x: Field) -> Field:
        """The output of layers in a row, as `revgan.networks.parts` makes them."""
        for layer in layers:
            if isinstance(layer, InstanceNorm):
                x = self.normalised(layer, x)
            elif isinstance(layer, _POINTWISE):
                x = Pointwise(layer, x.channels, x)
            else:
                x = _local(layer, x)
        return x

    def normalised(self, layer: InstanceNorm, u: Field) -> Field:
        """The output of a norm, by statistics of all of u."""
        norm = SlabNorm(layer, len(u.sizes) + 2, iter(()))
        moments = norm.moments()
        if u.sizes == self._large:
            self.evaluation.sweep(u, lambda _, x: moments.add(x))
        else:
            (u,) = self.evaluation.store(u, also=moments.add)
        if moments.count:  # there is none in a rehearsal
            norm.take(moments)
        return Pointwise(norm.normalised, u.channels, u)

    def _stored(self, field: Field) -> Field:
        (stored,) = self.evaluation.store(field)
        return stored


def computed_in(generator: TwoWayGenerator) -> torch.dtype:
    """The type of the numbers that a generator computes with, but 32 bits at least."""
    return torch.promote_types(generator.dtype, torch.float32)


_POINTWISE = (
    *(nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Identity),
    *(nn.Dropout, nn.BatchNorm2d, nn.BatchNorm3d),
)


def _has_norm(layers: nn.Module) -> bool:
    return any(isinstance(layer, InstanceNorm) for layer in layers.modules())


def _side_by_side(*parts: Tensor) -> Tensor:
    return torch.cat(parts, dim=1)


def _local(layer: nn.Module, x: Field) -> Field:
    """The output of a convolution, and of what rearranges its input or output."""
    parts = list(layer) if isinstance(layer, nn.Sequential) else [layer]
    cell: PerAxis = 1
    made: PerAxis = 1
    margin: PerAxis = 1
    dims = len(x.sizes)
    match parts:
        case [PaddedConv(conv=inner, amounts=amounts)]:
            cell, channels = inner.stride, inner.out_channels
            margin = tuple(-(-n // step) for n, step in zip(amounts, inner.stride, strict=True))
        case [nn.Conv2d() | nn.Conv3d() as inner]:
            cell, channels = inner.stride, inner.out_channels
        case [nn.ConvTranspose2d() | nn.ConvTranspose3d() as inner]:
            made, channels = inner.stride, inner.out_channels
        case [PixelUnshuffle() as first, PaddedConv(conv=inner)]:
            cell, channels = scales_of(first, dims), inner.out_channels
        case [PaddedConv(conv=inner), PixelShuffle() as last]:
            made = scales_of(last, dims)
            channels = inner.out_channels // prod(made)
        case [Resize() as first, PaddedConv(conv=inner)]:
            # The kernel reaches to 3/4 of a cell beyond the border of its own, and interpolation to
            # the middle of the cell behind that.
            made, margin, channels = scales_of(first, dims), 2, inner.out_channels
        case _:
            raise TypeError(f"a {type(layer).__name__} can't be computed in parts")
    dtype = inner.weight.dtype
    return Local(lambda x: layer(x.to(dtype)), channels, x, cell, made, margin=margin)


def _sees_little(generator: TwoWayGenerator, window: int) -> bool:
    """Whether windows with all that they depend on are not much larger than without."""
    radius = reach(generator.config)
    return radius is not None and 4 * radius <= window


def _of_neighbourhoods(generator: TwoWayGenerator, direction: Direction, x: Field) -> Field:
    """The translation, each part of it from all that it depends on."""
    config = generator.config
    dims, radius = len(x.sizes), reach(config)
    cells = config.size_multiples(dims)
    assert radius is not None
    channels = generator.channels(direction)[1]

    def run(x: Tensor) -> Tensor:
        return generator(x.to(generator.dtype), direction)

    translation = Local(
        run,
        channels,
        x,
        cells,
        cells,
        margin=tuple(-(-radius // cell) for cell in cells),
        least=tuple(size // cell for size, cell in zip(config.min_sizes(dims), cells, strict=True)),
    )
    translation.cost = max(translation.cost, config.width)
    return translation
