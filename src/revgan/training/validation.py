"""Scores of held-out images or volumes while training goes on."""

from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import get_args

from accelerate import Accelerator
from torch import Tensor

from revgan.data.domains import DataSet, spread
from revgan.directions import DIRECTIONS, round_trip
from revgan.networks import Direction, TwoWayGenerator
from revgan.scores.metrics import Scores, score_pairs
from revgan.training.config import RunConfig, ScoreName
from revgan.training.previews import evaluating, there_and_back, translate_one


def validate(
    generator: TwoWayGenerator, data: DataSet, config: RunConfig, accelerator: Accelerator
) -> dict[str, Scores]:
    """Scores the middles of some validation images or volumes, of the size that training cuts out.

    So a pass needs no more memory than training does, and scores differ from those of whole images.

    Args:
        generator: it comes back in training mode, its running statistics untouched.
        data: has something for validation, see `Domain.val`.
        config: of the run.
        accelerator: device and precision.

    Returns:
        Scores by the domains passed through: "AtoB" and "BtoA", of translations against the truth,
        where it is known; else "AtoBtoA" and "BtoAtoB", of round trips against the input.
    """
    with evaluating(generator):
        return {
            direction if data.val_aligned else round_trip(direction): score_pairs(
                _pairs(generator, data, config, accelerator, direction)
            )
            for direction in DIRECTIONS
        }


def _pairs(
    generator: TwoWayGenerator,
    data: DataSet,
    config: RunConfig,
    accelerator: Accelerator,
    direction: Direction,
) -> Iterator[tuple[Tensor, Tensor]]:
    """What comes out, and what should."""
    source, target = data.sides(direction)
    crop = config.data.crop
    for number in spread(range(len(source.val)), config.training.validation_images):
        x = source.load_middle(source.val[number], crop)
        if data.val_aligned:
            truth = target.load_middle(target.val[number], crop)
            yield translate_one(generator, x, direction, accelerator), truth
        else:
            yield there_and_back(generator, x, direction, accelerator)[-1], x


def flat(scores: Mapping[str, Scores]) -> dict[str, float]:
    """Scores as they stand in metrics.jsonl: "psnr_AtoB" and so on."""
    return {
        f"{name}_{direction}": getattr(of_direction, name)
        for direction, of_direction in scores.items()
        for name in get_args(ScoreName)
    }


def means(scores: Mapping[str, Scores]) -> dict[str, float]:
    """The means of both directions, by the score's name."""
    return {
        name: fmean(getattr(of_direction, name) for of_direction in scores.values())
        for name in get_args(ScoreName)
    }
