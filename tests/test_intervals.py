"""Bootstrap intervals: against theory, and where there are none."""

import math

import pytest
import torch

from revgan.scores.intervals import RESAMPLES, Estimate, bootstrap, resamples


def test_a_score_is_the_mean_and_its_interval_that_of_the_mean():
    values = torch.randn(400, 1, generator=torch.Generator().manual_seed(0)).double()
    (estimate,) = bootstrap(values)
    assert estimate.value == pytest.approx(float(values.mean()), abs=1e-12)
    # 1.96 standard errors to either side; 2,000 resamples tell its ends to a few percent.
    half = 1.96 * float(values.std()) / math.sqrt(400)
    assert estimate.high - estimate.value == pytest.approx(half, rel=0.1)
    assert estimate.value - estimate.low == pytest.approx(half, rel=0.1)


def test_one_image_has_a_score_and_no_interval():
    assert bootstrap(torch.tensor([[2.0, 3.0]])) == [Estimate(2.0), Estimate(3.0)]
    with pytest.raises(ValueError, match="no images"):
        bootstrap(torch.zeros(0, 3))


def test_a_statistic_is_of_the_means_not_the_mean_of_statistics():
    per_image = torch.tensor([[1.0, 1.0], [0.0, 3.0]])
    (share,) = bootstrap(per_image, lambda means: means[:, :1] / means.sum(1, keepdim=True))
    assert share.value == pytest.approx(1 / 5)
    # Each image twice, or one of each: 1/2, 0 or 1/5.
    assert (share.low, share.high) == (0.0, 0.5)


def test_a_broken_score_stays_visible():
    (estimate,) = bootstrap(torch.tensor([[math.nan], [1.0]]))
    assert math.isnan(estimate.value)


def test_resamples_draw_as_many_images_as_there_are_the_same_in_each_call():
    times = resamples(7)
    assert times.shape == (RESAMPLES, 7)
    assert (times.sum(1) == 7).all()
    assert torch.equal(times, resamples(7))
    assert not torch.equal(times, resamples(7, seed=1))
