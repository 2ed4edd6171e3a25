"""Scores: hand-computed cases, and scikit-image as an independent judge."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from revgan.scores.metrics import (
    PSNR_CAP,
    Scores,
    candidates,
    match_channels,
    mean_colour,
    score_pairs,
)


def noisy_pair(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A noisy copy of a random image in [-1, 1], and that image."""
    draws = torch.Generator().manual_seed(seed)
    truth = 2 * torch.rand(*shape, generator=draws) - 1
    noise = 0.3 * torch.randn(*shape, generator=draws)
    return (truth + noise).clamp(-1, 1), truth


def as_unit_array(image: Tensor) -> np.ndarray:
    return image.double().add(1).div(2).numpy()


def reference_ssim(prediction: Tensor, truth: Tensor) -> np.ndarray:
    """scikit-image's SSIM in float64 at each position of the image with reflected borders.

    scikit-image itself averages over positions where the window lies inside the image, so the
    reflection is put there before and cut off after.
    """
    margin = [(0, 0)] + [(5, 5)] * (truth.ndim - 1)
    x, y = (np.pad(as_unit_array(image), margin, mode="reflect") for image in (prediction, truth))
    _, similarity = structural_similarity(
        x,
        y,
        channel_axis=0,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    inside = (slice(None), *[slice(5, -5)] * (truth.ndim - 1))
    return np.asarray(similarity[inside])


def test_an_even_error_scores_as_computed_by_hand() -> None:
    truth = torch.zeros(1, 16, 16)
    scores = score_pairs([(truth + 0.2, truth)])
    # 0.2 in [-1, 1] is 0.1 in [0, 1]: 25.5 grey levels, and -20 log10(0.1) dB. Both images are
    # even, so SSIM is its luminance term alone: (2*0.6*0.5 + c1) / (0.6**2 + 0.5**2 + c1).
    # Tolerances: a few units in float32's last place, for SSIM times 1/c2, about a thousand.
    assert scores.mae == pytest.approx(25.5, rel=1e-6)
    assert scores.psnr == pytest.approx(20.0, rel=1e-6)
    assert scores.ssim == pytest.approx(0.6001 / 0.6101, abs=2e-4)
    assert scores.count == 1


def test_scores_are_means_over_images_not_over_pixels() -> None:
    small, large = torch.zeros(1, 8, 8), torch.zeros(1, 16, 32)
    scores = score_pairs([(small + 0.2, small), (large + 0.02, large)])
    assert scores.mae == pytest.approx((25.5 + 2.55) / 2, rel=1e-6)
    assert scores.psnr == pytest.approx((20 + 40) / 2, rel=1e-5)
    assert scores.count == 2


@pytest.mark.parametrize(
    "shape", [(1, 33, 20), (3, 24, 24), (1, 12, 15, 18), (2, 10, 8, 9), (3, 6, 8), (1, 4, 30, 1)]
)
def test_scores_agree_with_scikit_image(shape: tuple[int, ...]) -> None:
    prediction, truth = noisy_pair(*shape)
    scores = score_pairs([(prediction, truth)])
    x, y = as_unit_array(prediction), as_unit_array(truth)
    assert scores.mae == pytest.approx(255 * np.abs(x - y).mean(), rel=1e-6)
    assert scores.psnr == pytest.approx(peak_signal_noise_ratio(y, x, data_range=1), rel=1e-6)
    # SSIM divides differences of squares near 1 by variances of 0.01 and more here: float32's
    # 6e-8 becomes 6e-6 at a position, and averages out to below 1e-6.
    assert scores.ssim == pytest.approx(reference_ssim(prediction, truth).mean(), abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 24, 20), (1, 12, 15, 18), (6, 10, 8, 9)])
def test_scores_inside_a_mask_agree_with_scikit_image(shape: tuple[int, ...]) -> None:
    prediction, truth = noisy_pair(*shape)
    mask = torch.rand(shape[1:], generator=torch.Generator().manual_seed(2)) > 0.7
    scores = score_pairs([(prediction, truth)], [mask])
    inside = (slice(None), mask.numpy())
    x, y = as_unit_array(prediction)[inside], as_unit_array(truth)[inside]
    assert scores.mae == pytest.approx(255 * np.abs(x - y).mean(), rel=1e-6)
    assert scores.psnr == pytest.approx(peak_signal_noise_ratio(y, x, data_range=1), rel=1e-6)
    # Fewer positions to average float32's errors of 6e-6 over: see above.
    reference = reference_ssim(prediction, truth)[inside].mean()
    assert scores.ssim == pytest.approx(reference, abs=2e-6)


def test_what_is_outside_the_mask_does_not_count() -> None:
    truth = torch.zeros(1, 24, 16, 16)
    prediction = truth.clone()
    prediction[:, :4] = 1.0  # 8 positions from the mask, beyond the window's 5
    prediction[:, 12:] = 0.2
    prediction[:, 12, 0, 0] = 0.4  # the one error of another size
    mask = torch.zeros(24, 16, 16, dtype=torch.bool)
    mask[12:, :, :] = True
    scores = score_pairs([(prediction, truth)], [mask])
    count = 12 * 16 * 16
    # In [0, 1] the errors are 0.1 but one of 0.2.
    assert scores.mae == pytest.approx(255 * (0.1 * (count - 1) + 0.2) / count, rel=1e-6)
    squares = (0.01 * (count - 1) + 0.04) / count
    assert scores.psnr == pytest.approx(-10 * math.log10(squares), rel=1e-6)
    elsewhere = prediction.clone()
    elsewhere[:, :4] = -1.0
    assert score_pairs([(elsewhere, truth)], [mask]) == scores


def test_a_mask_of_everything_changes_nothing() -> None:
    pair = noisy_pair(2, 9, 10, 11)
    everything = torch.ones(9, 10, 11, dtype=torch.bool)
    assert score_pairs([pair], [everything]) == score_pairs([pair])


@pytest.mark.parametrize(
    "mask",
    [torch.ones(8, 9, dtype=torch.bool), torch.ones(8, 8), torch.zeros(8, 8, dtype=torch.bool)],
    ids=["shape", "type", "empty"],
)
def test_masks_that_select_nothing_sensible_are_refused(mask: Tensor) -> None:
    truth = torch.zeros(1, 8, 8)
    with pytest.raises(ValueError, match="mask"):
        score_pairs([(truth, truth)], [mask])
    with pytest.raises(ValueError, match="mask"):
        mean_colour([truth], [mask])


def test_each_pair_has_its_mask() -> None:
    truth = torch.zeros(1, 8, 8)
    with pytest.raises(ValueError, match="shorter"):
        score_pairs([(truth, truth)] * 2, [torch.ones(8, 8, dtype=torch.bool)])


def test_an_image_equal_to_the_truth_counts_as_the_cap() -> None:
    prediction, truth = noisy_pair(3, 16, 16)
    assert score_pairs([(truth, truth)]) == Scores(0.0, PSNR_CAP, pytest.approx(1, abs=1e-6), 1)
    mixed = score_pairs([(truth, truth), (prediction, truth)])
    alone = score_pairs([(prediction, truth)])
    assert mixed.psnr == pytest.approx((PSNR_CAP + alone.psnr) / 2, rel=1e-6)


def test_a_broken_translation_scores_nan() -> None:
    truth = torch.zeros(1, 8, 8)
    scores = score_pairs([(truth * math.nan, truth)])
    assert math.isnan(scores.mae)
    assert math.isnan(scores.psnr)
    assert math.isnan(scores.ssim)


def test_half_precision_is_scored_in_single_precision() -> None:
    prediction, truth = (image.bfloat16() for image in noisy_pair(3, 16, 16))
    assert score_pairs([(prediction, truth)]) == score_pairs([(prediction.float(), truth.float())])


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(ValueError, match="no images to score"):
        score_pairs([])
    with pytest.raises(ValueError, match=r"\(1, 8, 9\) and \(1, 8, 8\)"):
        score_pairs([(torch.zeros(1, 8, 9), torch.zeros(1, 8, 8))])
    with pytest.raises(ValueError, match="two or three spatial sizes"):
        score_pairs([(torch.zeros(8, 8), torch.zeros(8, 8))])


def test_channels_are_matched_only_where_it_means_something() -> None:
    colour = torch.stack([torch.full((4, 4), value) for value in (0.0, 0.3, 0.9)])
    grey = match_channels(colour, 1)
    assert grey is not None
    torch.testing.assert_close(grey, torch.full((1, 4, 4), 0.4))
    repeated = match_channels(grey, 3)
    assert repeated is not None
    assert torch.equal(repeated, torch.cat([grey, grey, grey]))
    assert match_channels(colour, 3) is colour
    assert match_channels(colour, 2) is None


def test_mean_colour_weighs_every_pixel_alike() -> None:
    small = torch.tensor([1.0, 0.0]).view(2, 1, 1).expand(2, 2, 2)
    large = torch.tensor([0.0, 1.0]).view(2, 1, 1).expand(2, 3, 4)
    assert torch.equal(mean_colour([small, large]), torch.tensor([0.25, 0.75]))
    with pytest.raises(ValueError, match="no images"):
        mean_colour([])


def test_the_mean_colour_inside_masks_leaves_out_the_rest() -> None:
    image = torch.tensor([[[1.0, 0.5], [0.25, 0.0]]])
    mask = torch.tensor([[True, True], [False, False]])
    assert torch.equal(mean_colour([image], [mask]), torch.tensor([0.75]))


def test_the_translation_stands_beside_both_references() -> None:
    image, truth = noisy_pair(3, 9, 8)
    colour = mean_colour([truth])
    made = candidates(image, image + 0.1, truth, colour, "RevGAN")
    assert [candidate.method for candidate in made] == [
        "RevGAN",
        "input unchanged",
        "mean training colour",
    ]
    assert [candidate.kind for candidate in made] == ["model", "reference", "reference"]
    assert torch.equal(made[0].image, image + 0.1)
    assert torch.equal(made[1].image, image)
    assert torch.equal(made[2].image, colour.view(3, 1, 1).expand_as(truth))


def test_the_unchanged_input_is_left_out_where_channels_have_no_counterpart() -> None:
    truth = torch.zeros(3, 8, 8, 8)
    made = candidates(truth[:2], truth, truth, torch.zeros(3), "RevGAN")
    assert [candidate.method for candidate in made] == ["RevGAN", "mean training intensity"]
