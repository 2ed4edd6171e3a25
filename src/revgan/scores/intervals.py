"""Bootstrap intervals of scores over the images (Efron and Tibshirani, 1993, ch. 13)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

RESAMPLES = 2000
"""With this many, the ends of a 95% interval vary by a few percent of its width."""


@dataclass(frozen=True)
class Estimate:
    """A score over several images.

    Attributes:
        value: the score.
        low: lower end of its 95% interval; None if there is none, as with one image.
        high: upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None


def bootstrap(
    per_image: Tensor, statistic: Callable[[Tensor], Tensor] | None = None
) -> list[Estimate]:
    """Scores over images, with intervals for how much they depend on the choice of test images.

    Args:
        per_image: (N, *rest), the values of each image, such as its confusion matrix.
        statistic: computes scores (S, k) from means over images (S, *rest); by default the
            flattened means.

    Returns:
        The k scores.

    Raises:
        ValueError: there is no image.
    """
    count = len(per_image)
    if count == 0:
        raise ValueError("there are no images to score")
    flat = per_image.double().reshape(count, -1)

    def scores(means: Tensor) -> Tensor:
        if statistic is None:
            return means
        return statistic(means.reshape(-1, *per_image.shape[1:]))

    values = scores(flat.mean(0, keepdim=True))[0]
    if count == 1:
        return [Estimate(value) for value in values.tolist()]
    return with_intervals(values, scores(resamples(count) @ flat / count))


def resamples(count: int, seed: int = 0) -> Tensor:
    """How often each of `count` images occurs when as many are drawn with replacement.

    The same seed gives the same draws.

    Returns:
        (RESAMPLES, count), float64.
    """
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    return torch.from_numpy(draws).double()


def with_intervals(values: Tensor, resampled: Tensor) -> list[Estimate]:
    """Scores (k,) with intervals from the 2.5th to the 97.5th percentile of `resampled` (RESAMPLES,
    k).

    Resamples without a score (NaN) are left out.
    """
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = resampled.nanquantile(ends, dim=0)
    rows = zip(values.tolist(), low.tolist(), high.tolist(), strict=True)
    return [Estimate(value, lower, upper) for value, lower, upper in rows]
