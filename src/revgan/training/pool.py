"""A history of generated images for the discriminator."""

import torch
from torch import Tensor


class ImagePool:
    """Shows the discriminator older fakes half of the time (Shrivastava et al., 2017).

    While the pool fills, images pass through and are kept. Once it is full, each image is, with
    probability 1/2, swapped for a random older one, which is returned instead. The pool is kept in
    main memory, because a GPU's is scarce.

    Args:
        size: how many images to keep; with 0, every image passes through.
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
            self.images.append(image.to("cpu", copy=True))
            return image
        if torch.rand((), generator=generator) < 0.5:
            return image
        slot = int(torch.randint(self.size, (), generator=generator))
        older, self.images[slot] = self.images[slot], image.to("cpu", copy=True)
        return older.to(image.device)
