"""Distances between sets: against scikit-learn, torchmetrics and SciPy."""

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.metrics.pairwise import polynomial_kernel
from torchmetrics.image.kid import poly_mmd

from revgan.errors import UserError
from revgan.scores.distribution import (
    RandomFeatures,
    fid,
    inception_features,
    kid,
    perceptual_distance,
)


def features(count, seed, shift=0.0, size=12):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=draws, dtype=torch.float64) + shift


def test_kid_agrees_with_scikit_learn():
    x, y = features(9, 0), features(14, 1, shift=0.3)
    within_x, within_y = (polynomial_kernel(z, degree=3, coef0=1) for z in (x, y))
    expected = (
        (within_x.sum() - np.trace(within_x)) / (9 * 8)
        + (within_y.sum() - np.trace(within_y)) / (14 * 13)
        - 2 * polynomial_kernel(x, y, degree=3, coef0=1).mean()
    )
    assert kid(x, y).value == pytest.approx(expected, rel=1e-12)


def test_kid_agrees_with_torchmetrics_on_sets_of_one_size():
    x, y = features(10, 2), features(10, 3, shift=0.2)
    assert kid(x, y).value == pytest.approx(float(poly_mmd(x, y)), rel=1e-12)


def test_kid_by_hand():
    # One feature: kernels (1 + 1)^3 = 8 within, (0 + 1)^3 = 1 for zeros and across.
    assert kid(torch.ones(3, 1), torch.zeros(2, 1)).value == 8 + 1 - 2


def test_the_interval_of_kid_leaves_out_pairs_of_an_image_with_itself():
    # Self-pairs would lift every resample, as |x|^2 is far above x . y for random features.
    x, y = features(40, 4, size=60), features(40, 5, size=60)
    estimate = kid(x, y)
    assert estimate.low < 0 < estimate.high
    far = kid(x, y + 1)
    assert 0 < far.low < far.value < far.high


@pytest.mark.parametrize("count", [3, 4])
def test_few_images_have_an_interval_though_draws_of_one_image_alone_give_no_distance(count):
    # Of 3 images, one resample in nine draws the same three times.
    estimate = kid(features(count, 6), features(count, 7, shift=2.0))
    assert estimate.low <= estimate.value <= estimate.high < float("inf")


def test_two_images_of_each_have_a_distance_but_no_interval():
    estimate = kid(features(2, 0), features(2, 1))
    assert (estimate.low, estimate.high) == (None, None)
    assert estimate.value == pytest.approx(float(poly_mmd(features(2, 0), features(2, 1))))
    assert kid(features(3, 0), features(2, 1)).low is not None


def test_a_set_of_one_has_no_distance():
    with pytest.raises(ValueError, match="needs at least two images"):
        kid(features(1, 0), features(5, 0))


@pytest.mark.parametrize("count", [4, 40])
def test_fid_agrees_with_its_formula_in_scipy(count):
    x, y = features(count, 6), features(count + 3, 7, shift=0.5) * 1.5
    root = scipy.linalg.sqrtm(np.cov(x.T) @ np.cov(y.T)).real
    expected = np.square(x.mean(0).numpy() - y.mean(0).numpy()).sum() + np.trace(
        np.cov(x.T) + np.cov(y.T) - 2 * root
    )
    # With fewer images than features SciPy takes the root of a singular matrix, to about 1e-7.
    assert fid(x, y) == pytest.approx(expected, rel=1e-6)


def test_fid_of_a_set_to_itself_is_nothing():
    x = features(30, 8)
    assert fid(x, x) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("shape", [(3, 33, 20), (1, 9, 12, 10)])
def test_random_features_are_the_same_in_each_process_and_of_one_length(shape):
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    of_image = RandomFeatures(shape[0], len(shape) - 1)
    torch.manual_seed(5)
    found = of_image(image)
    assert found.shape == (2 * sum(RandomFeatures.WIDTHS),)
    assert torch.equal(found, RandomFeatures(shape[0], len(shape) - 1)(image))


def test_random_features_tell_textures_apart():
    draws = torch.Generator().manual_seed(0)
    noise = [torch.rand(3, 32, 32, generator=draws) * 2 - 1 for _ in range(20)]
    smooth = [image.mean((1, 2), keepdim=True).expand_as(image) for image in noise]
    of = RandomFeatures(3, 2)
    noisy, other, even = (
        torch.stack([of(image) for image in images])
        for images in (noise[:10], noise[10:], smooth[10:])
    )
    assert kid(noisy, even).low > kid(noisy, other).high


def test_what_needs_a_download_or_a_package_says_so_in_one_sentence(monkeypatch):
    # Whichever is missing here: the package, or what it would download without a network.
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", _no_network)
    with pytest.raises(UserError, match="--distribution inception needs"):
        inception_features(torch.device("cpu"))
    with pytest.raises(UserError, match="--lpips needs"):
        perceptual_distance(torch.device("cpu"))


def _no_network(*args, **kwargs):
    raise OSError("no network")
