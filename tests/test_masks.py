"""Masks lie where their headers say; scores inside them are in test_volume_evaluation."""

import numpy as np
import pytest
import torch
from rasterio.crs import CRS

from revgan.data.config import DataConfig
from revgan.data.formats import Ground, Scan, probe, write
from revgan.data.masks import find_masks, read_mask
from revgan.data.refs import ScanRef
from revgan.data.sets import open_data_set
from revgan.data.training_masks import MaskRecipe, mask_ref
from revgan.errors import Notice, UserError
from revgan.evaluation.scorers import has_masks
from revgan.scores.metrics import score_pair
from scans import write_image

UTM = CRS.from_epsg(32632).to_wkt()


@pytest.fixture
def folder(tmp_path):
    for name in ("trainA", "trainB", "testA", "testB"):
        (tmp_path / name).mkdir()
        pixels = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)
        write_image(tmp_path / name / "x.png", pixels)
    return tmp_path


def opened(folder, **options):
    return open_data_set(DataConfig(path=str(folder), crop=32, **options), paired=True)


@pytest.mark.parametrize("resize", [None, 64])
def test_an_image_is_scored_inside_its_mask(folder, resize):
    assert not has_masks(opened(folder), "AtoB")
    inside = np.zeros((32, 40, 1), np.uint8)
    inside[4:20, 6:30] = 1
    (folder / "testMask").mkdir()
    write_image(folder / "testMask" / "x.tif", inside)
    data = opened(folder, resize=resize)
    assert has_masks(data, "AtoB")
    ref = data.b.test[0]
    mask = read_mask(find_masks(data.b.test)[0], data.b, ref)
    truth = data.b.load(ref)
    assert mask.shape == truth.shape[1:]
    scale = 1 if resize is None else 4
    assert mask.sum() == 16 * 24 * scale
    wrong_outside = truth.where(mask, torch.zeros(()))
    assert score_pair(wrong_outside, truth, mask)[0] == 0
    assert score_pair(wrong_outside, truth)[0] > 0


def affine(spacing=(1, 1, 1), origin=(0, 0, 0)):
    place = np.diag([*spacing, 1.0])
    place[:-1, -1] = origin
    return place


def save(path, values, place=None, ground=None):
    values = np.asarray(values, np.uint8)[np.newaxis]
    write(path, values, Scan(values, place, None, values.dtype, ground).header)
    return path


def placed(mask, scan):
    """A mask file's values on the grid of its scan's."""
    dims = len(probe(scan).shape)
    recipe = MaskRecipe.of(DataConfig(spatial_dims=dims, crop=8))
    return recipe.read(mask_ref(ScanRef(scan), mask)).values[0]


def box(shape, *sides):
    inside = np.zeros(shape, bool)
    inside[tuple(slice(*side) for side in sides)] = True
    return inside


@pytest.mark.parametrize(
    ("mask", "place"),
    [
        (box((8, 8, 8), (1, 3), (2, 4), (3, 8)), affine((2, 2, 2), (0.5, 0.5, 0.5))),
        # Turned and mirrored, as in another orientation.
        (box((16, 16, 16), (10, 14), (4, 8), (6, 16)), affine((-1, 1, 1), (15, 0, 0))),
        (
            box((16, 16, 16), (6, 16), (4, 8), (2, 6)),
            np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]),
        ),
        (box((10, 6, 12), (0, 4), (0, 4), (2, 12)), affine(origin=(2, 4, 4))),
    ],
    ids=["half the resolution", "mirrored", "turned", "a part of the field of view"],
)
def test_a_mask_comes_to_its_scan_by_its_affine(tmp_path, mask, place):
    scan = save(tmp_path / "scan.nii", np.zeros((16, 16, 16)), affine())
    made = placed(save(tmp_path / "mask.nrrd", mask, place), scan)
    np.testing.assert_array_equal(made, box((16, 16, 16), (2, 6), (4, 8), (6, 16)))


def test_formats_without_a_place_are_matched_by_shape(tmp_path):
    inside = box((4, 5, 6), (1, 2))
    np.save(tmp_path / "mask.npy", inside.astype(np.uint8))
    scan = save(tmp_path / "scan.nii", np.zeros((4, 5, 6)), affine((2, 1, 1), (50, 0, 0)))
    np.testing.assert_array_equal(placed(tmp_path / "mask.npy", scan), inside)
    mask = save(tmp_path / "mask.nii", inside, affine((2, 1, 1), (50, 0, 0)))
    np.testing.assert_array_equal(placed(mask, tmp_path / "mask.npy"), inside)
    np.save(tmp_path / "mask.npy", np.ones((5, 6, 7)))
    with pytest.raises(UserError, match="doesn't say where it is, and their sizes differ"):
        placed(tmp_path / "mask.npy", scan)


def test_a_mask_that_lies_elsewhere_is_refused_with_the_distance(tmp_path):
    shape = (24, 26, 28)
    scan = save(tmp_path / "c.nii", np.zeros(shape), affine((-1, 1, 1), (100, 0, 0)))
    mask = save(tmp_path / "m.nii", box(shape, (0, 12)), affine())
    with pytest.raises(UserError, match=r"m\.nii has nothing in common .* centres are 77 mm apart"):
        placed(mask, scan)
    # A part of its grid is in the scan, but nothing of what it shows.
    near = affine(origin=(80, 0, 0))
    with pytest.raises(UserError, match=r"m\.nii is empty where .* centres are 3 mm apart"):
        placed(save(mask, box(shape, (21, 24)), near), scan)
    with pytest.warns(Notice, match="centres are 3 mm apart; the mask counts where its header"):
        made = placed(save(mask, box(shape, (0, 12)), near), scan)
    # x = 80 to 91 mm are 20 to 9 voxels from the scan's first, at 100 mm.
    np.testing.assert_array_equal(made, box(shape, (9, 21)))


def test_a_mask_of_an_image_lies_where_its_pixel_sizes_or_its_map_say(tmp_path):
    expected, coarse = box((16, 12), (2, 6), (4, 8)), box((8, 6), (1, 3), (2, 4))
    fine, twice = (np.array([[0.0, s, s / 2], [s, 0, s / 2], [0, 0, 1]]) for s in (0.001, 0.002))
    scan = save(tmp_path / "c.ome.tif", np.zeros((16, 12)), fine)
    made = placed(save(tmp_path / "m.ome.tif", coarse, twice), scan)
    np.testing.assert_array_equal(made, expected)
    fine, twice = (
        Ground(np.array([[0.0, s, 5e5 + s / 2], [-s, 0, 5e6 - s / 2], [0, 0, 1]]), UTM)
        for s in (10, 20)
    )
    scan = save(tmp_path / "c.tif", np.zeros((16, 12)), ground=fine)
    mask = save(tmp_path / "m.tif", coarse, ground=twice)
    np.testing.assert_array_equal(placed(mask, scan), expected)
    away = Ground(fine.affine + np.array([[0, 0, 1e4], [0, 0, 0], [0, 0, 0]]), UTM)
    with pytest.raises(UserError, match=r"1e\+04 units of their CRS apart"):
        placed(save(mask, expected, ground=away), scan)
