"""Scans that are never whole in memory: the same crops as of small ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from revgan.data import windowed
from revgan.data.config import DataConfig
from revgan.data.formats import Header, write
from revgan.data.formats.contract import Ground
from revgan.data.large import Unread
from revgan.data.sampling import TrainingSamples
from revgan.data.sets import open_data_set

GROUND = Ground(np.array([[0.0, 10, 5e5], [-10, 0, 5e6], [0, 0, 1]]), "EPSG:32633")
TURNED = np.array([[0.0, 0, 2, 5], [-1.5, 0, 0, 7], [0, 1, 0, 9], [0, 0, 0, 1]])


def image(number, dtype="uint16", channels=2, nodata=None):
    values = np.random.default_rng(number).integers(1, 200, (channels, 70, 90)).astype(dtype)
    if nodata is not None:
        values[:, :30] = nodata
    header = Header(channels, (70, 90), values.dtype, ground=GROUND, nodata=nodata)
    return values, header


def volume(number):
    values = np.random.default_rng(number).integers(0, 2000, (1, 40, 30, 36)).astype("int16")
    return values, Header(1, (40, 30, 36), values.dtype, TURNED)


def made(root, suffix, scans):
    for place, name in enumerate(("trainA", "trainB")):
        (root / name).mkdir(parents=True)
        for number in range(2):
            values, header = scans(10 * place + number)
            write(root / name / f"{number}{suffix}", values, header)
    return root


def crops(root, **options):
    config = DataConfig(path=str(root), crop=16, **options)
    data = open_data_set(config, paired=True)
    samples = TrainingSamples(data, config, paired=True, seed=3)
    return data, [crop for number in range(8) for crop in samples[number]]


@pytest.mark.parametrize(
    ("suffix", "scans", "options", "unread"),
    [
        (".tif", image, {}, True),
        (".tif", lambda number: image(number, nodata=0), {"foreground": 0.5}, True),
        (".tif", lambda number: image(number, "float32", nodata=-9), {"channels_a": 1}, True),
        (".tif", lambda number: image(number, "uint8", 3), {"cache": "disk"}, False),
        (".tif", lambda number: image(number, "uint8"), {"cache": "memory"}, False),
        (".tif", image, {"intensity_a": "zscore-per-scan"}, True),
        (".nii", volume, {"foreground": 0.5}, False),
        (".nii", volume, {"orientation": "RAS"}, False),
        (".nii", volume, {"spacing": (1.0, 1.0, 1.0)}, False),
    ],
)
def test_crops_of_large_scans_are_those_of_small_ones(
    tmp_path, monkeypatch, suffix, scans, options, unread
):
    options |= {"spatial_dims": 3 if suffix == ".nii" else 2}
    root = made(tmp_path / "set", suffix, scans)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "small"))
    small, expected = crops(root, **options)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "large"))
    monkeypatch.setattr(windowed, "LARGE", 1)
    large, found = crops(root, **options)
    ref = large.a.train[0]
    assert isinstance(large.a.prepared(ref).values, Unread) is unread
    assert replace(large.preparation, a=small.preparation.a) == small.preparation
    own, same = large.a.found[ref], small.a.found[ref]
    assert own[:3] == same[:3]
    assert own.missing == same.missing
    # Where voxels are interpolated, in windows as a whole but for float32's rounding of places.
    tolerance = 1e-4 if "spacing" in options else 0
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance, equal_nan=True)
