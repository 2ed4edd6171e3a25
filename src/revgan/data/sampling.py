"""The endless sequence of training samples, each a function of the seed and its number.

Which images meet, where they are cropped and whether they are mirrored depends on (seed, number)
alone: not on the number of workers, nor on where a run was interrupted. So a loader may start
anywhere in the sequence, and several machines may share it out.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from revgan.data.config import DataConfig
from revgan.data.decoding import in_unit
from revgan.data.domains import DataSet
from revgan.data.folders import ImageRef
from revgan.data.image_sets import ImageDomain
from revgan.data.volume_cache import CachedVolume
from revgan.data.volume_sets import VolumeDomain


class TrainingSamples(Dataset[tuple[Tensor, Tensor]]):
    """Sample n of the sequence: a pair (C, *crop) of A and of B in [-1, 1].

    Paired, both come from the same place of aligned images or volumes; unpaired, each from
    anywhere. In an epoch, each image of the larger domain comes once, and each volume
    `config.crops_per_volume` times, in an order of that epoch.
    """

    def __init__(self, data: DataSet, config: DataConfig, *, paired: bool, seed: int) -> None:
        self.data = data
        self.config = config
        self.paired = paired
        self.seed = seed
        larger = max(len(data.a.train), len(data.b.train))
        self.epoch_length = larger * config.crops_per_volume

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        epoch, position = divmod(number, self.epoch_length)
        place_a = self._draw(len(self.data.a.train), epoch, position, stream=0)
        stream_b = 0 if self.paired else 1
        place_b = self._draw(len(self.data.b.train), epoch, position, stream=stream_b)
        sources: dict[str, Any] = {
            "a": (self.data.a, self.data.a.train[place_a]),
            "b": (self.data.b, self.data.b.train[place_b]),
        }
        cut: Callable[..., dict[str, Tensor]]
        cut = cut_volumes if self.config.spatial_dims == 3 else cut_images
        groups = [("a", "b")] if self.paired else [("a",), ("b",)]
        samples: dict[str, Tensor] = {}
        for stream, keys in enumerate(groups):
            random = _random(self.seed, number, 2 + stream)
            samples |= cut({key: sources[key] for key in keys}, self.config, random)
        return samples["a"], samples["b"]

    def _draw(self, count: int, epoch: int, position: int, stream: int) -> int:
        # The smaller domain goes through several orders of its own within an epoch.
        round_, place = divmod(position, count)
        return int(_order(count, self.seed, epoch, round_, stream)[place])


def cut_images(
    sources: Mapping[str, tuple[ImageDomain, ImageRef]],
    config: DataConfig,
    random: np.random.Generator,
) -> dict[str, Tensor]:
    """A random square, mirrored or not, at the same place of all images."""
    pixels = {key: domain.pixels(ref) for key, (domain, ref) in sources.items()}
    height, width = next(iter(pixels.values())).shape[:2]
    room = height - config.crop, width - config.crop
    (top, left), mirrored = _draw_square(room, int(random.integers(2**32)))
    rows, columns = slice(top, top + config.crop), slice(left, left + config.crop)
    direction = -1 if mirrored and config.flip else 1
    return {key: in_unit(array[rows, columns][:, ::direction]) for key, array in pixels.items()}


def _draw_square(room: tuple[int, int], seed: int) -> tuple[list[int], bool]:
    """A square's upper left corner, and whether it is mirrored.

    Drawn as MONAI's RandSpatialCropd and RandFlipd do from that seed. Its transforms would take as
    long as decoding a JPEG: they copy whole images, and make new random states for every sample.
    """
    _legacy.seed(seed)
    seed_of_corner, seed_of_mirror = _legacy.randint(2**32, size=2, dtype=np.uint32)
    _legacy.seed(seed_of_corner)
    corner = [int(_legacy.randint(side + 1)) if side else 0 for side in room]
    _legacy.seed(seed_of_mirror)
    return corner, bool(_legacy.random_sample() < 0.5)


_legacy = np.random.RandomState(0)
"""Seeded anew before each use: to make one takes a hundred times as long."""


def cut_volumes(
    sources: Mapping[str, tuple[VolumeDomain, CachedVolume]],
    config: DataConfig,
    random: np.random.Generator,
) -> dict[str, Tensor]:
    """A random cube, mirrored or not, at the same place of all volumes, which are aligned.

    MONAI's transforms would read the whole volumes for it.
    """
    _, volume = next(iter(sources.values()))
    room = np.array(volume.shape) - config.crop
    if random.random() < config.foreground:
        foreground = volume.foreground
        centre = foreground[random.integers(len(foreground))]
        corner = np.clip(centre - config.crop // 2, 0, room)
    else:
        corner = random.integers(room + 1)
    box = tuple(corner.tolist()), (config.crop,) * 3
    cubes = {key: domain.cut(ref, *box) for key, (domain, ref) in sources.items()}
    if config.flip and random.random() < 0.5:
        return {key: cube.flip(1 + volume.left_right) for key, cube in cubes.items()}
    return cubes


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
