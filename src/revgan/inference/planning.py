"""What a translation needs of memory, and what follows from it: one pass, or windows that fit."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import torch

from revgan.errors import UsageError, UserError
from revgan.inference.translator import Translator, translate_padded
from revgan.inference.windows import Statistics, Windows
from revgan.memory import (
    StepPrediction,
    format_bytes,
    free_budget,
    largest_side,
    predict_step,
)
from revgan.networks import GeneratorConfig, build_generator

FIRST_TRY = 64
"""The size that the planner starts from, which is a multiple of any network's `size_multiple`."""


@dataclass(frozen=True)
class Translation:
    """A translation in one pass whose memory is asked for.

    Attributes:
        config: of the generator; what it says of memory, which is for training, does not matter.
        spatial_dims: 2 for images, 3 for volumes.
        channels: of A and B.
        device_type: "cpu", "cuda" or "mps".
    """

    config: GeneratorConfig
    spatial_dims: Literal[2, 3] = 2
    channels: tuple[int, int] = (3, 3)
    device_type: str = "cpu"

    def largest(self, budget: int, start: int = FIRST_TRY) -> int | None:
        """The largest side of squares or cubes within a budget; None if none is.

        Args:
            budget: bytes on the device.
            start: the side that the search starts from.
        """
        return largest_side(
            lambda size: predict_translation(self, size),
            budget,
            start=start,
            spatial_dims=self.spatial_dims,
            multiple=self.config.size_multiple,
            least=self.config.min_size,
        )


@lru_cache
def predict_translation(translation: Translation, size: int) -> StepPrediction:
    """What translating one whole image or volume needs, in the direction that needs more.

    Args:
        translation: by which network, and where.
        size: side of the image or volume.

    Raises:
        UserError: it can't be known beforehand.
    """
    config, dims = translation.config, translation.spatial_dims
    require_predictable(config)

    def make_step() -> Callable[[], object]:
        naive = replace(config, memory="naive", stored_blocks=0, slabs=0)
        network = build_generator(naive, dims, *translation.channels)
        a, b = (torch.empty(1, channels, *[size] * dims) for channels in translation.channels)

        def step() -> None:
            translate_padded(network, a, "AtoB")
            translate_padded(network, b, "BtoA")

        return step

    return predict_step(make_step, cpu_kernels=translation.device_type == "cpu")


def require_predictable(config: GeneratorConfig) -> None:
    """Refuses generators whose memory, in training as in translation, can't be known beforehand.

    Raises:
        UserError: its core is an ODE.
    """
    if config.core == "ode":
        raise UserError(
            "the memory of generator.core ode can't be predicted, as its solver looks at values "
            "while it runs; plan with generator.core reversible, or train for a few steps"
        )


@dataclass(frozen=True)
class WindowOptions:
    """What the user wants.

    Attributes:
        window: a side in pixels or voxels; "whole" for one pass whatever it takes; "auto" for one
            pass where that fits into the device's free memory, else for the largest windows that
            fit.
        overlap: see `Windows`.
        statistics: likewise.
    """

    window: str = "auto"
    overlap: float = Windows.overlap
    statistics: Statistics = Windows.statistics

    def decide(self, translator: Translator) -> Windows | None:
        """How this model's images or volumes are to be cut; None for one pass.

        Raises:
            UsageError: the model can't take such windows.
            UserError: nothing fits into the device's free memory.
        """
        if self.window == "whole":
            return None
        if self.window == "auto":
            return self._largest(translator)
        config = translator.generator.config
        multiple, least = config.size_multiple, config.min_size
        size = int(self.window) if self.window.isdecimal() else 0
        if size < least or size % multiple:
            raise UsageError(
                f"--window must be auto, whole or, for this model, a multiple of {multiple} from "
                f"{least} up, not {self.window}"
            )
        return self._windows(size)

    def _largest(self, translator: Translator) -> Windows | None:
        generator, device = translator.generator, translator.device
        if generator.config.core == "ode":  # can't be predicted
            return None
        channels = generator.in_channels, generator.out_channels
        whole = Translation(generator.config, generator.spatial_dims, channels, device.type)
        budget = free_budget(device)
        size = whole.largest(budget)
        if size is None:
            raise UserError(
                f"{format_bytes(budget)} of free memory are too few for any window; close other "
                "programs, or give another --device"
            )
        return self._windows(size, one_pass=size**generator.spatial_dims)

    def _windows(self, size: int, one_pass: int = 0) -> Windows:
        try:
            return Windows(size, self.overlap, one_pass, self.statistics)
        except ValueError as error:  # its first word is the option
            raise UsageError(f"--{error}") from error


AUTO = WindowOptions()
