"""The endless sequence of training samples, each a function of the seed and its number.

Which images meet, where they are cropped and whether they are mirrored depends on (seed, number)
alone: not on the number of workers, nor on where a run was interrupted. So a loader may start
anywhere in the sequence, and several machines may share it out.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from monai.transforms import Compose, RandFlipd, RandSpatialCropd
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset, Sampler

from revgan.data.folders import ImageRef, read_tensor
from revgan.data.sets import DataConfig, DataSet


class TrainingSamples(Dataset[tuple[Tensor, Tensor]]):
    """Sample n of the sequence: a pair (C, crop, crop) of A and of B in [-1, 1].

    Paired, both come from the same place of aligned images; unpaired, each from anywhere.
    An epoch is as many samples as the larger domain has images: in it, each of its images comes
    once, in an order of that epoch.
    """

    def __init__(self, data: DataSet, config: DataConfig, *, paired: bool, seed: int) -> None:
        self.data = data
        self.config = config
        self.paired = paired
        self.seed = seed
        self.epoch_length = max(len(data.a.train), len(data.b.train))

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        epoch, position = divmod(number, self.epoch_length)
        place_a = self._draw(len(self.data.a.train), epoch, position, stream=0)
        stream_b = 0 if self.paired else 1
        place_b = self._draw(len(self.data.b.train), epoch, position, stream=stream_b)
        images = {
            "a": load_image(self.data.a.train[place_a], self.data.a.format.channels, self.config),
            "b": load_image(self.data.b.train[place_b], self.data.b.format.channels, self.config),
        }
        groups = [("a", "b")] if self.paired else [("a",), ("b",)]
        for stream, keys in enumerate(groups):
            images |= self._augment({key: images[key] for key in keys}, number, stream)
        return images["a"], images["b"]

    def _draw(self, count: int, epoch: int, position: int, stream: int) -> int:
        # The smaller domain goes through several orders of its own within an epoch.
        round_, place = divmod(position, count)
        return int(_order(count, self.seed, epoch, round_, stream)[place])

    def _augment(self, images: dict[str, Tensor], number: int, stream: int) -> dict[str, Tensor]:
        keys = list(images)
        crop = (self.config.crop, self.config.crop)
        steps = [RandSpatialCropd(keys, crop, random_size=False)]
        if self.config.flip:
            steps.append(RandFlipd(keys, prob=0.5, spatial_axis=1))
        seed = int(_random(self.seed, number, 2 + stream).integers(2**32))
        augmented = Compose(steps).set_random_state(seed)(images)
        # MONAI's tensors carry metadata, which every operation on them would copy.
        return {key: augmented[key].as_tensor().contiguous() for key in keys}


def load_image(ref: ImageRef, channels: int, config: DataConfig) -> Tensor:
    """One image at the configuration's size, (channels, H, W) in [-1, 1]."""
    image = read_tensor(ref, channels)
    height, width = image.shape[1:]
    size = config.scaled(height, width)
    if size == (height, width):
        return image
    resized = F.interpolate(image[None], size, mode="bilinear", antialias=True)
    return resized[0].clamp_(-1, 1)


class Steps(Sampler[list[int]]):
    """The sample numbers of each training step from `first` to before `last`, for one process.

    A step's samples are consecutive; process `rank` of `processes` takes its share of them.
    """

    def __init__(
        self, first: int, last: int, batch_size: int, rank: int = 0, processes: int = 1
    ) -> None:
        self.first = first
        self.last = last
        self.batch_size = batch_size
        self.rank = rank
        self.processes = processes

    def __len__(self) -> int:
        return max(0, self.last - self.first)

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.last):
            start = (step * self.processes + self.rank) * self.batch_size
            yield list(range(start, start + self.batch_size))


def _random(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


@lru_cache(maxsize=8)
def _order(count: int, *key: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return _random(*key).permutation(count)
