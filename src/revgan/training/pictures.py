"""Pictures of held-out images translated during training."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import get_args

from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn

from revgan.data.domains import spread
from revgan.data.sets import DataConfig, DataSet
from revgan.evaluation.figures import image_grid
from revgan.evaluation.slices import slice_volumes
from revgan.evaluation.volume_figures import volume_grid
from revgan.inference import translate_padded
from revgan.networks import Direction, TwoWayGenerator
from revgan.training.checkpoint import writing
from revgan.training.runs import RunFolder
from revgan.training.trackers import log_picture

ROWS = 4
"""Images in each picture."""

Translate = Callable[[Tensor], list[Tensor]]
"""From an image or volume (C, *spatial) to itself, its translation, and that translated back."""


def save_pictures(
    generator: TwoWayGenerator,
    data: DataSet,
    config: DataConfig,
    run: RunFolder,
    accelerator: Accelerator,
    step: int,
) -> None:
    """Translates some validation images there and back, for the trackers and samples/.

    Without images held out, training images stand in. Of volumes, pictures show slices through the
    middle, and the truth beside the translation where it is known.
    """
    # A picture shall need no more memory than training does. Even one of twice the crop takes less
    # than the activations that training stores; but in lean, it stores next to none, and a cube of
    # twice the side is eight times as large.
    doubled = config.spatial_dims == 2 and generator.config.memory != "lean"
    largest = 2 * config.crop if doubled else config.crop
    draw = _volume_grid if config.spatial_dims == 3 else _image_grid
    with evaluating(generator):
        for direction in get_args(Direction):

            def translate(x: Tensor, direction: Direction = direction) -> list[Tensor]:
                return there_and_back(generator, x, direction, accelerator)

            title, grid = draw(data, direction, largest, translate)
            pixels = (grid * 255).round().byte().permute(1, 2, 0).numpy()
            with writing(run.samples):
                Image.fromarray(pixels).save(run.samples / f"step-{step:06d}-{direction}.png")
            with writing(run.tensorboard):
                log_picture(accelerator, f"{direction}: {title}", pixels, step)


def _image_grid(
    data: DataSet, direction: Direction, largest: int, translate: Translate
) -> tuple[str, Tensor]:
    """What the grid of pictures shows from left to right, and the grid, (3, H, W) in [0, 1]."""
    domain = data.a if direction == "AtoB" else data.b
    refs = spread(domain.val or domain.train, ROWS)
    grid = image_grid([translate(domain.load_middle(ref, largest)) for ref in refs])
    return "input, translation, round trip", grid


def _volume_grid(
    data: DataSet, direction: Direction, largest: int, translate: Translate
) -> tuple[str, Tensor]:
    """As `_image_grid`, of slices; with the truth and the difference from it, where it is known."""
    source, target = (data.a, data.b) if direction == "AtoB" else (data.b, data.a)
    refs = source.val or source.train
    rows = []
    for number in spread(range(len(refs)), ROWS):
        x, there, again = translate(source.load_middle(refs[number], largest))
        truth = target.load_middle(target.val[number], largest) if data.val_aligned else None
        rows.append(slice_volumes(x, there, truth, again, refs[number].affine))
    shown = "truth, difference, " if data.val_aligned else ""
    return f"input, translation, {shown}round trip", volume_grid(rows)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Within, dropout is off, and batch norms use their running statistics and leave them alone."""
    network.eval()
    try:
        yield
    finally:
        network.train()


def translate_one(
    generator: TwoWayGenerator, x: Tensor, direction: Direction, accelerator: Accelerator
) -> Tensor:
    """The translation of an image or volume (C, *spatial), float32, on the CPU."""
    with accelerator.autocast():
        there = translate_padded(generator, x[None], direction)
    return there[0].float().cpu()


def there_and_back(
    generator: TwoWayGenerator, x: Tensor, direction: Direction, accelerator: Accelerator
) -> list[Tensor]:
    """An image or volume (C, *spatial), its translation, and that translated back."""
    back: Direction = "BtoA" if direction == "AtoB" else "AtoB"
    there = translate_one(generator, x, direction, accelerator)
    return [x, there, translate_one(generator, there, back, accelerator)]
