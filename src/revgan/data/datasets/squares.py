"""Images of published data sets, scaled to squares of one size."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from revgan.data.channels import convert_channels
from revgan.data.datasets.prepared import Role, Sample, is_complete, open_target
from revgan.data.formats import Header, create, read
from revgan.errors import UserError
from revgan.progress import progress_bar

Pixels = NDArray[np.uint8]


class ImageSample(Sample, Protocol):
    """Images that are written together."""

    @property
    def role(self) -> Role:
        """Their purpose."""

    @property
    def name(self) -> str:
        """The name of their files."""

    def write(self, target: Path, side: int) -> None:
        """Writes squares of `side` pixels into existing folders of `target`."""


def prepare_pairs(
    task: str, samples: Sequence[ImageSample], target: Path, side: int, console: Console
) -> dict[Role, int]:
    """Makes or completes a data set of image pairs; returns their number by purpose.

    Args:
        task: the data set's name.
        samples: what to write.
        target: a folder that is new, empty or from an earlier call.
        side: of the squares, in pixels.
        console: for the progress bar.

    Raises:
        UserError, OSError: an image or the target can't be used; images written before stay.
    """
    names: dict[Role, list[str]] = {"train": [], "test": []}
    for sample in samples:
        names[sample.role].append(sample.name)
    record = {"task": task, "size": side, "train": names["train"], "test": names["test"]}
    open_target(target, record, samples, "images")
    columns = *Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn()
    with progress_bar(console, *columns, transient=False) as bar:
        count = bar.add_task(target.name, total=len(samples))
        write_squares(samples, target, side, lambda: bar.advance(count))
    return {role: len(of_role) for role, of_role in names.items()}


def write_squares(
    samples: Sequence[ImageSample], target: Path, side: int, advance: Callable[[], object]
) -> None:
    """Writes missing images, on all cores.

    Args:
        samples: what to write.
        target: the target, whose folders exist.
        side: of the squares, in pixels.
        advance: called after each sample.

    Raises:
        UserError: an image can't be read; the message names the first. Images written before stay.
    """

    def write(sample: ImageSample) -> None:
        if not is_complete(sample, target):
            sample.write(target, side)

    # Threads, as decoders and encoders release the interpreter lock.
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for _ in pool.map(write, samples):
            advance()
    finally:
        pool.shutdown(cancel_futures=True)


def read_pixels(path: Path, channels: int) -> Pixels:
    """Reads an 8-bit image (H, W, channels), converted as in `convert_channels`.

    Raises:
        UserError: it can't be read, or has 16 bits.
    """
    values = read(path, spatial_dims=2).values
    if values.dtype != np.uint8:
        raise UserError(f"{path} has 16 bits per sample; save it with 8")
    return np.ascontiguousarray(np.moveaxis(convert_channels(values, channels), 0, -1))


def write_pixels(path: Path, pixels: Pixels) -> None:
    """Writes an 8-bit image (H, W, C).

    Raises:
        UserError: it can't be written.
    """
    values = np.moveaxis(pixels, -1, 0)
    with create(path, Header(len(values), values.shape[1:], values.dtype)) as file:
        file.write(values)


def smooth_square(pixels: Pixels, side: int) -> Pixels:
    """Scales a photo (H, W, 3) to (side, side, 3), bicubic and antialiased, ignoring proportions.

    CycleGAN's and pix2pix's preparations do the same.
    """
    picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def flat_square(pixels: Pixels, side: int) -> Pixels:
    """Scales a label map (H, W, C) to (side, side, C), by nearest neighbour."""
    rows, columns = (
        (2 * np.arange(side) + 1) * length // (2 * side) for length in pixels.shape[:2]
    )
    return pixels[np.ix_(rows, columns)]
