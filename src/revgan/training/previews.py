"""Pictures of held-out images translated during training."""

from collections.abc import Callable, Iterator

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from revgan.data.channels import COLOURS
from revgan.data.domains import spread
from revgan.data.formats import Affine
from revgan.data.sets import DataConfig, DataSet
from revgan.directions import DIRECTIONS, Direction
from revgan.figures import image_grid, slice_volumes, volume_grid
from revgan.files import writing
from revgan.networks import TwoWayGenerator
from revgan.networks.axes import PerAxis
from revgan.training.runs import RunFolder
from revgan.training.trackers import log_picture
from revgan.training.validation import evaluating, there_and_back

ROWS = 4
"""Images in each picture."""

WIDTH = 1024
"""In pixels; narrower pictures are enlarged by a whole number, up to this width."""

HEADING = 18
"""Height in pixels of the line above a sample that names its columns."""

Translate = Callable[[Tensor], list[Tensor]]
"""Maps an image or volume (C, *spatial) to itself, its translation, and its round trip."""


def save_pictures(
    generator: TwoWayGenerator,
    data: DataSet,
    config: DataConfig,
    run: RunFolder,
    accelerator: Accelerator,
    step: int,
) -> None:
    """Translates some validation images there and back, for the trackers and samples/.

    If no images are held out, training images are used. The truth is shown beside the translation
    if it is known. For volumes, pictures show slices through the middle.
    """
    # A picture must not need more memory than training. Even one of twice the crop takes less than
    # the activations that training stores; but lean stores almost none, and a cube of twice the
    # side is eight times as large.
    doubled = config.spatial_dims == 2 and generator.config.memory != "lean"
    largest = tuple(2 * size if doubled else size for size in config.crop_sizes)
    draw = _volume_grid if config.spatial_dims == 3 else _image_grid
    with evaluating(generator):
        for direction in DIRECTIONS:

            def translate(x: Tensor, direction: Direction = direction) -> list[Tensor]:
                return there_and_back(generator, x, direction, accelerator)

            title, grid = draw(data, direction, largest, translate)
            if data.kind.photos and max(data.channels) > COLOURS:
                title += " (channels 1 to 3)"
            pixels = (grid * 255).round().byte().permute(1, 2, 0).numpy()
            times = max(1, WIDTH // pixels.shape[1])
            pixels = pixels.repeat(times, 0).repeat(times, 1)
            with writing(run.samples):
                path = run.samples / f"step-{step:06d}-{direction}.png"
                _headed(f"{direction}: {title}", pixels).save(path)
            with writing(run.tensorboard):
                log_picture(accelerator, f"{direction}: {title}", pixels, step)


def _image_grid(
    data: DataSet, direction: Direction, largest: PerAxis, translate: Translate
) -> tuple[str, Tensor]:
    """The names of the grid's columns, and the grid, (3, H, W) in [0, 1]."""
    rows = [
        [x, there, again] if truth is None else [x, there, truth, again]
        for _, x, there, truth, again in _translated(data, direction, largest, translate)
    ]
    shown = "truth, " if data.val_aligned else ""
    return f"input, translation, {shown}round trip", image_grid(rows)


def _volume_grid(
    data: DataSet, direction: Direction, largest: PerAxis, translate: Translate
) -> tuple[str, Tensor]:
    """Same as `_image_grid`, for slices; also shows the difference from a known truth."""
    rows = [
        slice_volumes(x, there, truth, again, affine)
        for affine, x, there, truth, again in _translated(data, direction, largest, translate)
    ]
    shown = "truth, difference, " if data.val_aligned else ""
    return f"input, translation, {shown}round trip", volume_grid(rows)


def _translated(
    data: DataSet, direction: Direction, largest: PerAxis, translate: Translate
) -> Iterator[tuple[Affine | None, Tensor, Tensor, Tensor | None, Tensor]]:
    """For each scan: its place, middle, translation, truth if known, and round trip."""
    source, target = data.sides(direction)
    refs = source.val or source.train
    for number in spread(range(len(refs)), ROWS):
        x, there, again = translate(source.load_middle(refs[number], largest))
        truth = target.load_middle(target.val[number], largest) if data.val_aligned else None
        yield source.affine(refs[number]), x, there, truth, again


def _headed(heading: str, pixels: NDArray[np.uint8]) -> Image.Image:
    """A picture of pixels (H, W, 3) below a line of text."""
    height, width = pixels.shape[:2]
    picture = Image.new("RGB", (width, height + HEADING), "white")
    picture.paste(Image.fromarray(pixels), (0, HEADING))
    font = ImageFont.load_default(HEADING * 2 / 3)
    ImageDraw.Draw(picture).text((4, HEADING / 2), heading, "black", font, anchor="lm")
    return picture
