"""What training and evaluation draw from: the data set of a configuration, checked and opened."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from revgan.data.earth import cache_folder, write_earth
from revgan.data.folders import ImageFolder, ImageRef, Split, check_images, open_folder
from revgan.data.images import ImageFormat
from revgan.errors import UserError

BUILT_IN = ("earth",)


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are brought to size.

    Attributes:
        path: a folder of images, or the name of a built-in set (earth).
        resize: the shorter side in pixels after scaling; none keeps the size.
        crop: side in pixels of the random square that training cuts out.
        flip: mirror half of the training samples left to right.
        channels_a: channels that images of A are converted to; none takes them as they are.
        channels_b: likewise for B.
    """

    path: str = "earth"
    resize: int | None = None
    crop: int = 256
    flip: bool = True
    channels_a: int | None = None
    channels_b: int | None = None

    def __post_init__(self) -> None:
        if self.crop < 32 or self.crop % 4:
            raise ValueError(f"crop must be a multiple of 4 from 32 up, not {self.crop}")
        if self.resize is not None and self.resize < self.crop:
            raise ValueError(
                f"resize must be none or at least crop ({self.crop}), not {self.resize}"
            )
        for name in ("channels_a", "channels_b"):
            if getattr(self, name) not in (None, 1, 2, 3, 4):
                raise ValueError(f"{name} must be none or 1 to 4, not {getattr(self, name)}")


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
        train_aligned: a.train[i] and b.train[i] show the same.
        test_aligned: a.test[i] and b.test[i] show the same.
    """

    a: Domain
    b: Domain
    train_aligned: bool
    test_aligned: bool


Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def locate(config: DataConfig, *, paired: bool) -> ImageFolder:
    """Finds the images of a configuration without decoding them; built-in sets are made.

    Raises:
        UserError: no such folder or set, or its layout is not understood.
    """
    if config.path in BUILT_IN and not Path(config.path).is_dir():
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
    test = folder.test or Split((), (), aligned=False)
    return DataSet(
        a=_check_domain("A", folder.train.a, test.a, config, config.channels_a, progress),
        b=_check_domain("B", folder.train.b, test.b, config, config.channels_b, progress),
        train_aligned=folder.train.aligned,
        test_aligned=test.aligned,
    )


def _check_domain(
    name: str,
    train: tuple[ImageRef, ...],
    test: tuple[ImageRef, ...],
    config: DataConfig,
    channels: int | None,
    progress: Progress | None,
) -> Domain:
    refs = train + test
    done = 0

    def count(_: int) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(f"checking images of {name}", done, len(refs))

    min_size = 1 if config.resize is not None else config.crop
    formats = check_images(refs, min_size, channels, count)
    return Domain(train, test, replace(formats, channels=channels or formats.channels))
