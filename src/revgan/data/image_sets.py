"""Data sets of images, checked and opened."""

from dataclasses import dataclass

from torch import Tensor

from revgan.data.cache_limit import make_room
from revgan.data.config import DataConfig
from revgan.data.decoding import Decoding, Pixels, in_unit
from revgan.data.domains import DataSet, Domain, Progress
from revgan.data.folders import Checked, ImageFolder, ImageRef, check_images
from revgan.data.image_sources import (
    IMAGES,
    DiskSource,
    FileSource,
    MemorySource,
    PixelSource,
    Room,
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
        source: where their pixels come from.
    """

    format: ImageFormat
    source: PixelSource

    @property
    def channels(self) -> int:
        return self.format.channels

    def pixels(self, ref: ImageRef) -> Pixels:
        """One image at the configuration's size; cut out of it what is needed, then `in_unit`."""
        return self.source.pixels(ref)

    def load(self, ref: ImageRef) -> Tensor:
        """One image at the configuration's size, (channels, H, W) in [-1, 1]."""
        return in_unit(self.pixels(ref))

    def load_middle(self, ref: ImageRef, largest: int) -> Tensor:
        pixels = self.pixels(ref)
        top, left = (max(0, (side - largest) // 2) for side in pixels.shape[:2])
        return in_unit(pixels[top : top + largest, left : left + largest])


def open_images(
    folder: ImageFolder,
    config: DataConfig,
    *,
    paired: bool,
    progress: Progress | None,
    memory: int | None,
) -> DataSet:
    """Decodes every image of a folder once; see `revgan.data.sets.open_data_set`.

    Raises:
        UserError: what is wrong with which image.
    """
    train, test = folder.train, folder.test or Split[ImageRef]((), (), aligned=False)
    val = folder.val or test
    refs_a, refs_b = train.a + test.a, train.b + test.b
    if folder.val is not None:
        refs_a, refs_b = refs_a + val.a, refs_b + val.b
    palette = Palette.read(folder.root)
    labels = None if palette is None else palette.domain
    room = Room(memory, len(refs_a) + len(refs_b))
    source_a = _source(Decoding(config, config.channels_a, flat=labels == "A"), room)
    source_b = _source(Decoding(config, config.channels_b, flat=labels == "B"), room)
    a = _check_domain("A", refs_a, source_a, progress)
    b = _check_domain("B", refs_b, source_b, progress)
    if config.cache == "disk":
        make_room(IMAGES.folder, 0)  # once for all, as it looks at every entry
    sizes = dict(zip(refs_a + refs_b, a.sizes + b.sizes, strict=True))
    unequal_test, unequal_val = (_unequal_pair(split, sizes, config) for split in (test, val))
    unequal = _unequal_pair(train, sizes, config) or unequal_test or unequal_val
    if paired and unequal is not None:
        (height_a, width_a), (height_b, width_b) = (sizes[ref] for ref in unequal)
        raise UserError(
            f"{unequal[0]} is {width_a} x {height_a} pixels and {unequal[1]} {width_b} x "
            f"{height_b}; to be paired, both need the same size"
        )
    return DataSet(
        a=ImageDomain(train.a, test.a, a.format, source_a, val=val.a),
        b=ImageDomain(train.b, test.b, b.format, source_b, val=val.b),
        # Unpaired sets may have equal names by chance, as in 1.png, 2.png.
        test_aligned=test.aligned and unequal_test is None,
        val_aligned=val.aligned and unequal_val is None,
        palette=palette,
        kept=room.taken,
    )


def _source(decoding: Decoding, room: Room) -> PixelSource:
    match decoding.config.cache:
        case "memory":
            return MemorySource(decoding, room)
        case "disk":
            return DiskSource(decoding)
        case "none":
            return FileSource(decoding)


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
    source: PixelSource,
    progress: Progress | None,
) -> Checked:
    def count(done: int) -> None:
        if progress is not None:
            progress(f"checking images of {name}", done, len(refs))

    config = source.decoding.config
    min_size = 1 if config.resize is not None else config.crop
    return check_images(refs, min_size, source.decoding.channels, count, source.inspect)
