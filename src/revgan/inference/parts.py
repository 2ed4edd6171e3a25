"""Translating in parts what is too large for one pass: exactly, or by windows that are blended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from revgan.data.scratch import Scratch, Window
from revgan.data.tiling import whole
from revgan.directions import Direction
from revgan.inference.exact import Evaluation, ExactTranslation, Fields, computed_in
from revgan.inference.exported import ExportedGenerator
from revgan.inference.fields import Field, Given, Held, Pointwise
from revgan.inference.windows import Progress, Windows, translate_windows, window_axes
from revgan.memory import format_bytes
from revgan.networks import GeneratorConfig, TwoWayGenerator
from revgan.networks.layers import InstanceNorm
from revgan.networks.statistics import Moments, SlabNorm


def is_exact(generator: TwoWayGenerator, windows: Windows) -> bool:
    """Whether parts give what one pass gives.

    An adaptive solver of a continuous core looks at everything before each of its steps.
    """
    return windows.statistics == "exact" and _has_layers(generator)


def _has_layers(generator: TwoWayGenerator) -> bool:
    """Whether it can be run layer by layer."""
    return generator.config.core != "ode" and not isinstance(generator, ExportedGenerator)


def describe(generator: TwoWayGenerator, windows: Windows) -> str:
    """How parts are translated, for the user."""
    if is_exact(generator, windows):
        return "with the result of one pass"
    windows_of = f"in windows of {windows.size} that overlap by {windows.overlap:g} and are blended"
    config = generator.config
    if config.norm != "instance":
        return windows_of
    if not _has_layers(generator):
        what = "a core ode" if config.core == "ode" else "an exported model"
        return f"{windows_of}, each normalised by itself, as {what} can't be cut exactly"
    return f"{windows_of}, with approximate statistics, pooled over windows"


def padding_for(config: GeneratorConfig, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """What is added before and behind each axis for sizes that the networks take."""
    limits = config.size_multiples(len(sizes)), config.min_sizes(len(sizes))
    amounts = [
        max(-(-size // multiple) * multiple, least) - size
        for size, multiple, least in zip(sizes, *limits, strict=True)
    ]
    return [(amount // 2, amount - amount // 2) for amount in amounts]


@torch.inference_mode()
def translate_parts(
    generator: TwoWayGenerator,
    direction: Direction,
    read: Callable[[Window], Tensor],
    sizes: Sequence[int],
    windows: Windows,
    scratch: Scratch,
    take: Callable[[Window, Tensor], None],
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Translates an image or volume in parts; borders are mirrored where its size needs that.

    Args:
        generator: the networks.
        direction: "AtoB" or "BtoA".
        read: gives a window (C, *window) of what to translate, in [-1, 1].
        sizes: of it, any.
        windows: how large parts are, and which statistics instance norms get.
        scratch: for what is kept meanwhile.
        take: is told each part (C', *window) of the translation, and its window, once.
        progress: told about each part.
        say: is told how large scratch files become.

    Raises:
        UserError: the disk hasn't room enough for the scratch files.
    """
    padding = padding_for(generator.config, sizes)
    inputs, outputs = generator.channels(direction)
    source = Given(read, inputs, sizes, padding, generator.device)
    region = tuple(
        slice(before, before + size) for size, (before, _) in zip(sizes, padding, strict=True)
    )

    def give(window: Window, x: Tensor) -> None:
        inside = (
            slice(part.start - of_all.start, part.stop - of_all.start)
            for part, of_all in zip(window, region, strict=True)
        )
        take(tuple(inside), x[0])

    if is_exact(generator, windows):
        exact = ExactTranslation(generator, direction, source, region, windows.size, scratch)
        if exact.scratch_size:
            say(f"Scratch files in {scratch.place}: up to {format_bytes(exact.scratch_size)}")
        exact.run(give, progress)
        return
    config = generator.config
    translate = _forward(generator, direction)
    if config.norm == "instance" and _has_layers(generator):
        translate = _with_pooled_statistics(generator, direction, source, windows, progress)
    dtype = computed_in(generator)
    translate_windows(
        translate, outputs, dtype, source, region, windows, config, scratch, give, progress
    )


def _forward(generator: TwoWayGenerator, direction: Direction) -> Callable[[Tensor], Tensor]:
    dtype = generator.dtype

    def translate(x: Tensor) -> Tensor:
        return generator(x.to(dtype), direction)

    return translate


def _with_pooled_statistics(
    generator: TwoWayGenerator,
    direction: Direction,
    source: Field,
    windows: Windows,
    progress: Progress | None,
) -> Callable[[Tensor], Tensor]:
    """The generator with constants for its norms' statistics.

    They come from windows side by side, each normalised by its own statistics on the way: what a
    norm sees of a window is not what it would see in one pass, but differs less the larger windows
    are.
    """
    side_by_side = Windows(windows.size, overlap=0)
    axes = window_axes(source.sizes, side_by_side, generator.config)
    places = list(product(*([part for part, _ in axis] for axis in axes)))
    moments: list[Moments] = []
    for done, place in enumerate(places, start=1):
        fields = _Pooling(moments)
        fields.translated(generator, direction, Held(source.read(place)))
        if progress is not None:
            progress(done, len(places))

    def translate(x: Tensor) -> Tensor:
        return _Pooled(moments).translated(generator, direction, Held(x)).read(whole(x.shape[2:]))

    return translate


class _InMemory(Evaluation):
    """Computes fields in one piece each."""

    def sweep(
        self, field: Field, take: Callable[[Window, Tensor], None], region: Window | None = None
    ) -> None:
        everything = whole(field.sizes)
        take(everything, field.read(everything))

    def store(
        self, field: Field, parts: int = 1, also: Callable[[Tensor], None] = lambda x: None
    ) -> list[Field]:
        x = field.read(whole(field.sizes))
        also(x)
        return [Held(part) for part in x.chunk(parts, dim=1)]


class _Pooling(Fields):
    """Normalises a window by its own statistics, and adds it to those of all.

    Args:
        moments: of each norm so far, in the order of the norms; empty at first.
    """

    def __init__(self, moments: list[Moments]) -> None:
        super().__init__(_InMemory())
        self._moments, self._number = moments, 0

    def normalised(self, layer: InstanceNorm, u: Field) -> Field:
        norm = SlabNorm(layer, len(u.sizes) + 2, iter(()))
        own = norm.moments()
        if self._number == len(self._moments):
            self._moments.append(norm.moments())
        of_all = self._moments[self._number]
        self._number += 1

        def add(x: Tensor) -> None:
            own.add(x)
            of_all.add(x)

        (u,) = self.evaluation.store(u, also=add)
        norm.take(own)
        return Pointwise(norm.normalised, u.channels, u)


class _Pooled(Fields):
    """Normalises by the statistics of all windows.

    Args:
        moments: of each norm, in the order of the norms.
    """

    def __init__(self, moments: list[Moments]) -> None:
        super().__init__(_InMemory())
        self._moments = iter(moments)

    def normalised(self, layer: InstanceNorm, u: Field) -> Field:
        norm = SlabNorm(layer, len(u.sizes) + 2, iter(()))
        norm.take(next(self._moments))
        return Pointwise(norm.normalised, u.channels, u)
