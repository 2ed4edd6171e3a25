"""What becomes of scans: channels, size, and the way to [-1, 1]."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from revgan.data.config import DataConfig
from revgan.data.formats import Scan
from revgan.data.mappings import TypeRange
from revgan.data.recipe import Recipe


def image(size=(6, 8), channels=3, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (channels, *size), dtype)


def values_of(source, resize=None, channels=None, flat=False):
    recipe = Recipe(DataConfig(resize=resize, crop=4), channels, flat=flat)
    scan = Scan(source, None, None, source.dtype)
    return recipe.apply(scan, Path("image.png")).values


def in_unit(values):
    return torch.from_numpy(TypeRange("uint8").to_unit(values))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_without_resizing_values_are_the_files_own(dtype):
    source = image(dtype=dtype)
    assert values_of(source, resize=6) is source


def test_channels_are_those_of_the_domain():
    tensor = in_unit(values_of(image(channels=1, dtype=np.uint16), channels=3))
    assert tensor.shape == (3, 6, 8)
    assert tensor.dtype == torch.float32
    assert torch.equal(tensor[0], tensor[2])


@pytest.mark.parametrize("resize", [4, 9])
def test_photos_are_smoothed_and_stay_in_range(resize):
    source = image()
    values = values_of(source, resize)
    assert values.dtype == np.float32
    size = values.shape[1:]
    expected = F.interpolate(in_unit(source)[None], size, mode="bilinear", antialias=True)
    # Smoothed in the file's units, so that float32 rounds elsewhere.
    torch.testing.assert_close(in_unit(values), expected[0].clamp(-1, 1), rtol=0, atol=1e-6)
    assert in_unit(values).abs().max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_label_maps_take_the_nearest_pixel_and_stay_integers(dtype):
    source = image(dtype=dtype)
    values = values_of(source, 4, flat=True)
    assert values.dtype == dtype
    expected = F.interpolate(in_unit(source)[None], (4, 5), mode="nearest-exact")[0]
    assert torch.equal(in_unit(values), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resize", [None, 9])
def test_a_cut_of_the_values_is_that_of_the_tensor_and_shares_no_memory(channels, resize):
    values = values_of(image(channels=channels), resize)
    values.setflags(write=False)  # as a file's memory map is
    whole, cut = in_unit(values), in_unit(values[:, 1:5, 2:6][:, :, ::-1])
    assert torch.equal(cut, whole[:, 1:5, 2:6].flip(2))
    before = values.copy()
    whole.zero_()
    assert np.array_equal(values, before)
