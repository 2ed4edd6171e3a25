"""Translating tensors of any size: padded to a size that fits, in one pass or in parts."""

import torch
import torch.nn.functional as F
from torch import Tensor

from revgan.data.scratch import Scratch, Window
from revgan.directions import Direction
from revgan.inference.exact import computed_in
from revgan.inference.parts import padding_for, translate_parts
from revgan.inference.windows import Cutting, Progress, Windows
from revgan.networks import TwoWayGenerator


@torch.inference_mode()
def translate_padded(
    generator: TwoWayGenerator,
    batch: Tensor,
    direction: Direction,
    *,
    windows: Cutting | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Translates (B, C, *spatial) of any size: pads to a size that fits and crops the result.

    Borders are mirrored, so that the networks see a plausible continuation.

    Args:
        generator: the networks; they run where they are.
        batch: on any device.
        direction: "AtoB" or "BtoA".
        windows: how to cut what is too large for one pass; then only parts go to the networks'
            device, and the result is on the device of `batch`. None translates everything in one
            pass.
        progress: called after each part, if there are several.
    """
    sizes, padding = batch.shape[2:], padding_for(generator.config, batch.shape[2:])
    padded = [size + sum(both) for size, both in zip(sizes, padding, strict=True)]
    if windows is not None and windows.needed_for(padded):
        parts = [_in_parts(generator, x, direction, windows.windows, progress) for x in batch]
        return torch.stack(parts)
    if any(map(sum, padding)):
        # F.pad counts from the last axis, and mirrors at most size - 1 positions.
        can_mirror = all(max(pad) < size for pad, size in zip(padding, sizes, strict=True))
        amounts = [amount for both in reversed(padding) for amount in both]
        batch = F.pad(batch, amounts, mode="reflect" if can_mirror else "replicate")
    translated: Tensor = generator(batch.to(generator.device, generator.dtype), direction)
    inside = (slice(start, start + size) for size, (start, _) in zip(sizes, padding, strict=True))
    return translated[(slice(None), slice(None), *inside)]


def _in_parts(
    generator: TwoWayGenerator,
    x: Tensor,
    direction: Direction,
    windows: Windows,
    progress: Progress | None,
) -> Tensor:
    """As `translate_padded`, but of one sample, and always in parts."""
    shape = generator.channels(direction)[1], *x.shape[1:]
    result = x.new_empty(shape, dtype=computed_in(generator))

    def read(window: Window) -> Tensor:
        return x[(slice(None), *window)]

    def take(window: Window, part: Tensor) -> None:
        result[(slice(None), *window)] = part.to(result.device)

    translate_parts(generator, direction, read, x.shape[1:], windows, Scratch(), take, progress)
    return result
