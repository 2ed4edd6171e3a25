"""Bootstrap intervals of scores over the images (Efron and Tibshirani, 1993, ch. 13 and 16)."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

RESAMPLES = 2000
"""With this many, the ends of a 95% interval vary by a few percent of its width."""

LEVEL = 0.05
"""Up to this p, a difference counts as one."""


@dataclass(frozen=True)
class Estimate:
    """A score over several images.

    Attributes:
        value: the score.
        low: lower end of its 95% interval; None if there is none, as with one image.
        high: upper end.
        p: of a difference, how likely one as large is where there is none; None for scores.
        left_out: how many of the images have no such score; the others make it up. NaN if all.
        subjects: how many were drawn for its interval; 0 if there is none.
        draws: the score in each resample, (RESAMPLES,), float64; None if there is no interval.
            Scores of the same images have the same resamples, which is what `difference` needs.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    left_out: int = 0
    subjects: int = field(default=0, compare=False, repr=False)
    draws: Tensor | None = field(default=None, compare=False, repr=False)


def bootstrap(
    per_image: Tensor,
    statistic: Callable[[Tensor], Tensor] | None = None,
    subjects: Sequence[Hashable] | None = None,
    undefined: Sequence[int] = (),
) -> list[Estimate]:
    """Scores over images, with intervals for how much they depend on the choice of test images.

    Args:
        per_image: (N, *rest), the values of each image, such as its confusion matrix.
        statistic: computes scores (S, k) from means over images (S, *rest); by default the
            flattened means.
        subjects: whom each image shows. Images of one subject are alike, so subjects are drawn,
            with all their images. By default each image is a subject.
        undefined: columns of (N, k) in which NaN says that an image has no such score; the means
            are those of the others. Elsewhere it stays NaN, as something is broken.

    Returns:
        The k scores.

    Raises:
        ValueError: there is no image.
    """
    count = len(per_image)
    if count == 0:
        raise ValueError("there are no images to score")
    flat = per_image.double().reshape(count, -1)
    known = flat.new_ones(flat.shape if undefined else (count, 1), dtype=torch.bool)
    for column in undefined:
        known[:, column] = ~flat[:, column].isnan()
    flat = flat.where(known, 0.0)

    def scores(means: Tensor) -> Tensor:
        if statistic is None:
            return means
        return statistic(means.reshape(-1, *per_image.shape[1:]))

    values = scores(flat.sum(0, keepdim=True) / known.sum(0, keepdim=True))[0]
    totals, images = (_by_subject(each, subjects) for each in (flat, known.double()))
    if len(totals) == 1:
        found = [Estimate(value) for value in values.tolist()]
    else:
        times = resamples(len(totals))
        found = with_intervals(values, scores(times @ totals / (times @ images)), len(totals))
    for column in undefined:
        left_out = int((~known[:, column]).sum())
        found[column] = replace(found[column], left_out=left_out)
    return found


def _by_subject(values: Tensor, subjects: Sequence[Hashable] | None) -> Tensor:
    """The sums (S, k) over each subject's images."""
    if subjects is None:
        return values
    numbers = {subject: number for number, subject in enumerate(dict.fromkeys(subjects))}
    places = torch.tensor([numbers[subject] for subject in subjects])
    return values.new_zeros(len(numbers), values.shape[1]).index_add_(0, places, values)


def difference(one: Estimate, other: Estimate) -> Estimate:
    """How much larger the first of two scores of the same images is.

    The interval and p come from the differences in each resample: what makes an image easy or hard
    for both counts for neither. p is two-sided: twice the share of resamples in which the
    difference has the other sign. With n subjects it is at least 2^(1 - n): so often all n
    differences have one sign by chance alone.
    """
    value = one.value - other.value
    if one.draws is None or other.draws is None:
        return Estimate(value)
    subjects = min(one.subjects, other.subjects)
    values, drawn = one.draws.new_tensor([value]), (one.draws - other.draws)[:, None]
    (apart,) = with_intervals(values, drawn, subjects)
    assert apart.draws is not None
    known = apart.draws[~apart.draws.isnan()]
    beyond = min(int((known <= 0).sum()), int((known >= 0).sum()))
    p = min(1.0, max(2 * (beyond + 1) / (len(known) + 1), 2.0 ** (1 - subjects)))
    return replace(apart, value=value, p=p, left_out=one.left_out)


def over_seeds(estimates: Sequence[Estimate], stream: int) -> Estimate:
    """The mean of a score over trainings that differ in their seeds alone.

    Its interval covers the choice of test images, by their resamples, and that of seeds, by
    Student's t distribution of a mean: with two or three seeds it is wide, as it should be.

    Args:
        estimates: one for each training, of the same images.
        stream: makes the draws of seeds independent of those of other models, which have others.
    """
    count, value = len(estimates), math.fsum(one.value for one in estimates) / len(estimates)
    draws = [one.draws for one in estimates if one.draws is not None]
    if count == 1 or len(draws) < count:
        return estimates[0] if count == 1 else Estimate(value)
    together = torch.stack(draws)
    error = together.std(0) / math.sqrt(count)
    t = np.random.default_rng([count, stream]).standard_t(count - 1, RESAMPLES)
    drawn = (together.mean(0) + torch.from_numpy(t) * error)[:, None]
    first = estimates[0]
    (mean,) = with_intervals(drawn.new_tensor([value]), drawn, first.subjects)
    return replace(mean, left_out=first.left_out)


def resamples(count: int, seed: int = 0) -> Tensor:
    """How often each of `count` images occurs when as many are drawn with replacement.

    The same seed gives the same draws.

    Returns:
        (RESAMPLES, count), float64.
    """
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    return torch.from_numpy(draws).double()


def with_intervals(values: Tensor, resampled: Tensor, subjects: int) -> list[Estimate]:
    """Scores (k,) with intervals from the 2.5th to the 97.5th percentile of `resampled` (RESAMPLES,
    k).

    Resamples without a score (NaN) are left out. `subjects` says how many were drawn in each.
    """
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = resampled.nanquantile(ends, dim=0)
    rows = zip(values.tolist(), low.tolist(), high.tolist(), strict=True)
    return [
        Estimate(value, lower, upper, subjects=subjects, draws=draws)
        for (value, lower, upper), draws in zip(rows, resampled.T, strict=True)
    ]
