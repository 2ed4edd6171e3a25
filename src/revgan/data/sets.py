"""What training and evaluation draw from: the data set of a configuration, checked and opened."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from revgan.data.earth import cache_folder, write_earth
from revgan.data.folders import (
    Checked,
    ImageFolder,
    ImageRef,
    Split,
    check_images,
    open_folder,
)
from revgan.data.images import ImageFormat
from revgan.errors import UserError

BUILT_IN = ("earth",)


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are brought to size.

    Attributes:
        path: a folder of images, or the name of a built-in set (earth).
        resize: the shorter side in pixels after scaling; null keeps the size.
        crop: side in pixels of the random square that training cuts out.
        flip: mirror half of the training samples left to right.
        channels_a: channels that images of A are converted to; null takes them as they are.
        channels_b: likewise for B.
    """

    path: str = ""
    resize: int | None = None
    crop: int = 256
    flip: bool = True
    channels_a: int | None = None
    channels_b: int | None = None

    def __post_init__(self) -> None:
        if self.crop < 1:
            raise ValueError(f"crop must be 1 or more, not {self.crop}")
        if self.resize is not None and self.resize < self.crop:
            raise ValueError(
                f"resize must be null or at least crop ({self.crop}), not {self.resize}"
            )
        for name in ("channels_a", "channels_b"):
            if getattr(self, name) not in (None, 1, 2, 3, 4):
                raise ValueError(f"{name} must be null or 1 to 4, not {getattr(self, name)}")

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """An image's height and width after `resize`."""
        if self.resize is None:
            return height, width
        shorter = min(height, width)
        return round(height * self.resize / shorter), round(width * self.resize / shorter)


@dataclass(frozen=True)
class Domain:
    """One side of a data set: its training and test images and their common format."""

    train: tuple[ImageRef, ...]
    test: tuple[ImageRef, ...]
    format: ImageFormat


@dataclass(frozen=True)
class DataSet:
    """Images of both domains, decoded once and found good.

    Attributes:
        test_aligned: a.test[i] and b.test[i] show the same.
    """

    a: Domain
    b: Domain
    test_aligned: bool


Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def locate(config: DataConfig, *, paired: bool) -> ImageFolder:
    """Finds the images of a configuration without decoding them; built-in sets are made.

    Raises:
        UserError: no such folder or set, or its layout is not understood.
    """
    if config.path in BUILT_IN:
        return open_folder(write_earth(cache_folder(), paired=paired), paired)
    if not Path(config.path).exists():
        raise UserError(
            f"{config.path} does not exist; give a folder of images or one of the built-in sets: "
            + ", ".join(BUILT_IN)
        )
    return open_folder(Path(config.path), paired)


def open_data_set(config: DataConfig, *, paired: bool, progress: Progress | None = None) -> DataSet:
    """Finds the images of a configuration and decodes every one of them once.

    So that an image that can't be read stops training before the first step.

    Raises:
        UserError: what is wrong with which image, or with the folder.
    """
    folder = locate(config, paired=paired)
    train, test = folder.train, folder.test or Split((), (), aligned=False)
    refs_a, refs_b = train.a + test.a, train.b + test.b
    a = _check_domain("A", refs_a, config, config.channels_a, progress)
    b = _check_domain("B", refs_b, config, config.channels_b, progress)
    sizes = dict(zip(refs_a + refs_b, a.sizes + b.sizes, strict=True))
    unequal_test = _unequal_pair(test, sizes, config)
    unequal = _unequal_pair(train, sizes, config) or unequal_test
    if paired and unequal is not None:
        (height_a, width_a), (height_b, width_b) = (sizes[ref] for ref in unequal)
        raise UserError(
            f"{unequal[0]} is {width_a} x {height_a} pixels and {unequal[1]} {width_b} x "
            f"{height_b}; to be paired, both need the same size"
        )
    return DataSet(
        a=Domain(train.a, test.a, a.format),
        b=Domain(train.b, test.b, b.format),
        # Unpaired sets may have equal names by chance, as in 1.png, 2.png.
        test_aligned=test.aligned and unequal_test is None,
    )


def _unequal_pair(
    split: Split, sizes: dict[ImageRef, tuple[int, int]], config: DataConfig
) -> tuple[ImageRef, ImageRef] | None:
    """The first of aligned pairs whose images are of different size after `resize`."""
    pairs = zip(split.a, split.b, strict=True) if split.aligned else ()
    for a, b in pairs:
        if config.scaled(*sizes[a]) != config.scaled(*sizes[b]):
            return a, b
    return None


def _check_domain(
    name: str,
    refs: tuple[ImageRef, ...],
    config: DataConfig,
    channels: int | None,
    progress: Progress | None,
) -> Checked:
    done = 0

    def count(_: int) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(f"checking images of {name}", done, len(refs))

    min_size = 1 if config.resize is not None else config.crop
    return check_images(refs, min_size, channels, count)
