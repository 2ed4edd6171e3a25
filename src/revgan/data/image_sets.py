"""Data sets of images, checked and opened."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from revgan.data.config import DataConfig
from revgan.data.domains import DataSet, Domain, Progress
from revgan.data.folders import (
    Checked,
    ImageFolder,
    ImageRef,
    check_images,
    read_tensor,
)
from revgan.data.images import ImageFormat
from revgan.data.labels import Palette
from revgan.data.splits import Split
from revgan.errors import UserError


@dataclass(frozen=True)
class ImageDomain(Domain[ImageRef]):
    """Images of one domain, and their common format.

    Attributes:
        train: the training images.
        test: the test images.
        val: those that are scored while training goes on.
        format: what they have in common.
        config: how they are brought to size.
        flat: they are label maps, whose colours are not to be mixed.
    """

    format: ImageFormat
    config: DataConfig
    flat: bool = False

    @property
    def channels(self) -> int:
        return self.format.channels

    def load(self, ref: ImageRef) -> Tensor:
        """One image at the configuration's size, (channels, H, W) in [-1, 1]."""
        image = read_tensor(ref, self.channels)
        height, width = image.shape[1:]
        size = self.config.scaled(height, width)
        if size == (height, width):
            return image
        if self.flat:
            return F.interpolate(image[None], size, mode="nearest-exact")[0]
        resized = F.interpolate(image[None], size, mode="bilinear", antialias=True)
        return resized[0].clamp_(-1, 1)

    def load_middle(self, ref: ImageRef, largest: int) -> Tensor:
        image = self.load(ref)
        top, left = (max(0, (side - largest) // 2) for side in image.shape[1:])
        return image[:, top : top + largest, left : left + largest]


def open_images(
    folder: ImageFolder, config: DataConfig, *, paired: bool, progress: Progress | None
) -> DataSet:
    """Decodes every image of a folder once.

    Raises:
        UserError: what is wrong with which image.
    """
    train, test = folder.train, folder.test or Split[ImageRef]((), (), aligned=False)
    val = folder.val or test
    refs_a, refs_b = train.a + test.a, train.b + test.b
    if folder.val is not None:
        refs_a, refs_b = refs_a + val.a, refs_b + val.b
    a = _check_domain("A", refs_a, config, config.channels_a, progress)
    b = _check_domain("B", refs_b, config, config.channels_b, progress)
    sizes = dict(zip(refs_a + refs_b, a.sizes + b.sizes, strict=True))
    unequal_test, unequal_val = (_unequal_pair(split, sizes, config) for split in (test, val))
    unequal = _unequal_pair(train, sizes, config) or unequal_test or unequal_val
    if paired and unequal is not None:
        (height_a, width_a), (height_b, width_b) = (sizes[ref] for ref in unequal)
        raise UserError(
            f"{unequal[0]} is {width_a} x {height_a} pixels and {unequal[1]} {width_b} x "
            f"{height_b}; to be paired, both need the same size"
        )
    palette = Palette.read(folder.root)
    labels = None if palette is None else palette.domain
    return DataSet(
        a=ImageDomain(train.a, test.a, a.format, config, flat=labels == "A", val=val.a),
        b=ImageDomain(train.b, test.b, b.format, config, flat=labels == "B", val=val.b),
        # Unpaired sets may have equal names by chance, as in 1.png, 2.png.
        test_aligned=test.aligned and unequal_test is None,
        val_aligned=val.aligned and unequal_val is None,
        palette=palette,
    )


def _unequal_pair(
    split: Split[ImageRef], sizes: dict[ImageRef, tuple[int, int]], config: DataConfig
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
