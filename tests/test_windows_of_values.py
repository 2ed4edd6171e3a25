"""Window and level: pictures whose window is chosen by who looks."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from reports import CT_WINDOWS, ct_volumes
from revgan.evaluation.viewer import Viewer
from revgan.figures.windows import level_table, to_levels, windowed


def ct():
    """Half air, a body around 40 HU, some bone, and metal."""
    draws = np.random.default_rng(0)
    scan = np.full((40, 40, 40), -1000.0) + draws.normal(0, 10, (40,) * 3)
    scan[5:35, 5:35, :26] = 40 + 60 * gaussian_filter(draws.normal(size=(30, 30, 26)), 1)
    scan[10:14, 10:14, :26] = 900 + draws.normal(0, 150, (4, 4, 26))
    scan[20, 20, 5] = 3071
    return torch.from_numpy(scan)[None]


def test_levels_are_fine_where_values_are_and_never_coarse():
    scan = ct()
    table = level_table([scan])
    assert (np.diff(table) > 0).all()
    assert (table[0], table[-1]) == (scan.min(), scan.max())
    error = (torch.from_numpy(table)[to_levels(scan, table).long()] - scan).abs()
    body = (scan > -60) & (scan < 140)
    even = (table[-1] - table[0]) / 255
    assert error[body].quantile(0.99) < even / 8  # of 16 HU a step, less than 2 away
    assert error.max() <= even / 2 / 0.3


def test_levels_of_odd_scans():
    assert to_levels(torch.full((1, 2, 2), 7.0), level_table([torch.full((1, 2, 2), 7.0)])).shape
    gap = torch.tensor([[[torch.nan, 1.0, 2.0]]])
    table = level_table([gap])
    assert to_levels(gap, table).tolist() == [[[0, 0, 255]]]
    assert len(level_table([torch.full((1, 2), torch.nan)])) == 256


def test_a_window_is_linear_between_black_and_white():
    values = torch.tensor([-160.0, -161, 40, 240, 999, torch.nan, 140])
    assert windowed(values, 40, 400).tolist() == [-1, -1, 0, 1, 1, -1, 0.5]


def test_pictures_outside_the_viewer_have_the_window_at_first():
    cases = ct_volumes()
    narrow = {"input": CT_WINDOWS["input"], "truth": CT_WINDOWS["truth"][1:]}
    pictures = []
    for windows in (CT_WINDOWS, narrow):
        viewer = Viewer("AtoB", cases, {}, "psnr", windows)
        assert viewer.windowed == ["input", "truth"]
        pictures.append({front.kind: front.source for front in viewer.fronts(0)})
    wide, soft = pictures
    same = {kind for kind, source in wide.items() if source == soft[kind]}
    assert same == {"input", "difference"}
