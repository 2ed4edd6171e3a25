"""Grey, RGB and alpha, from one number of channels to another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revgan.data.channels import convert_channels


def noise(channels, dtype):
    maximum = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, maximum + 1, (channels, 5, 6), dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("present", [1, 2, 3, 4])
@pytest.mark.parametrize("wanted", [1, 2, 3, 4])
def test_channels_convert_from_any_number_to_any(dtype, present, wanted):
    image = noise(present, dtype)
    converted = convert_channels(image, wanted)
    assert converted.shape == (wanted, 5, 6)
    assert converted.dtype == dtype
    if wanted in (2, 4):
        opaque = np.iinfo(dtype).max
        assert np.all(converted[-1] == (image[-1] if present in (2, 4) else opaque))
    if wanted >= 3:
        expected = image[:3] if present >= 3 else image[[0, 0, 0]]
        assert np.array_equal(converted[:3], expected)
    elif present >= 3:
        luma = np.tensordot([0.299, 0.587, 0.114], image[:3], 1)
        # Half a value of rounding, and what float64 adds to it.
        assert np.abs(converted[0] - luma).max() <= 0.5 + 1e-9
    else:
        assert np.array_equal(converted[0], image[0])


@given(st.integers(0, 65535))
def test_grey_stays_the_same_grey_through_rgb(value):
    grey = np.full((1, 1, 1), value, np.uint16)
    assert convert_channels(convert_channels(grey, 3), 1) == value


@pytest.mark.parametrize("channels", [0, 5])
def test_impossible_channels_are_a_programming_error(channels):
    with pytest.raises(ValueError, match="1 to 4 channels"):
        convert_channels(noise(3, np.uint8), channels)
