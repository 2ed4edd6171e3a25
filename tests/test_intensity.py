import json
import math

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from revgan.data.intensity import IntensityConfig, fit_intensity
from revgan.data.mappings import Intensity, TypeRange
from revgan.data.number_types import in_type
from revgan.data.survey import SAMPLE
from revgan.errors import UserError

PRECISION = 2**-24
"""Of float32: half the distance from 1 to the next number."""

numbers = st.floats(-1e6, 1e6, width=32)
ranges = st.tuples(numbers, numbers).filter(lambda pair: pair[1] - pair[0] > 1e-3)
volumes = npst.arrays(np.float32, (3, 4, 5), elements=numbers)


def volume(seed=0, shape=(1, 8, 9, 10), mean=100.0, deviation=20.0):
    return np.random.default_rng(seed).normal(mean, deviation, shape).astype(np.float32)


def fit(arrays, method="percentiles", **options):
    return fit_intensity(IntensityConfig(method, **options), iter(arrays))


# There and back


@given(ranges, volumes)
def test_what_is_not_clipped_comes_back(limits, values):
    low, high = limits
    intensity = Intensity(low, high, clip=False)
    back = intensity.from_unit(intensity.to_unit(values))
    assert back.dtype == np.float32
    # Two constants, a difference, a quotient, a product and a sum are rounded, each of them at most
    # of this size.
    size = 2 * np.maximum(abs(values), max(abs(low), abs(high)))
    assert (abs(back - values) <= 8 * PRECISION * size).all()


@given(ranges, volumes)
def test_clipped_values_come_back_as_the_nearest_limit(limits, values):
    low, high = limits
    intensity = Intensity(low, high)
    unit = intensity.to_unit(values)
    assert unit.min() >= -1
    assert unit.max() <= 1
    size = 2 * max(abs(low), abs(high))
    back = intensity.from_unit(unit)
    assert (abs(back - values.clip(low, high)) <= 8 * PRECISION * size).all()


def test_hounsfield_units_come_back_as_they_were():
    hounsfield = np.arange(-1000, 2001, dtype=np.float32)
    intensity = Intensity(-1000, 2000)
    unit = intensity.to_unit(hounsfield)
    assert (unit[0], unit[1500], unit[-1]) == (-1, 0, 1)
    # Rounding errors are 1e-4 at most, so whole numbers are found again.
    np.testing.assert_array_equal(intensity.from_unit(unit).round(), hounsfield)


@given(ranges, volumes)
def test_larger_intensities_never_become_smaller_values(limits, values):
    ordered = np.sort(values, axis=None)
    assert (np.diff(Intensity(*limits).to_unit(ordered)) >= 0).all()


def test_values_of_a_network_beyond_1_are_not_clipped_on_the_way_back():
    assert Intensity(0, 100).from_unit(np.float32([-1.5, 1.5])).tolist() == [-25, 125]


def test_the_input_is_left_alone():
    values = volume()
    before = values.copy()
    Intensity(80, 130).to_unit(values)
    np.testing.assert_array_equal(values, before)


@given(ranges, st.booleans())
def test_a_mapping_comes_back_from_a_model_folder(limits, clip):
    intensity = Intensity(*limits, clip)
    for load, dump in ((yaml.safe_load, yaml.safe_dump), (json.loads, json.dumps)):
        assert Intensity.from_dict(load(dump(intensity.to_dict()))) == intensity


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"low": 0, "high": 1},
        {"low": 0, "high": 1, "clip": True, "gamma": 2},
        {"low": "0", "high": 1, "clip": True},
        {"low": False, "high": True, "clip": True},
        {"low": 0, "high": 1, "clip": "yes"},
    ],
)
def test_damaged_mappings_are_refused(content):
    with pytest.raises(ValueError, match="two numbers, low and high"):
        Intensity.from_dict(content)


@pytest.mark.parametrize(
    ("low", "high"), [(1, 1), (2, 1), (math.nan, 1), (0, math.inf), (-math.inf, 0)]
)
def test_a_mapping_needs_a_finite_range(low, high):
    with pytest.raises(ValueError, match="low must be below high"):
        Intensity(low, high)


# A fixed range


def test_a_range_is_taken_as_it_is():
    assert fit([], "range", low=-1000.0, high=2000.0, clip=False) == Intensity(-1000, 2000, False)


# Percentiles


@given(st.lists(volumes, min_size=1, max_size=3))
def test_percentiles_of_small_volumes_are_those_of_all_voxels(arrays):
    low, high = np.percentile(np.stack(arrays), (10, 90))
    if low < high:
        assert fit(arrays, low=10.0, high=90.0) == Intensity(float(low), float(high))


def test_percentiles_of_large_volumes_are_estimated():
    # Evenly spread over 0 to 100, so that a value is its own percentile, in an order that a regular
    # choice of voxels would not see all of.
    values = np.linspace(0, 100, 2**21, dtype=np.float32).reshape(128, 128, 128)
    intensity = fit([values])
    # Six standard errors of a share estimated from this many voxels.
    tolerance = 6 * 100 * math.sqrt(0.005 * 0.995 / SAMPLE)
    assert abs(intensity.low - 0.5) < tolerance
    assert abs(intensity.high - 99.5) < tolerance
    assert fit([values]) == intensity


def test_percentiles_ignore_a_few_wild_voxels():
    values = volume(shape=(1, 20, 20, 20))
    wild = values.copy()
    wild[0, 0, 0, :3] = 1e9
    assert fit([wild]).high == pytest.approx(fit([values]).high, rel=0.01)


# Z-scores


@given(st.lists(volumes, min_size=1, max_size=4))
def test_zscores_are_those_of_all_voxels_together(arrays):
    joined = np.stack(arrays).astype(np.float64)
    mean, deviation = joined.mean(), joined.std()
    if deviation > 1e-3:
        intensity = fit(arrays, "zscore", low=-2.0, high=3.0)
        # Sums of squares lose half the digits where the deviation is far below the mean, of float64
        # here.
        tolerance = 1e-9 * (abs(mean) + deviation)
        assert abs(intensity.low - (mean - 2 * deviation)) < tolerance
        assert abs(intensity.high - (mean + 3 * deviation)) < tolerance


def test_larger_volumes_count_more_in_zscores():
    arrays = [volume(0), volume(1, shape=(1, 20, 20, 20), mean=300)]
    joined = np.concatenate([array.ravel() for array in arrays]).astype(np.float64)
    intensity = fit(arrays, "zscore")
    expected = joined.mean() - 4 * joined.std(), joined.mean() + 4 * joined.std()
    # float64 throughout; numpy adds in another order.
    assert (intensity.low, intensity.high) == pytest.approx(expected, rel=1e-12)


def test_nearly_all_of_a_normal_distribution_is_within_the_default_zscores():
    values = volume(shape=(1, 40, 40, 40))
    unit = fit([values], "zscore", clip=False).to_unit(values)
    assert (abs(unit) > 1).mean() < 1e-3


# Refusals


@pytest.mark.parametrize("method", ["percentiles", "zscore"])
def test_volumes_without_contrast_are_refused(method):
    flat = np.full((1, 4, 4, 4), 7, np.float32)
    with pytest.raises(UserError, match="are both 7; set low and high"):
        fit([flat, flat], method)


def test_mostly_empty_masks_are_refused_where_both_percentiles_are_the_background():
    mask = np.zeros((1, 20, 20, 20), np.float32)
    mask[0, 0, 0, :10] = 1
    with pytest.raises(UserError, match=r"percentiles .* of the training scans"):
        fit([mask])
    assert fit([mask], high=100.0) == Intensity(0, 1)


@pytest.mark.parametrize("method", ["percentiles", "zscore"])
def test_no_volumes_are_a_mistake_of_the_caller(method):
    with pytest.raises(ValueError, match="at least one"):
        fit([], method)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "histogram"}, "one of range, percentiles, zscore"),
        ({"method": "range"}, "needs low and high"),
        ({"method": "range", "low": -1000.0}, "needs low and high"),
        ({"method": "range", "low": 5.0, "high": 5.0}, "low must be below high"),
        ({"method": "range", "low": -math.inf, "high": 5.0}, "low must be below high"),
        ({"low": 60.0, "high": 40.0}, "low must be below high, not 60 and 40"),
        ({"low": 99.9}, "low must be below high, not 99.9 and 99.5"),
        ({"low": -1.0}, "from 0 to 100"),
        ({"high": 101.0}, "from 0 to 100"),
        ({"method": "zscore", "low": 4.0}, "low must be below high"),
        ({"high": math.nan}, "low must be below high"),
    ],
)
def test_wrong_configurations_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        IntensityConfig(**options)


# The full range of a type


def in_file(unit, dtype):
    return in_type(TypeRange().from_unit(unit, dtype), dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_every_value_survives_the_way_through_the_range_of_its_type(dtype):
    limits = np.iinfo(dtype)
    values = np.arange(limits.min, limits.max + 1, dtype=dtype).reshape(1, 16, -1)
    unit = TypeRange().to_unit(values)
    assert (unit.min(), unit.max()) == (-1, 1)
    assert np.array_equal(in_file(unit, np.dtype(dtype)), values)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_all_values_become_what_float32_arithmetic_gives(dtype):
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(1, 16, -1)
    expected = torch.arange(values.size).float().div(values.max() / 2).sub(1)
    assert torch.equal(torch.from_numpy(TypeRange().to_unit(values)).flatten(), expected)


def test_what_a_type_holds_is_rounded_to_nearest_and_clamped():
    unit = np.array([-2.0, -1.0, -1 + 0.9 / 255, -1 + 1.1 / 255, 1.0, 5.0], np.float32)
    bytes_, words = (in_file(unit, np.dtype(dtype)) for dtype in ("u1", "u2"))
    assert bytes_.tolist() == [0, 0, 0, 1, 255, 255]
    assert words.tolist() == [0, 0, 116, 141, 65535, 65535]


def test_fractions_between_values_are_mapped_as_these_and_copied():
    values = np.linspace(0, 255, 511, dtype=np.float32)
    unit = TypeRange("uint8").to_unit(values)
    assert np.array_equal(unit[::2], TypeRange().to_unit(np.arange(256, dtype=np.uint8)))
    assert np.allclose(unit, np.linspace(-1, 1, 511), rtol=0, atol=1e-6)
    assert not np.shares_memory(unit, values)
    with pytest.raises(ValueError, match="floats have no full range"):
        TypeRange().to_unit(values)


def test_integers_become_float32_by_a_linear_mapping():
    values = np.arange(-500, 500, dtype=np.int16)
    mapping = Intensity(-300, 400)
    assert mapping.to_unit(values).dtype == np.float32
    assert np.array_equal(mapping.to_unit(values), mapping.to_unit(values.astype(np.float32)))
