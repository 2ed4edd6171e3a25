"""Pictures of volumes: what is shown, and in which scale."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from revgan.figures.pictures import image_grid
from revgan.figures.slices import VolumeSlices, slice_volumes
from revgan.figures.volumes import GRID_LIMIT, volume_grid, volume_pictures


def example(error: float = 0.0, affine: np.ndarray | None = None) -> VolumeSlices:
    draws = torch.Generator().manual_seed(0)
    volume = torch.rand(1, 8, 9, 10, generator=draws) - 0.5
    return slice_volumes(volume, volume + error, volume, -volume, affine)


def test_truth_and_difference_are_shown_where_the_truth_is_known() -> None:
    slices = example()
    assert list(volume_pictures(slices, 8)) == [
        "input",
        "translation",
        "truth",
        "difference",
        "round trip",
    ]
    assert list(volume_pictures(replace(slices, truth=None), 8)) == [
        "input",
        "translation",
        "round trip",
    ]


def test_a_grid_has_a_row_per_volume_and_one_scale() -> None:
    rows = [example(0.1), example(0.2)]
    grid = volume_grid(rows)
    expected = [list(volume_pictures(slices, GRID_LIMIT).values()) for slices in rows]
    assert torch.equal(grid, image_grid(expected))
    with pytest.raises(ValueError, match="no images"):
        volume_grid([])
