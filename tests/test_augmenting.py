"""Mirrors, turns, deformations and changes of intensity, on pairs and their masks."""

import numpy as np
import pytest
import torch

from revgan.data.augmenting import augmented, turning_planes
from revgan.data.config import DataConfig

ALL = {"flip_axes": (0, 1), "rotate": True, "elastic": 1.0}


def config(dims=3, **options):
    return DataConfig(**{"spatial_dims": dims, "crop": 32, "elastic_shift": 3.0} | options)


def sample(dims):
    """Two scans of the same place, and a mask of where they are bright."""
    draws = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 1, *[5] * dims, generator=draws)
    mode = "bilinear" if dims == 2 else "trilinear"
    a = torch.nn.functional.interpolate(coarse, [32] * dims, mode=mode)[0] * 2 - 1
    return {"a": a, "b": a.clone(), "mask of a": a > 0}


def changed(dims, seed=0, **options):
    discrete = frozenset(["mask of a"])
    return augmented(sample(dims), config(dims, **options), np.random.default_rng(seed), discrete)


@pytest.mark.parametrize("dims", [2, 3])
def test_what_moves_pixels_moves_those_of_partners_and_masks_alike(dims):
    before = sample(dims)["a"]
    for seed in range(3):
        after = changed(dims, seed, **ALL)
        assert torch.equal(after["a"], after["b"])
        assert after["a"].shape == before.shape
        assert not torch.equal(after["a"], before)
        # Nearest and linear interpolation differ at the mask's border alone.
        assert ((after["a"] > 0) == after["mask of a"]).float().mean() > 0.95
        again = changed(dims, seed, **ALL)
        assert all(torch.equal(again[name], x) for name, x in after.items())


@pytest.mark.parametrize("dims", [2, 3])
def test_deformations_move_by_about_their_shift(dims):
    rows = torch.arange(32.0).view(1, -1, *[1] * (dims - 1)).expand(1, *[32] * dims)
    moved = [
        augmented(
            {"a": rows},
            config(dims, elastic=1.0, clip=False),
            np.random.default_rng(seed),
            frozenset(),
        )["a"]
        for seed in range(6)
    ]
    inner = (slice(None), *[slice(8, 24)] * dims)
    shifts = torch.stack([(each - rows)[inner].abs().max() for each in moved])
    assert 0.2 < shifts.median() < 9


def test_turns_and_mirrors_only_rearrange():
    after = changed(2, 1, flip_axes=(0,), rotate=True)
    assert torch.equal(after["a"].flatten().sort().values, sample(2)["a"].flatten().sort().values)
    assert turning_planes(config(crop=(32, 32, 12))) == [(0, 1)]


def test_intensities_change_in_their_domain_alone():
    before, after = sample(2), changed(2, contrast_a=0.2, brightness_a=0.1, noise_a=0.05)
    assert torch.equal(after["b"], before["b"])
    assert torch.equal(after["mask of a"], before["mask of a"])
    difference = (after["a"] - before["a"]).abs()
    assert 0 < difference.max() < 0.2 + 0.1 + 0.05 * 5
    assert after["a"].abs().max() <= 1
    beyond = changed(2, 3, brightness_b=2.0, clip=False)["b"]
    assert beyond.abs().max() > 1


def test_gaps_stay_gaps():
    scans = sample(2)
    scans["a"][:, 10, 10] = torch.nan
    options = config(2, noise_a=0.1, rotate=True, flip_axes=(1,))
    after = augmented(scans, options, np.random.default_rng(0), frozenset())
    assert after["a"].isnan().sum() == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"flip_axes": (3,)}, r"flip_axes must be from 0 to 2, each once, not \[3\]"),
        ({"flip_axes": (1, 1)}, r"flip_axes must be from 0 to 2, each once, not \[1, 1\]"),
        ({"rotate": True, "crop": (32, 24, 16)}, "rotate turns crops in planes with equal sides"),
        ({"elastic": 1.5}, "elastic must be from 0 to 1"),
        ({"noise_b": -1.0}, "noise_b must be 0 or more"),
        ({"foreground_from": "mask"}, "foreground_from does nothing with foreground 0"),
        ({"foreground": 0.5, "foreground_from": "bones"}, "must be otsu, mask or a number"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        config(**options)
