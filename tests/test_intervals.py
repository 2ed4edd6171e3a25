"""Bootstrap intervals: against theory, and where there are none."""

import math

import pytest
import torch

from revgan.scores.intervals import (
    RESAMPLES,
    Estimate,
    bootstrap,
    difference,
    over_seeds,
    resamples,
)


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


def normal(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 1, generator=torch.Generator().manual_seed(seed)).double()


def test_a_difference_is_paired_so_that_hard_images_count_for_neither():
    hard, apart = 10 * normal(400, 0), 0.1 + 0.5 * normal(400, 1)
    (one,), (other,) = bootstrap(hard + apart), bootstrap(hard)
    found = difference(one, other)
    assert found.value == pytest.approx(float(apart.mean()), abs=1e-12)
    half = 1.96 * float(apart.std()) / math.sqrt(400)  # the scores themselves have 20 times that
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    z = float(apart.mean()) / (half / 1.96)
    assert found.p == pytest.approx(math.erfc(z / math.sqrt(2)), abs=0.005)
    reverse = difference(other, one)
    assert (reverse.value, reverse.p) == (-found.value, found.p)
    assert reverse.low == pytest.approx(-found.high, abs=1e-12)


def test_equal_scores_do_not_differ_and_few_subjects_say_little():
    (one,) = bootstrap(normal(40, 0))
    assert difference(one, one).p == 1
    (low,), (high,) = (bootstrap(torch.full((4, 1), value)) for value in (1.0, 2.0))
    assert difference(high, low).p == 2 ** (1 - 4)
    assert difference(Estimate(1.0), Estimate(3.0)) == Estimate(-2.0)


def test_all_images_of_a_subject_are_drawn_together():
    subjects = normal(50, 0)
    (alone,) = bootstrap(subjects)
    (eightfold,) = bootstrap(subjects.repeat_interleave(8, 0), None, [i // 8 for i in range(400)])
    assert eightfold.low == pytest.approx(alone.low, abs=1e-12)
    assert eightfold.high == pytest.approx(alone.high, abs=1e-12)
    (one,) = bootstrap(subjects, None, ["only one"] * 50)
    assert one == Estimate(float(subjects.mean()))


def test_means_over_seeds_have_students_interval_where_images_do_not_matter():
    seeds = [
        Estimate(value, value, value, subjects=9, draws=torch.full_like(resamples(1)[:, 0], value))
        for value in (1.0, 2.0, 3.0)
    ]
    found = over_seeds(seeds, 0)
    assert found.value == 2
    half = 4.303 / math.sqrt(3)  # the 97.5th percentile of t with 2 degrees of freedom
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    assert over_seeds(seeds[:1], 0) is seeds[0]
    assert difference(found, over_seeds(seeds, 1)).p > 0.9  # other draws, the same spread


def test_means_over_seeds_keep_the_interval_over_images():
    (one,) = bootstrap(normal(30, 0))
    assert over_seeds([one, one], 0).low == pytest.approx(one.low, abs=1e-12)
