"""One pass or windows: what the planner makes of a user's wish."""

from dataclasses import dataclass

from revgan.errors import UsageError, UserError
from revgan.inference import Translator, Windows
from revgan.memory import format_bytes, free_budget
from revgan.training.config import RunConfig, RuntimeConfig
from revgan.training.planning import largest_size
from revgan.training.prediction import Workload, predict_translation

FIRST_TRY = 64
"""The size that the planner starts from, which is a multiple of any network's `size_multiple`."""


@dataclass(frozen=True)
class WindowOptions:
    """What the user wants.

    Attributes:
        window: a side in pixels or voxels; "whole" for one pass whatever it takes; "auto" for one
            pass where that fits into the device's free memory, else for the largest windows that
            fit.
        overlap: see `Windows`.
    """

    window: str = "auto"
    overlap: float = Windows.overlap

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
        workload = Workload(
            RunConfig(generator=generator.config, runtime=RuntimeConfig(precision="float32")),
            FIRST_TRY,
            generator.spatial_dims,
            (generator.in_channels, generator.out_channels),
            device.type,
        )
        budget = free_budget(device)
        size = largest_size(workload, budget, predict_translation)
        if size is None:
            raise UserError(
                f"{format_bytes(budget)} of free memory are too few for any window; close other "
                "programs, or give another --device"
            )
        return self._windows(size, one_pass=size**generator.spatial_dims)

    def _windows(self, size: int, one_pass: int = 0) -> Windows:
        try:
            return Windows(size, self.overlap, one_pass)
        except ValueError as error:  # its first word is the option
            raise UsageError(f"--{error}") from error


AUTO = WindowOptions()
