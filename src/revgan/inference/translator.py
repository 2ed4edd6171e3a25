"""Translating with a trained model: tensors, arrays and files of any size."""

from pathlib import Path
from typing import overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from revgan.data.images import (
    ImageArray,
    convert_channels,
    image_format,
    read_image,
    to_array,
    to_tensor,
    write_image,
)
from revgan.networks import Direction, TwoWayGenerator
from revgan.networks.pretrained import load_generator


class Translator:
    """A trained generator that takes images as they are.

    Args:
        generator: the networks, in the device and precision to run in.
    """

    def __init__(self, generator: TwoWayGenerator) -> None:
        self.generator = generator.eval()
        self.device = next(generator.parameters()).device

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, device: str | torch.device | None = None
    ) -> "Translator":
        """Loads a model folder, or the model of a run folder.

        Args:
            folder: with model.safetensors and config.yaml, or with a model/ that has them.
            device: where to run; by default a GPU if there is one.

        Raises:
            UserError: no model is there, or it can't be loaded.
        """
        folder = Path(folder)
        if (folder / "model").is_dir():
            folder = folder / "model"
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(load_generator(folder).to(device))

    @overload
    def __call__(self, image: Tensor, direction: Direction = "AtoB") -> Tensor: ...

    @overload
    def __call__(self, image: ImageArray, direction: Direction = "AtoB") -> ImageArray: ...

    def __call__(
        self, image: Tensor | ImageArray, direction: Direction = "AtoB"
    ) -> Tensor | ImageArray:
        """Translates one image; size, bit depth and kind stay as they are.

        Args:
            image: a tensor (C, H, W) or a batch (B, C, H, W) in [-1, 1]; or pixels (H, W) or
                (H, W, C) in uint8 or uint16, as an array or anything NumPy takes for one, such as
                a PIL image. Images whose channels differ from the model's are converted.
            direction: "AtoB" or "BtoA".

        Returns:
            A tensor for a tensor, an array (H, W, C) for pixels.

        Raises:
            ValueError: the direction, shape or type is none of these.
        """
        if isinstance(image, Tensor):
            batch = image[None] if image.ndim == 3 else image
            translated = translate_padded(self.generator, batch.to(self.device), direction)
            translated = translated.to(image.device, torch.float32)
            return translated[0] if image.ndim == 3 else translated
        return self._translate_pixels(np.asarray(image), direction)

    def _translate_pixels(self, pixels: ImageArray, direction: Direction) -> ImageArray:
        if pixels.ndim == 2:
            pixels = pixels[:, :, np.newaxis]
        bits = image_format(pixels).bits
        generator = self.generator
        channels = generator.in_channels if direction == "AtoB" else generator.out_channels
        translated = self(to_tensor(convert_channels(pixels, channels)), direction)
        return to_array(translated, bits)

    def translate_file(self, source: Path, target: Path, direction: Direction) -> None:
        """Translates an image file into another of the same size and bit depth.

        Raises:
            UserError: the source can't be read, or the target's format can't hold the result.
        """
        write_image(target, self(read_image(source), direction))


@torch.inference_mode()
def translate_padded(generator: TwoWayGenerator, batch: Tensor, direction: Direction) -> Tensor:
    """Translates (B, C, *spatial) of any size: pads to a size that fits, and crops the result.

    Borders are mirrored, so that the networks see a plausible continuation.
    """
    sizes = batch.shape[2:]
    multiple, least = generator.config.size_multiple, generator.config.min_size
    wanted = [max(-(-size // multiple) * multiple, least) for size in sizes]
    amounts = [want - size for want, size in zip(wanted, sizes, strict=True)]
    # F.pad counts from the last axis, and mirrors at most size - 1 positions.
    padding = [n for amount in reversed(amounts) for n in (amount // 2, amount - amount // 2)]
    can_mirror = all(amount < 2 * size - 1 for amount, size in zip(amounts, sizes, strict=True))
    if any(padding):
        batch = F.pad(batch, padding, mode="reflect" if can_mirror else "replicate")
    translated: Tensor = generator(batch, direction)
    starts = [amount // 2 for amount in amounts]
    inside = [slice(s, s + size) for s, size in zip(starts, sizes, strict=True)]
    return translated[(slice(None), slice(None), *inside)]
