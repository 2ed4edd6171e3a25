"""Diffusion tensors from signals that are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dipy.core.gradients import gradient_table
from dipy.data import get_fnames
from dipy.reconst.dti import TensorModel

from revgan.data import formats
from revgan.data.datasets.diffusion_scans import Gradients, Scan, ScanFiles, read_scan
from revgan.data.datasets.diffusion_tensors import SIGNAL_FLOOR, fit_tensors, low_resolution_tensors

# Of float32 signals, rounding changes the logarithm by 6e-8, which at b = 1000 s/mm2 is 6e-8 of the
# unit 10^-3 mm2/s. The fit of these directions makes up to 20 times as much of it.
TOLERANCE = 2e-6


def directions(count=12, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def gradients(b=1000.0):
    return Gradients(np.array([0.0, 5.0, *[b] * 12]), np.vstack([np.zeros((2, 3)), directions()]))


def signals(tensors, gradients, baseline=1000.0):
    """Of tensors (6, X, Y, Z) in 10^-3 mm2/s, without noise."""
    xx, xy, yy, xz, yz, zz = tensors
    matrices = np.stack([np.stack(row) for row in ([xx, xy, xz], [xy, yy, yz], [xz, yz, zz])])
    bvals, bvecs = gradients.bvals, gradients.bvecs
    exponent = np.einsum("n,ni,ij...,nj->n...", bvals * 1e-3, bvecs, matrices, bvecs)
    return (baseline * np.exp(-exponent)).astype(np.float32)


def scan(tensors, gradients, mask=None):
    values = signals(tensors, gradients)
    mask = np.ones(values.shape[1:], bool) if mask is None else mask
    return Scan(formats.Scan(values, np.eye(4), None, values.dtype), gradients, mask)


def random_tensors(shape, seed=1):
    """Of all orientations, with diffusivities from 0.2 to that of water, 3."""
    random = np.random.default_rng(seed)
    axes = np.linalg.qr(random.normal(size=(*shape, 3, 3)))[0]
    diffusivities = random.uniform(0.2, 3, size=(*shape, 3))
    matrices = np.einsum("...ij,...j,...kj->...ik", axes, diffusivities, axes)
    order = ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2))
    return np.stack([matrices[..., row, column] for row, column in order])


def ignore(share):
    pass


def test_known_tensors_come_back():
    tensors = random_tensors((9, 8, 7))
    shares = []
    fitted = fit_tensors(scan(tensors, gradients()), shares.append)
    np.testing.assert_allclose(fitted, tensors, atol=TOLERANCE)
    assert sum(shares) == pytest.approx(1)


def test_more_voxels_than_a_thread_takes_come_back():
    tensors = random_tensors((30, 20, 20))
    np.testing.assert_allclose(
        fit_tensors(scan(tensors, gradients()), ignore), tensors, atol=TOLERANCE
    )


def test_nothing_is_fitted_outside_the_brain():
    mask = np.zeros((4, 4, 4), bool)
    mask[1:3, :3] = True
    tensors = random_tensors(mask.shape)
    for fit in (fit_tensors, low_resolution_tensors):
        fitted = fit(scan(tensors, gradients(), mask), ignore)
        assert not fitted[:, ~mask].any()
        assert fitted[0, mask].all()


def test_half_the_resolution_does_not_fade_at_the_edge_of_the_brain():
    mask = np.zeros((9, 8, 7), bool)
    mask[2:7, 1:6, 3:] = True
    tensors = np.broadcast_to(random_tensors((1, 1, 1)), (6, *mask.shape)).copy()
    measured = scan(tensors, gradients(), mask)
    measured.volume.values[:, ~mask] = 0  # as in volumes with the skull taken away
    low = low_resolution_tensors(measured, ignore)
    # Voxels at the edge of the brain are averaged with zeros: all signals become lower by the
    # same factor, and the tensors stay.
    np.testing.assert_allclose(low[:, mask], tensors[:, mask], atol=TOLERANCE)


def test_half_the_resolution_is_fitted_to_mean_signals_and_interpolated():
    blocks = random_tensors((3, 1, 1))
    tensors = blocks.repeat(2, axis=1).repeat(4, axis=2).repeat(4, axis=3)
    low = low_resolution_tensors(scan(tensors, gradients()), ignore)[:, :, 0, 0]
    first, second, third = (blocks[:, place, 0, 0] for place in range(3))
    expected = [
        first,
        0.75 * first + 0.25 * second,
        0.25 * first + 0.75 * second,
        0.75 * second + 0.25 * third,
        0.25 * second + 0.75 * third,
        third,
    ]
    np.testing.assert_allclose(low.T, expected, atol=TOLERANCE)


def test_a_signal_that_is_lost_in_noise_does_not_spoil_the_tensor():
    tensors = np.broadcast_to(np.reshape([0.7, 0, 0.7, 0, 0, 0.7], (6, 1, 1, 1)), (6, 2, 2, 2))
    measured = scan(tensors, gradients())
    measured.volume.values[5] = 0
    # One of twelve signals at the floor instead of exp(-0.7): far from 0.7, but a diffusivity that
    # exists. Without a floor, it would be beyond that of free water.
    fitted = fit_tensors(measured, ignore)
    assert fitted[[0, 2, 5]].max() < -np.log(SIGNAL_FLOOR)


@pytest.mark.parametrize("name", ["small_64D", "small_101D", "small_25"])
def test_real_signals_give_the_tensors_that_dipy_fits_to_them(name):
    dwi, bvals, bvecs = map(Path, get_fnames(name=name))
    measured = read_scan(ScanFiles(name, dwi, bvals, bvecs, None), 2500)
    signals, gradients = measured.volume.values, measured.gradients
    baseline = gradients.baseline(signals)
    mask = baseline > 0  # these pieces of a brain have no edge to find
    fitted = fit_tensors(replace(measured, mask=mask), ignore)[:, mask]
    table = gradient_table(gradients.bvals, bvecs=gradients.bvecs, b0_threshold=50)
    expected = TensorModel(table).fit(signals[:, mask].T).lower_triangular().T * 1e3
    # 1e-4: dipy fits the signals as they are, we divide them in float32.
    above = (signals >= SIGNAL_FLOOR * baseline).all(axis=0)[mask]
    assert above.sum() > 100
    np.testing.assert_allclose(fitted[:, above], expected[:, above], atol=1e-4)
    mean_diffusivity = fitted[[0, 2, 5]].mean(axis=0)
    assert 0.4 < np.median(mean_diffusivity) < 1.2
