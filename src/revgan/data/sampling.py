"""The endless sequence of training samples; each depends only on the seed and its number.

Which scans are combined, where they are cropped and whether they are mirrored depends only on
(seed, number), not on the number of workers or on where a run was interrupted. So a loader can
start anywhere in the sequence, and several machines can share it.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from revgan.data.augmenting import augmented
from revgan.data.config import DataConfig
from revgan.data.domains import DataSet, Domain
from revgan.data.recipe import Prepared
from revgan.data.refs import ScanRef

ENOUGH = 0.25
"""The share of a crop that has to be measured, for another one not to be drawn in its place."""

DRAWS = 8
"""Crops that are drawn at most for one that is measured enough."""

Corner = NDArray[np.int64]


class TrainingSamples(Dataset[tuple[Tensor, ...]]):
    """Sample n of the sequence: a pair (C, *crop) of A and of B in [-1, 1], NaN where missing.

    With `config.train_mask`, their masks follow: bool (1, *crop), where losses count.

    Paired, both come from the same place of aligned scans; unpaired, each from anywhere. In an
    epoch, each scan of the larger domain occurs `config.crops_per_volume` times, in a new order
    each epoch.
    """

    def __init__(self, data: DataSet, config: DataConfig, *, paired: bool, seed: int) -> None:
        self.data = data
        self.config = config
        self.paired = paired
        self.seed = seed
        larger = max(len(data.a.train), len(data.b.train))
        self.epoch_length = larger * config.crops_per_volume

    def __getitem__(self, number: int) -> tuple[Tensor, ...]:
        epoch, position = divmod(number, self.epoch_length)
        place_a = self._draw(len(self.data.a.train), epoch, position, stream=0)
        stream_b = 0 if self.paired else 1
        place_b = self._draw(len(self.data.b.train), epoch, position, stream=stream_b)
        sources = {
            "a": (self.data.a, self.data.a.train[place_a]),
            "b": (self.data.b, self.data.b.train[place_b]),
        }
        groups = [("a", "b")] if self.paired else [("a",), ("b",)]
        samples: dict[str, Tensor] = {}
        for stream, keys in enumerate(groups):
            random = _random(self.seed, number, 2 + stream)
            samples |= cut({key: sources[key] for key in keys}, self.config, random)
        names = ("a", "b", *(map(mask_of, "ab") if self.config.train_mask else ()))
        return tuple(samples[name] for name in names)

    def _draw(self, count: int, epoch: int, position: int, stream: int) -> int:
        # The smaller domain goes through several orders within an epoch.
        round_, place = divmod(position, count)
        return int(_order(count, self.seed, epoch, round_, stream)[place])


def mask_of(name: str) -> str:
    """The name of a scan's mask in a sample."""
    return f"mask of {name}"


def cut(
    sources: Mapping[str, tuple[Domain, ScanRef]],
    config: DataConfig,
    random: np.random.Generator,
) -> dict[str, Tensor]:
    """Cuts a random box of the configured sizes, mirrored or not, from the same place in all scans.

    MONAI's transforms would read and copy whole scans.

    Args:
        sources: scans on the same grid, with their domains.
        config: the crop, the share of crops centred on the foreground, and how samples are changed.
        random: the random generator.

    Returns:
        (C, *crop) under the names of the sources, and with `config.train_mask` those of `mask_of`.
    """
    scans = {key: domain.prepared(ref) for key, (domain, ref) in sources.items()}
    masks = {
        key: domain.masks.of(ref)
        for key, (domain, ref) in sources.items()
        if domain.masks is not None
    }
    first = next(iter(scans))
    sizes, shape = config.crop_sizes, scans[first].shape
    room = np.maximum(np.array(shape) - sizes, 0)
    if random.random() < config.foreground:
        found = masks[first] if config.foreground_from == "mask" else scans[first]
        foreground = found.foreground
        assert foreground is not None  # the recipe computes it then
        centre = foreground[random.integers(len(foreground))]
        corner = np.clip(centre - np.array(sizes) // 2, 0, room)
    else:
        corner = _measured_corner(scans, room, sizes, random)
    box = _box(corner, sizes)
    cuts = {
        key: sources[key][0].in_unit(scan.cut(box).continued(sizes)) for key, scan in scans.items()
    }
    if config.train_mask:
        inside = {mask_of(key): mask.cut(box).continued(sizes) for key, mask in masks.items()}
        cuts |= {
            name: torch.from_numpy(np.asarray(mask.values, bool)) for name, mask in inside.items()
        }
    if config.flip and random.random() < 0.5:
        left_right = scans[first].left_right
        cuts = {key: crop.flip(1 + left_right) for key, crop in cuts.items()}
    if not config.augmented:
        return cuts
    flat = (key for key, (domain, _) in sources.items() if domain.store.recipe.flat)
    return augmented(cuts, config, random, frozenset([*flat, *map(mask_of, sources)]))


def _box(corner: Corner, sizes: Sequence[int]) -> list[slice]:
    return [slice(start, start + size) for start, size in zip(corner.tolist(), sizes, strict=True)]


def _measured_corner(
    scans: Mapping[str, Prepared],
    room: Corner,
    sizes: Sequence[int],
    random: np.random.Generator,
) -> Corner:
    """Of a crop from anywhere; of scans with gaps, the first drawn that is measured enough.

    If none of `DRAWS` is, it is the one that is measured most.
    """
    best, most = room, -1.0
    for _ in range(DRAWS):
        corner = random.integers(room + 1)
        gappy = [scan for scan in scans.values() if scan.found.missing]
        missing = [scan.cut(_box(corner, sizes)).missing for scan in gappy]
        measured = min((1 - float(each.mean()) for each in missing if each is not None), default=1)
        if measured >= ENOUGH:
            return corner
        if measured > most:
            best, most = corner, measured
    return best


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
