"""What becomes of decoded images: channels, size, and the way to [-1, 1]."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from revgan.data.config import DataConfig
from revgan.data.decoding import Decoding, in_unit
from revgan.data.images import to_tensor


def image(size=(6, 8), channels=3, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (*size, channels), dtype)


def decoding(resize=None, channels=None, flat=False) -> Decoding:
    return Decoding(DataConfig(resize=resize, crop=4), channels, flat)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_without_resizing_pixels_are_the_files_own(dtype):
    source = image(dtype=dtype)
    pixels = decoding(resize=6).apply(source)
    assert pixels is source
    assert torch.equal(in_unit(pixels), to_tensor(source))


def test_channels_are_those_of_the_domain():
    tensor = in_unit(decoding(channels=3).apply(image(channels=1, dtype=np.uint16)))
    assert tensor.shape == (3, 6, 8)
    assert tensor.dtype == torch.float32
    assert torch.equal(tensor[0], tensor[2])


@pytest.mark.parametrize("resize", [4, 9])
def test_photos_are_smoothed_and_stay_in_range(resize):
    source = image()
    pixels = decoding(resize).apply(source)
    assert pixels.dtype == np.float32
    size = pixels.shape[:2]
    expected = F.interpolate(to_tensor(source)[None], size, mode="bilinear", antialias=True)
    assert torch.equal(in_unit(pixels), expected[0].clamp(-1, 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_label_maps_take_the_nearest_pixel_and_stay_integers(dtype):
    source = image(dtype=dtype)
    pixels = decoding(4, flat=True).apply(source)
    assert pixels.dtype == dtype
    expected = F.interpolate(to_tensor(source)[None], (4, 5), mode="nearest-exact")[0]
    assert torch.equal(in_unit(pixels), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resize", [None, 9])
def test_a_cut_of_the_pixels_is_that_of_the_tensor_and_shares_no_memory(channels, resize):
    pixels = decoding(resize).apply(image(channels=channels))
    pixels.setflags(write=False)  # as a file's memory map is
    whole, cut = in_unit(pixels), in_unit(pixels[1:5, 2:6][:, ::-1])
    assert torch.equal(cut, whole[:, 1:5, 2:6].flip(2))
    before = pixels.copy()
    whole.zero_()
    assert np.array_equal(pixels, before)
