"""SSIM position by position, beside scikit-image's and torchmetrics'."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from revgan.scores.similarity import ssim_map

SHAPES = [(3, 24, 17), (1, 6, 40), (1, 12, 15, 18), (6, 8, 6, 9)]
THIN = [(1, 5, 20), (2, 9, 1, 3)]
"""Thinner than half the window, which torchmetrics does not take."""


def pair(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    x = torch.rand(shape, generator=draws, dtype=torch.float64)
    noise = torch.randn(shape, generator=draws, dtype=torch.float64)
    return (x + 0.1 * noise).clamp(0, 1), x


@pytest.mark.parametrize("shape", [*SHAPES, *THIN])
def test_every_position_agrees_with_scikit_image(shape: tuple[int, ...]) -> None:
    x, y = pair(shape)
    margin = [(0, 0)] + [(5, 5)] * (len(shape) - 1)
    _, expected = structural_similarity(
        *(np.pad(image.numpy(), margin, mode="reflect") for image in (x, y)),
        channel_axis=0,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    inside = (slice(None), *[slice(5, -5)] * (len(shape) - 1))
    # float64's 2e-16, times a thousand where a variance is small.
    np.testing.assert_allclose(ssim_map(x, y).numpy(), expected[inside], rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_mean_agrees_with_torchmetrics(shape: tuple[int, ...]) -> None:
    x, y = pair(shape)
    expected = structural_similarity_index_measure(x[None], y[None], data_range=1.0)
    # torchmetrics computes its weights in float32.
    assert float(ssim_map(x, y).mean()) == pytest.approx(float(expected), abs=1e-7)


def test_an_image_is_wholly_similar_to_itself() -> None:
    x, _ = pair((2, 9, 10, 11))
    torch.testing.assert_close(ssim_map(x, x), torch.ones_like(x), rtol=0, atol=1e-12)
