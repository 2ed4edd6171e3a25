"""Where the pixels of an image come from: decoded anew each time, or kept from the check on.

All sources give the same bits. What they keep is what `Decoding` makes of a file: its own integers
where images keep their size (and of label maps), float32 where resizing has mixed them. The check
before training decodes every image anyway, so keeping them then costs little time.
"""

from abc import ABC, abstractmethod
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from revgan.data.array_cache import ArrayCache, read_array
from revgan.data.cache_limit import use
from revgan.data.decoding import Decoding, Pixels
from revgan.data.folders import ImageRef, Inspected, inspected
from revgan.data.images import ImageFormat
from revgan.errors import UserError

IMAGES = ArrayCache("images", version=1)
"""Decoded images, as `DiskSource` leaves them."""

_DECODERS = [version(name) for name in ("pillow", "imagecodecs", "tifffile", "torch")]
"""Another version may round otherwise, so its pixels are kept apart."""


class PixelSource(ABC):
    """The images of a domain as pixels.

    Args:
        decoding: what becomes of each image.
    """

    def __init__(self, decoding: Decoding) -> None:
        self.decoding = decoding

    @abstractmethod
    def inspect(self, ref: ImageRef) -> Inspected:
        """What the file of an image holds; the source may keep its pixels. For several threads.

        Raises:
            UserError: it can't be read, or not be kept.
        """

    @abstractmethod
    def pixels(self, ref: ImageRef) -> Pixels:
        """An image that was inspected before, (H, W, C); not to be written to."""


class FileSource(PixelSource):
    """Keeps nothing."""

    def inspect(self, ref: ImageRef) -> Inspected:
        return inspected(ref.read())

    def pixels(self, ref: ImageRef) -> Pixels:
        return self.decoding.apply(ref.read())


class DiskSource(PixelSource):
    """Keeps pixels in the cache on the disk, where later runs find them.

    They stay there until this process ends.
    """

    def __init__(self, decoding: Decoding) -> None:
        super().__init__(decoding)
        decided_by = [decoding.config.resize, decoding.channels, decoding.flat]
        self._decided_by = [*decided_by, *_DECODERS]
        self._places: dict[ImageRef, Path] = {}

    def inspect(self, ref: ImageRef) -> Inspected:
        place = self._places[ref] = IMAGES.place(ref.path, ref.half, *self._decided_by)
        use(place)
        if place.is_dir():
            height, width, channels, bits = map(int, read_array(place, "file"))
            return Inspected(ImageFormat(channels, 8 if bits == 8 else 16), (height, width))
        image = ref.read()
        found = inspected(image)
        file = np.array([*found.size, found.format.channels, found.format.bits])
        pixels = np.ascontiguousarray(self.decoding.apply(image))
        IMAGES.write(place, {"pixels": pixels, "file": file}, ref.path)
        return found

    def pixels(self, ref: ImageRef) -> Pixels:
        return read_array(self._places[ref], "pixels")


class Room:
    """The memory that the images of a data set share out.

    Args:
        limit: bytes; None for no limit.
        images: how many there will be.

    Attributes:
        taken: bytes.
    """

    def __init__(self, limit: int | None, images: int) -> None:
        self.limit, self.images = limit, images
        self.taken = self.kept = 0
        self._lock = Lock()

    def take(self, count: int) -> None:
        """Takes bytes for one image.

        Raises:
            UserError: there is no room for it; says how much all would need.
        """
        with self._lock:
            self.taken, self.kept = self.taken + count, self.kept + 1
            if self.limit is not None and self.taken > self.limit:
                needed = self.taken / self.kept * self.images
                raise UserError(
                    f"data.cache memory needs about {needed / 2**20:,.0f} MiB for {self.images:,} "
                    f"images, and there are {self.limit / 2**20:,.0f}; set data.cache to disk or "
                    "none"
                )


class _Place(NamedTuple):
    """Where an array lies in a block of memory, and what it is."""

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def view(self, block: Tensor) -> Pixels:
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        array = block[self.start : self.start + size].numpy()
        return array.view(self.dtype).reshape(self.shape)


class MemorySource(PixelSource):
    """Keeps pixels in memory.

    Loader processes that are forked have them at once, without a copy. To others (macOS, Windows,
    Python 3.14) they go by one block of shared memory, made when the first of them starts.

    Args:
        decoding: what becomes of each image.
        room: where the memory comes from.
    """

    def __init__(self, decoding: Decoding, room: Room) -> None:
        super().__init__(decoding)
        self._room = room
        self._kept: dict[ImageRef, Pixels] = {}
        self._block: tuple[Tensor, dict[ImageRef, _Place]] | None = None

    def inspect(self, ref: ImageRef) -> Inspected:
        image = ref.read()
        # A view of one half would keep the other half, too.
        pixels = np.ascontiguousarray(self.decoding.apply(image))
        self._room.take(pixels.nbytes)
        self._kept[ref] = pixels
        return inspected(image)

    def pixels(self, ref: ImageRef) -> Pixels:
        return self._kept[ref]

    def __getstate__(self) -> dict[str, Any]:
        if self._block is None:
            self._block = self._share()
        return {"decoding": self.decoding, "_block": self._block}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        block, places = state["_block"]
        self._kept = {ref: place.view(block) for ref, place in places.items()}

    def _share(self) -> tuple[Tensor, dict[ImageRef, _Place]]:
        """Moves all pixels into one block, as each block needs a file descriptor."""
        places, end = {}, 0
        for ref, pixels in self._kept.items():
            places[ref] = _Place(end, pixels.shape, pixels.dtype)
            end += -(-pixels.nbytes // 8) * 8  # so that all numbers are aligned
        block = torch.empty(end, dtype=torch.uint8).share_memory_()
        for ref, place in places.items():
            view = place.view(block)
            view[:] = self._kept[ref]
            self._kept[ref] = view
        return block, places
