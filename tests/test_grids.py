"""Volumes on other grids."""

import numpy as np
import pytest

from revgan.data import grids
from revgan.data.formats import Scan, cut
from revgan.data.grids import double, halve, resample
from revgan.data.preparation import Grid
from revgan.memory import measure_step


@pytest.fixture
def values():
    return np.random.default_rng(0).random((2, 6, 7, 9), np.float32)


def test_a_region_stays_at_its_place(values):
    affine = np.array([[0, -2, 0.5, 7], [1.5, 0, 0, -3], [0, 0.25, 3, 11], [0, 0, 0, 1]])
    whole = Scan(values, affine, source=None, dtype=values.dtype)
    region = cut(whole, (slice(2, 5), slice(None), slice(1, None)))
    np.testing.assert_array_equal(region.values, values[:, 2:5, :, 1:])
    # Exact: the affine's numbers and the voxel indices have few binary digits.
    np.testing.assert_array_equal(region.affine @ [0, 0, 0, 1], affine @ [2, 0, 1, 1])
    np.testing.assert_array_equal(region.affine @ [1, 2, 3, 1], affine @ [3, 2, 4, 1])
    assert whole.affine[0, 3] == 7


def test_slabs_meet_without_a_seam(values, monkeypatch):
    affine = np.array([[0, -2, 0.5, 7], [1.5, 0, 0, -3], [0, 0.25, 3, 11], [0, 0, 0, 1]])
    volume = Scan(values, affine, source=None, dtype=values.dtype)
    finer = affine @ np.diag([0.7, 0.9, 1.1, 1])
    whole = resample(volume, finer, (9, 8, 7))
    monkeypatch.setattr(grids, "SLAB", 2 * 8 * 7)
    # Places are float32, good to 1e-7 of the volume, and neighbours differ by up to 1.
    np.testing.assert_allclose(resample(volume, finer, (9, 8, 7)), whole, rtol=0, atol=1e-5)


def test_a_volume_is_resampled_in_little_more_memory_than_its_own(monkeypatch):
    values = np.random.default_rng(0).random((1, 64, 64, 64), np.float32)
    volume = Scan(values, np.eye(4), source=None, dtype=values.dtype)
    monkeypatch.setattr(grids, "SLAB", 2**13)
    peak = measure_step(lambda: Grid(spacing=(0.9, 0.9, 0.9)).bring(volume)).peak
    # Of PyTorch's tensors: in one piece, the places of all voxels alone take four times as much.
    assert peak < values.nbytes


def test_half_the_resolution_is_the_mean_of_what_is_there(values):
    halved = halve(values)
    assert halved.shape == (2, 3, 4, 5)
    # 1e-6: means of 8 float32 numbers below 1, summed in another order.
    for x, y, z in np.ndindex(halved.shape[1:]):
        block = values[:, 2 * x : 2 * x + 2, 2 * y : 2 * y + 2, 2 * z : 2 * z + 2]
        np.testing.assert_allclose(halved[:, x, y, z], block.mean(axis=(1, 2, 3)), atol=1e-6)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_ramp_comes_back_at_its_place(axis):
    ramp = np.arange(8, dtype=np.float32)
    shape = [1, 1, 1, 1]
    shape[axis] = 8
    volume = np.broadcast_to(ramp.reshape(shape), (1, 8, 8, 8)).copy()
    back = double(halve(volume), volume.shape[1:])
    # Exact: quarters and halves of small whole numbers. Half a voxel is lost at the border.
    inner = [slice(None)] * 4
    inner[axis] = slice(1, -1)
    np.testing.assert_array_equal(back[*inner], volume[*inner])


def test_odd_sizes_come_back(values):
    assert double(halve(values), values.shape[1:]).shape == values.shape
