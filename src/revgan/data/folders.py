"""Folders of images as users of image translation have them, found and checked before training."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from revgan.data.images import (
    SUFFIXES,
    ImageArray,
    ImageFormat,
    image_format,
    read_image,
)
from revgan.data.splits import Split, existing_folder, open_split, require_aligned
from revgan.errors import UserError


@dataclass(frozen=True)
class ImageRef:
    """An image that can be read: a file, or one half of a file that holds A and B side by side.

    Attributes:
        path: the file.
        half: the half of its width that is meant (left is A, right is B); none for all of it.
    """

    path: Path
    half: Literal["left", "right"] | None = None

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem

    def __str__(self) -> str:
        return str(self.path) if self.half is None else f"the {self.half} half of {self.path}"

    def read(self) -> ImageArray:
        """The image (H, W, C), see `read_image`; of a half, W is half the file's width.

        Raises:
            UserError: the file cannot be read, or is to be halved and has an odd width.
        """
        image = read_image(self.path)
        if self.half is None:
            return image
        width = image.shape[1]
        if width % 2:
            raise UserError(
                f"{self.path} has the odd width {width}; an image with A on the left and B on the "
                "right needs two halves of equal width"
            )
        return image[:, : width // 2] if self.half == "left" else image[:, width // 2 :]


@dataclass(frozen=True)
class ImageFolder:
    """A folder of training images and, where there are any, images for the test and validation."""

    root: Path
    train: Split[ImageRef]
    test: Split[ImageRef] | None
    val: Split[ImageRef] | None


def find_images(folder: Path | str) -> list[Path]:
    """The image files right inside a folder, ordered by name; hidden files are passed over.

    Raises:
        UserError: there is no such folder, or it holds no images.
    """
    folder = existing_folder(folder)
    images = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()
    ]
    if not images:
        raise UserError(
            f"{folder} holds no images; put files in it that end in {', '.join(SUFFIXES)}; for "
            "volumes, start from --preset volumes"
        )
    return sorted(images, key=lambda path: (path.stem, path.name))


def open_folder(root: Path | str, paired: bool) -> ImageFolder:
    """Finds the images of a folder in one of two layouts, without reading them.

    Either `trainA` and `trainB` with images of A and B, or `train` with files that show A on the
    left and B on the right. Test images are in folders called `test` in place of `train`, those for
    validation in `val`. Both may be missing; without `test`, `val` is for the test.

    Args:
        root: the folder.
        paired: images of A and B are pairs: in two folders, they go by the same names.

    Raises:
        UserError: no such folder, neither layout, no images, or images without partner if paired.
    """
    root = existing_folder(root)
    for open_layout in (_open_two_folders, _open_side_by_side):
        train = open_layout(root, "train")
        if train is not None:
            test, val = open_layout(root, "test"), open_layout(root, "val")
            if test is None:
                test, val = val, None
            for split in (train, test, val):
                if paired and split is not None:
                    require_aligned(split)
            return ImageFolder(root, train, test, val)
    raise UserError(
        f"{root} has no training images; it needs either the folders trainA and trainB, or a "
        "folder train of images with A on the left and B on the right"
    )


class Inspected(NamedTuple):
    """What the file of an image holds.

    Attributes:
        format: its channels and bit depth.
        size: height and width in pixels.
    """

    format: ImageFormat
    size: tuple[int, int]


def inspected(image: ImageArray) -> Inspected:
    """What a decoded image (H, W, C) holds."""
    return Inspected(image_format(image), (image.shape[0], image.shape[1]))


@dataclass(frozen=True)
class Checked:
    """What decoding the images of a domain has shown.

    Attributes:
        format: what they have in common.
        sizes: height and width of each in pixels.
    """

    format: ImageFormat
    sizes: list[tuple[int, int]]


def check_images(
    refs: Sequence[ImageRef],
    min_size: int,
    channels: int | None,
    progress: Callable[[int], None] | None = None,
    inspect: Callable[[ImageRef], Inspected] = lambda ref: inspected(ref.read()),
) -> Checked:
    """Decodes every image once, so that no bad file stops training midway.

    Args:
        refs: the images of a domain, at least one.
        min_size: the least height and width in pixels.
        channels: what they will be converted to; none requires that all have the same number of
            channels.
        progress: called after each image with the number of images done.
        inspect: decodes an image, or knows already what that gives; called in several threads.

    Returns:
        Their sizes, and the format that they have in common, with `channels` if that is given.

    Raises:
        UserError: names the first image that cannot be read, is too small, or has another bit
            depth or other channels than the first.
    """
    if not refs:
        raise ValueError("check_images needs at least one image")
    threads = torch.get_num_threads()
    # Each would resize with a team of threads of its own, a square of the cores in all.
    pool = ThreadPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,))
    try:
        # In order, whichever is decoded first, so that the same folder gives the same error.
        images = pool.map(inspect, refs)
        formats: list[ImageFormat] = []
        sizes: list[tuple[int, int]] = []
        for ref, (found, size) in zip(refs, images, strict=True):
            _require_size(ref, size, min_size)
            formats.append(found)
            sizes.append(size)
            _require_same(ref, found, refs[0], formats[0], any_channels=channels is not None)
            if progress is not None:
                progress(len(sizes))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # for threads to come
    common = formats[0]
    return Checked(common if channels is None else replace(common, channels=channels), sizes)


def _open_two_folders(root: Path, name: str) -> Split[ImageRef] | None:
    return open_split(root, name, lambda folder: [ImageRef(path) for path in find_images(folder)])


def _open_side_by_side(root: Path, name: str) -> Split[ImageRef] | None:
    folder = root / name
    if not folder.is_dir():
        return None
    files = find_images(folder)
    a = tuple(ImageRef(file, "left") for file in files)
    b = tuple(ImageRef(file, "right") for file in files)
    return Split(a, b, aligned=True)


def _require_size(ref: ImageRef, size: tuple[int, int], min_size: int) -> None:
    height, width = size
    if min(size) < min_size:
        raise UserError(
            f"{ref} is {width} pixels wide and {height} high; both must be at least {min_size}, "
            "or data.crop smaller, or data.resize set"
        )


def _require_same(
    ref: ImageRef, found: ImageFormat, first_ref: ImageRef, first: ImageFormat, any_channels: bool
) -> None:
    if found.bits != first.bits:
        raise UserError(
            f"{ref} has {found.bits} bits per sample, but {first_ref} has {first.bits}; save all "
            "images of a domain with the same bit depth"
        )
    if found.channels != first.channels and not any_channels:
        raise UserError(
            f"{ref} has {_channels(found)}, but {first_ref} has {first.channels}; set "
            "data.channels_a (or data.channels_b) to convert all"
        )


def _channels(found: ImageFormat) -> str:
    return "1 channel" if found.channels == 1 else f"{found.channels} channels"
