"""A history of generated images for the discriminator."""

import torch
from torch import Tensor


class ImagePool:
    """Shows the discriminator older fakes half of the time (Shrivastava et al., 2017).

    While the pool fills, images pass through and are kept. Once it is full, each image is, with
    probability 1/2, stored in exchange for a random older one, which is returned in its place.

    Args:
        size: how many images are kept; with 0, every image passes through.
    """

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ValueError(f"an image pool holds 0 or more images, not {size}")
        self.size = size
        self.images: list[Tensor] = []

    def exchange(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Returns a batch (B, C, *spatial) to judge in place of `batch`, drawn by `generator`."""
        if self.size == 0:
            return batch
        return torch.stack([self._exchange_one(image, generator) for image in batch])

    def _exchange_one(self, image: Tensor, generator: torch.Generator) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image.clone())
            return image
        keep_new, slot = torch.rand((), generator=generator), self._draw_slot(generator)
        if keep_new < 0.5:
            return image
        older, self.images[slot] = self.images[slot], image.clone()
        return older

    def _draw_slot(self, generator: torch.Generator) -> int:
        return int(torch.randint(self.size, (), generator=generator))
