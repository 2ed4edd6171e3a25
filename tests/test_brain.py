"""The built-in regions of the MNI152 brain."""

import numpy as np
import pytest

from revgan.data.datasets import brain
from revgan.data.datasets.brain import GRAY_MATTER, SLABS, T1, write_brain
from revgan.data.grids import double, halve
from revgan.errors import UserError
from scans import read_volume

ROLES = {slab.name: slab.role for slab in SLABS}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("brain")


@pytest.fixture(scope="module")
def t1():
    return brain._read(T1)


@pytest.fixture(scope="module")
def gray_matter(root):
    return write_brain(root, task="gray-matter")


def region(folder, name, domain):
    return read_volume(folder / f"{ROLES[name]}{domain}" / f"{name}.nii.gz")


def voxels(volume, of):
    """Where a volume lies on the grid of another, by their affines."""
    to_grid = np.linalg.inv(of.affine) @ volume.affine
    np.testing.assert_array_equal(to_grid[:3, :3], np.eye(3))
    starts = to_grid[:3, 3].astype(int)
    sizes = volume.values.shape[1:]
    return tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))


@pytest.mark.parametrize("name", ROLES)
def test_a_region_lies_where_its_affine_says(gray_matter, t1, name):
    volume, truth = region(gray_matter, name, "A"), region(gray_matter, name, "B")
    place = voxels(volume, t1)
    np.testing.assert_array_equal(volume.values, t1.values[:, *place])
    np.testing.assert_array_equal(truth.values, brain._read(GRAY_MATTER).values[:, *place])
    np.testing.assert_array_equal(volume.affine, truth.affine)


def test_no_test_voxel_is_near_a_training_voxel(gray_matter, t1):
    front = {
        role: [
            voxels(region(gray_matter, name, "A"), t1)[1] for name in ROLES if ROLES[name] == role
        ]
        for role in ("train", "test")
    }
    assert max(part.stop for part in front["train"]) + 4 == min(p.start for p in front["test"])


def test_regions_are_large_enough_for_sub_volumes(gray_matter):
    for name in ROLES:
        size = region(gray_matter, name, "A").values.shape[1:]
        assert min(size) >= 48
        assert not any(side % 4 for side in size)


def test_regions_hold_the_whole_brain_but_the_margin(t1):
    left = t1.values[0] > 0
    for slab in SLABS:
        left[slab.region] = False
    left[:, 136:140] = False
    assert not left.any()


@pytest.mark.parametrize(
    ("role", "structure", "place"),
    [
        ("train", "thalamus", (12, -20, 8)),
        ("train", "hippocampus", (28, -20, -14)),
        ("train", "precentral gyrus", (40, -18, 56)),
        ("test", "head of the caudate nucleus", (12, 14, 8)),
        ("test", "nucleus accumbens", (10, 12, -8)),
        ("test", "front of the insula", (36, 14, 0)),
    ],
)
def test_both_roles_have_cortex_and_deep_structures(gray_matter, role, structure, place):
    for name in (name for name in ROLES if ROLES[name] == role):
        volume = region(gray_matter, name, "B")
        x, y, z = np.linalg.solve(volume.affine, (*place, 1))[:3].round().astype(int)
        if 0 <= y < volume.values.shape[2]:
            assert volume.values[0, x, y, z] > 127, structure
            return
    pytest.fail(f"{structure} is not for {role}")


def test_super_resolution_pairs_a_region_with_itself_at_half_the_resolution(root, gray_matter):
    folder = write_brain(root, task="super-resolution")
    for name in ROLES:
        low, high = region(folder, name, "A"), region(folder, name, "B")
        np.testing.assert_array_equal(high.values, region(gray_matter, name, "A").values)
        expected = double(halve(high.values), high.values.shape[1:])
        np.testing.assert_array_equal(low.values, expected)
        np.testing.assert_array_equal(low.affine, high.affine)


def test_half_the_resolution_keeps_fractions(root):
    low = read_volume(write_brain(root, task="super-resolution") / "testA" / "anterior.nii.gz")
    assert low.dtype == np.float32
    assert 0 <= low.values.min() < 1
    assert 200 < low.values.max() <= 255  # still in the units of the file


def test_volumes_are_written_once(tmp_path):
    folder = tmp_path / "brain-gray-matter"
    folder.mkdir()
    assert write_brain(tmp_path, task="gray-matter") == folder
    assert not any(folder.iterdir())


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(brain, "write", fail)
    with pytest.raises(KeyboardInterrupt):
        write_brain(tmp_path, task="gray-matter")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(brain, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"revgan\[samples\]"):
        write_brain(tmp_path, task="gray-matter")
