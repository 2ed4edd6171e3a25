"""From an image's file to the pixels that training cuts, and from these to [-1, 1].

Pixels stay in the file's own integers as long as these can hold them, and become float32 where
resizing mixes neighbours. So a crop is cut before the rest of the image is made large.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from revgan.data.config import DataConfig
from revgan.data.images import ImageArray, convert_channels, to_tensor

Pixels = NDArray[np.uint8 | np.uint16 | np.float32]
"""(H, W, C): integers as an image file has them, or float32 in [-1, 1]."""


@dataclass(frozen=True)
class Decoding:
    """What becomes of every image of a domain.

    Attributes:
        config: how images are brought to size.
        channels: what they are converted to (`convert_channels`); None takes them as they are.
        flat: they are label maps, whose colours are not to be mixed.
    """

    config: DataConfig
    channels: int | None = None
    flat: bool = False

    def apply(self, image: ImageArray) -> Pixels:
        """The pixels of an image (H, W, C) in its domain's channels and size."""
        if self.channels is not None:
            image = convert_channels(image, self.channels)
        height, width = image.shape[:2]
        size = self.config.scaled(height, width)
        if size == (height, width):
            return cast(Pixels, image)
        if self.flat:
            values = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)
            nearest = F.interpolate(values[None], size, mode="nearest-exact")
            return nearest[0].permute(1, 2, 0).numpy().astype(image.dtype)
        resized = F.interpolate(to_tensor(image)[None], size, mode="bilinear", antialias=True)
        return cast(Pixels, resized[0].clamp_(-1, 1).permute(1, 2, 0).numpy())


def in_unit(pixels: Pixels) -> Tensor:
    """A float32 tensor (C, H, W) in [-1, 1], which shares no memory with the pixels (H, W, C)."""
    if pixels.dtype == np.float32:
        return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))
    return to_tensor(cast(ImageArray, pixels))
