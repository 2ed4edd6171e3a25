"""Masks of images; those of volumes are in test_volume_evaluation."""

import numpy as np
import pytest
import torch

from revgan.data.config import DataConfig
from revgan.data.masks import find_masks, read_mask
from revgan.data.sets import open_data_set
from revgan.evaluation.scorers import has_masks
from revgan.scores.metrics import score_pair
from scans import write_image


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
