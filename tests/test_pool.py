"""The history of generated images."""

import pytest
import torch

from revgan.training.pool import ImagePool


def images(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1)


def test_without_a_pool_every_image_passes():
    batch = images(1, 2)
    assert ImagePool(0).exchange(batch, torch.Generator()) is batch


def test_while_it_fills_images_pass_and_are_kept():
    pool = ImagePool(3)
    for value in range(3):
        batch = images(value)
        assert torch.equal(pool.exchange(batch, torch.Generator()), batch)
    assert [float(image) for image in pool.images] == [0, 1, 2]


def test_a_full_pool_returns_older_images_half_of_the_time():
    pool, draws = ImagePool(50), torch.Generator().manual_seed(0)
    pool.exchange(images(*range(50)), draws)
    shown = [float(pool.exchange(images(value), draws)) for value in range(50, 2050)]
    older = sum(value != i for i, value in enumerate(shown, start=50))
    assert abs(older - 1000) < 4 * 500**0.5  # four standard deviations of 2,000 fair coins
    assert len(pool.images) == 50


def test_an_image_that_was_given_away_is_no_longer_kept():
    pool, draws = ImagePool(2), torch.Generator().manual_seed(0)
    pool.exchange(images(0, 1), draws)
    for value in range(2, 30):
        shown = float(pool.exchange(images(value), draws))
        assert shown == value or shown not in [float(image) for image in pool.images]


def test_a_kept_image_does_not_change_with_the_one_that_came():
    pool, batch = ImagePool(1), images(1)
    pool.exchange(batch, torch.Generator())
    batch.zero_()
    assert float(pool.images[0]) == 1


def test_a_negative_size_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        ImagePool(-1)
