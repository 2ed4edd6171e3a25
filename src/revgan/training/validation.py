"""Scores held-out images or volumes during training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import fmean
from typing import get_args

from accelerate import Accelerator
from torch import Tensor, nn

from revgan.data.domains import DataSet, both, spread
from revgan.directions import DIRECTIONS, Direction, back, round_trip
from revgan.inference import translate_padded
from revgan.networks import TwoWayGenerator
from revgan.scores.metrics import Scores, score_pairs
from revgan.training.config import RunConfig, ScoreName


def validate(
    generator: TwoWayGenerator, data: DataSet, config: RunConfig, accelerator: Accelerator
) -> dict[str, Scores]:
    """Scores the middles of some validation images or volumes, at the size of training crops.

    A pass needs no more memory than training; scores differ from those of whole images.

    Args:
        generator: afterwards in training mode, with running statistics unchanged.
        data: with validation scans, see `Domain.val`.
        config: of the run.
        accelerator: device and precision.

    Returns:
        Scores by the domains passed through: "AtoB" and "BtoA" for translations against the truth,
        if it is known; else "AtoBtoA" and "BtoAtoB" for round trips against the input.
    """
    with evaluating(generator):
        return {
            direction if data.val_aligned else round_trip(direction): _scored(
                _pairs(generator, data, config, accelerator, direction)
            )
            for direction in DIRECTIONS
        }


def _scored(pairs: Iterator[tuple[Tensor, Tensor, Tensor | None]]) -> Scores:
    """Scores pairs with a fully measured position, else all with filled gaps.

    Crops are small, so that all of them are in memory.
    """
    found = list(pairs)
    counted = [(made, wanted, mask) for made, wanted, mask in found if mask is None or mask.any()]
    if not counted:
        counted = [(made, wanted, None) for made, wanted, _ in found]
    made_and_wanted = [(made, wanted) for made, wanted, _ in counted]
    return score_pairs(made_and_wanted, [mask for *_, mask in counted])


def _pairs(
    generator: TwoWayGenerator,
    data: DataSet,
    config: RunConfig,
    accelerator: Accelerator,
    direction: Direction,
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """The result, the target, and where both domains were measured."""
    source, target = data.sides(direction)
    crop = config.data.crop_sizes
    for number in spread(range(len(source.val)), config.training.validation_images):
        x = source.load_middle(source.val[number], crop)
        measured = source.measured(source.val[number], crop)
        if data.val_aligned:
            truth = target.load_middle(target.val[number], crop)
            measured = both(measured, target.measured(target.val[number], crop))
            yield translate_one(generator, x, direction, accelerator), truth, measured
        else:
            yield there_and_back(generator, x, direction, accelerator)[-1], x, measured


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """While active, dropout is off, and batch norms use running statistics without updating
    them.
    """
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
    """An image or volume (C, *spatial), its translation, and its round trip."""
    there = translate_one(generator, x, direction, accelerator)
    return [x, there, translate_one(generator, there, back(direction), accelerator)]


def flat(scores: Mapping[str, Scores]) -> dict[str, float]:
    """The scores as in metrics.jsonl: "psnr_AtoB" and so on."""
    return {
        f"{name}_{direction}": getattr(of_direction, name)
        for direction, of_direction in scores.items()
        for name in get_args(ScoreName)
    }


def means(scores: Mapping[str, Scores]) -> dict[str, float]:
    """The means over both directions, by the score's name."""
    return {
        name: fmean(getattr(of_direction, name) for of_direction in scores.values())
        for name in get_args(ScoreName)
    }
