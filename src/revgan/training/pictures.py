"""Pictures of test images translated during training."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar, get_args

import numpy as np
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn

from revgan.data.sampling import load_image
from revgan.data.sets import DataConfig, DataSet
from revgan.evaluation.figures import image_grid
from revgan.inference import translate_padded
from revgan.networks import Direction, TwoWayGenerator
from revgan.training.checkpoint import writing
from revgan.training.runs import RunFolder

ROWS = 4
"""Test images in each picture."""

_T = TypeVar("_T")


def save_pictures(
    generator: TwoWayGenerator,
    data: DataSet,
    config: DataConfig,
    run: RunFolder,
    accelerator: Accelerator,
    step: int,
) -> None:
    """Translates some test images there and back, for TensorBoard and the run's samples/.

    Without test images, training images stand in.
    """
    # A picture shall need no more memory than training does. Even one of twice the crop takes less
    # than the activations that training stores; but in lean, it stores next to none.
    largest = config.crop if generator.config.memory == "lean" else 2 * config.crop
    with _evaluating(generator):
        for direction in get_args(Direction):
            domain = data.a if direction == "AtoB" else data.b
            refs = spread(domain.test or domain.train, ROWS)
            images = [
                _middle(load_image(ref, domain.format.channels, config), largest) for ref in refs
            ]
            grid = image_grid(
                [_there_and_back(generator, x, direction, accelerator) for x in images]
            )
            pixels = (grid * 255).round().byte().permute(1, 2, 0).numpy()
            with writing(run.samples):
                Image.fromarray(pixels).save(run.samples / f"step-{step:06d}-{direction}.png")
            with writing(run.tensorboard):
                accelerator.get_tracker("tensorboard").log_images(
                    {f"{direction}: input, translation, round trip": pixels[np.newaxis]},
                    step=step,
                    dataformats="NHWC",
                )


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Within, dropout is off, and batch norms use their running statistics and leave them alone."""
    network.eval()
    try:
        yield
    finally:
        network.train()


def _middle(image: Tensor, largest: int) -> Tensor:
    """The middle of an image (C, H, W), no side of it above `largest`."""
    top, left = (max(0, (side - largest) // 2) for side in image.shape[1:])
    return image[:, top : top + largest, left : left + largest]


def _there_and_back(
    generator: TwoWayGenerator, x: Tensor, direction: Direction, accelerator: Accelerator
) -> list[Tensor]:
    back: Direction = "BtoA" if direction == "AtoB" else "AtoB"
    x = x.to(accelerator.device)
    with accelerator.autocast():
        there = translate_padded(generator, x[None], direction)
        again = translate_padded(generator, there, back)
    return [image.float().cpu() for image in (x, there[0], again[0])]


def spread(items: Sequence[_T], count: int) -> list[_T]:
    """Up to `count` items, evenly spread over all."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]
