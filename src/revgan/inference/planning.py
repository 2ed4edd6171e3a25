"""How much memory a translation needs, and so whether it takes one pass, or windows that fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import prod
from typing import Literal

import torch

from revgan.errors import UsageError, UserError
from revgan.inference.padded import translate_padded
from revgan.inference.translator import Translator
from revgan.inference.windows import Cutting, Statistics, Windows
from revgan.memory import (
    StepPrediction,
    format_bytes,
    free_budget,
    largest_side,
    predict_step,
)
from revgan.networks import GeneratorConfig, build_generator
from revgan.networks.axes import PerAxis, per_axis

FIRST_TRY = 64
"""The size that the planner starts from, or the next multiple of the network's."""


@dataclass(frozen=True)
class Translation:
    """A translation in one pass, whose memory is to be predicted.

    Attributes:
        config: the generator's; its memory mode, which is for training, doesn't matter.
        spatial_dims: 2 for images, 3 for volumes.
        channels: of A and B.
        device_type: "cpu", "cuda" or "mps".
    """

    config: GeneratorConfig
    spatial_dims: Literal[2, 3] = 2
    channels: tuple[int, int] = (3, 3)
    device_type: str = "cpu"

    def largest(
        self,
        budget: int,
        start: int | None = None,
        sizes: Callable[[int], PerAxis] = lambda side: side,
    ) -> int | None:
        """The largest side of a square or cube that fits a budget; None if none fits.

        Args:
            budget: bytes on the device.
            start: the side that the search starts from; None for any.
            sizes: of what isn't a square or cube, those along each axis by the longest side.
        """
        return largest_side(
            lambda side: predict_translation(self, sizes(side)),
            budget,
            start=start or -(-FIRST_TRY // self.config.size_multiple) * self.config.size_multiple,
            spatial_dims=self.spatial_dims,
            multiple=self.config.size_multiple,
            least=self.config.min_size,
        )


@lru_cache
def predict_translation(translation: Translation, size: PerAxis) -> StepPrediction:
    """Predicts what translating one whole image or volume needs, in the more expensive direction.

    Args:
        translation: the network and the device.
        size: side of the image or volume, or one per axis.

    Raises:
        UserError: it can't be predicted.
    """
    config, dims = translation.config, translation.spatial_dims
    sizes = per_axis(size, dims)
    require_predictable(config)

    def make_step() -> Callable[[], object]:
        naive = replace(config, memory="naive", stored_blocks=0, slabs=0)
        network = build_generator(naive, dims, *translation.channels)
        a, b = (torch.empty(1, channels, *sizes) for channels in translation.channels)

        def step() -> None:
            translate_padded(network, a, "AtoB")
            translate_padded(network, b, "BtoA")

        return step

    return predict_step(make_step, cpu_kernels=translation.device_type == "cpu")


def require_predictable(config: GeneratorConfig) -> None:
    """Refuses generators whose memory can't be predicted, for training or for translation.

    Raises:
        UserError: its core is an ODE.
    """
    if config.core == "ode":
        raise UserError(
            "the memory of generator.core ode can't be predicted, as its solver's steps depend on "
            "the data; plan with generator.core reversible, or train for a few steps"
        )


@dataclass(frozen=True)
class WindowOptions:
    """How the user wants files to be cut.

    Attributes:
        window: a side in pixels or voxels; "whole" for one pass, whatever it takes; "auto" for one
            pass if it fits the device's free memory, else the largest windows that fit.
        overlap: see `Windows`.
        statistics: see `Windows`.
    """

    window: str = "auto"
    overlap: float = Windows.overlap
    statistics: Statistics = Windows.statistics

    def decide(self, translator: Translator) -> Cutting | None:
        """How to cut this model's images or volumes; None for one pass.

        Raises:
            UsageError: the model can't take such windows.
            UserError: nothing fits the device's free memory.
        """
        if self.window == "whole":
            return None
        if self.window == "auto":
            # A continuous core can't be predicted.
            ode = translator.generator.config.core == "ode"
            return None if ode else FittingWindows(translator, self)
        config = translator.generator.config
        multiple, least = config.size_multiple, config.min_size
        size = int(self.window) if self.window.isdecimal() else 0
        if size < least or size % multiple:
            raise UsageError(
                f"--window must be auto, whole or, for this model, a multiple of {multiple} from "
                f"{least} up, not {self.window}"
            )
        return self.of(size)

    def of(self, size: int) -> Windows:
        """The windows of a given side.

        Raises:
            UsageError: the overlap is out of range.
        """
        try:
            return Windows(size, self.overlap, statistics=self.statistics)
        except ValueError as error:  # the error starts with the option's name
            raise UsageError(f"--{error}") from error


class FittingWindows:
    """One pass where the device's free memory is predicted to hold it, else the largest windows.

    It is predicted when something larger than before is to be translated, as that takes a second.

    Args:
        translator: its model and device.
        options: the overlap and the statistics of windows.

    Raises:
        UsageError: the overlap is out of range.
    """

    def __init__(self, translator: Translator, options: WindowOptions) -> None:
        generator, device = translator.generator, translator.device
        channels = generator.in_channels, generator.out_channels
        dims = generator.spatial_dims
        self._whole = Translation(generator.config, dims, channels, device.type)
        self._budget, self._options = free_budget(device), options
        options.of(1)  # refuses what is out of range before the work
        self._fitting = 0

    @cached_property
    def windows(self) -> Windows:
        """The largest that fit.

        Raises:
            UserError: none does.
        """
        size = self._whole.largest(self._budget)
        if size is None:
            raise UserError(
                f"{format_bytes(self._budget)} of free memory isn't enough for any window; close "
                "other programs, or give another --device"
            )
        return self._options.of(size)

    def needed_for(self, sizes: Sequence[int]) -> bool:
        """See `Cutting`."""
        if prod(sizes) > self._fitting:
            if predict_translation(self._whole, tuple(sizes)).total > self._budget:
                return self.windows.needed_for(sizes)
            self._fitting = prod(sizes)
        return False


AUTO = WindowOptions()
