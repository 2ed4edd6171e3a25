"""Files that are read, translated and written window by window."""

import random
import tempfile
from contextlib import suppress
from itertools import pairwise, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from revgan import Translator
from revgan.data import formats
from revgan.data.formats import Header
from revgan.data.mappings import Intensity
from revgan.data.preparation import Grid, Preparation
from revgan.data.scratch import Scratch
from revgan.inference import Windows
from revgan.networks import RevGenerator

OBLIQUE = np.array([[0.8, 0.3, 0, -12], [-0.3, 1.1, 0.4, 33], [0, -0.5, 2.9, -70], [0, 0, 0, 1]])
SHAPES = {2: (70, 53), 3: (19, 13, 17)}
TYPES = {2: ("u1", "u2"), 3: ("i2", "f4")}


def windows_of(shape, side):
    return list(product(*([slice(i, i + side) for i in range(0, size, side)] for size in shape)))


def scan(shape, channels=1, dtype="i2"):
    """Values of 0 to 1000, or of the whole type for photos."""
    most = 1000 if len(shape) > 2 else np.iinfo(dtype).max
    values = np.random.default_rng(0).integers(0, most, (channels, *shape)).astype(dtype)
    place = OBLIQUE if len(shape) > 2 else None
    return values, Header(channels, shape, values.dtype, place)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".npy", ".mha", ".tif", ".png"])
@pytest.mark.parametrize("channels", [1, 3])
def test_windows_in_any_order_make_the_file_that_one_writing_makes(tmp_path, suffix, channels):
    dims = 2 if suffix in (".tif", ".png") else 3
    for dtype in TYPES[dims]:
        values, header = scan(SHAPES[dims], channels, dtype)
        windows = windows_of(header.shape, 16)
        random.Random(0).shuffle(windows)
        at_once, piecewise = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
        with formats.create(at_once, header) as file:
            file.write(values)
        with formats.create(piecewise, header) as file:
            file.write(np.zeros_like(values)[:, *windows[0]], windows[0])
            for window in windows:
                file.write(values[:, *window], window)
        read = formats.read(piecewise)
        assert read.values.dtype == values.dtype
        assert np.array_equal(read.values, values)
        if suffix != ".tif":  # which has tiles then
            assert piecewise.read_bytes() == at_once.read_bytes()
        with formats.open(piecewise) as file:
            for window in windows[:4]:
                assert np.array_equal(file.read(window), values[:, *window])
        with suppress(KeyboardInterrupt), formats.create(piecewise, header) as file:
            file.write(values[:, *windows[0]] + 1, windows[0])
            raise KeyboardInterrupt
        assert np.array_equal(formats.read(piecewise).values, values)
        assert sorted(tmp_path.iterdir()) == [at_once, piecewise]


def test_windows_of_nifti_keep_the_byte_order_and_extensions_of_their_source(tmp_path):
    values, _ = scan((9, 8, 7))
    image = nibabel.Nifti1Image(values[0], OBLIQUE, nibabel.Nifti1Header(endianness=">"))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"a comment"))
    nibabel.save(image, tmp_path / "x.nii")
    header = formats.probe(tmp_path / "x.nii").of(values)
    with formats.create(tmp_path / "a.nii", header) as file:
        file.write(values)
    with formats.create(tmp_path / "b.nii", header) as file:
        for window in windows_of(header.shape, 5):
            file.write(values[:, *window], window)
    assert (tmp_path / "a.nii").read_bytes() == (tmp_path / "b.nii").read_bytes()


@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    channels=st.integers(1, 4),
    cuts=st.lists(st.integers(1, 699), max_size=3),
    seed=st.integers(0, 99),
)
def test_tiles_are_whole_wherever_windows_begin(shape, channels, cuts, seed):
    values, header = scan(shape, channels, "u2")
    axes = []
    for size in shape:
        ends = sorted({0, size, *(cut for cut in cuts if cut < size)})
        axes.append([slice(*pair) for pair in pairwise(ends)])
    windows = list(product(*axes))
    random.Random(seed).shuffle(windows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.tif"
        with formats.create(path, header) as file:
            for window in windows:
                file.write(values[:, *window], window)
        stored = tifffile.imread(path)
        assert np.array_equal(formats.read(path).values, values)
    assert np.array_equal(np.moveaxis(stored.reshape(*shape, channels), -1, 0), values)


def network(spatial_dims, channels=(1, 2), **changes):
    torch.manual_seed(0)
    generator = RevGenerator(
        spatial_dims,
        *channels,
        width=4,
        depth=1,
        downsamplings=1,
        first_kernel=3,
        last_kernel=3,
        init="kaiming",
        **changes,
    )
    return generator.requires_grad_(False)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".npy", ".mha"])
@pytest.mark.parametrize(
    "grid",
    [Grid(), Grid("LPI"), Grid("RAS", (1.0, 1.5, 2.0)), Grid(None, (2.0, 0.9, 1.3))],
    ids=["as it is", "turned", "resampled and turned", "resampled"],
)
def test_volumes_in_parts_are_those_of_one_pass(tmp_path, suffix, grid):
    ranges = Preparation(Intensity(0, 1000), Intensity(-100, 900), grid)
    for direction, channels in (("AtoB", 1), ("BtoA", 2)):
        source, (values, header) = tmp_path / f"x{suffix}", scan((21, 17, 19), channels)
        formats.write(source, values, header)
        translator = Translator(network(3), ranges)
        translator.translate_file(source, tmp_path / f"y{suffix}", direction)
        for statistics in ("exact", "approximate"):
            translator.windows = Windows(12, statistics=statistics)
            translator.translate_file(source, tmp_path / f"z{suffix}", direction)
            y, z = (formats.read(tmp_path / f"{name}{suffix}") for name in "yz")
            assert z.dtype == y.dtype
            assert np.array_equal(z.place, y.place)
            if statistics == "exact":  # but whole numbers may be rounded to the other side
                assert np.abs(z.values.astype(float) - y.values).max() <= 1


@pytest.mark.parametrize("suffix", [".tif", ".png"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_images_in_parts_are_those_of_one_pass(tmp_path, suffix, dtype):
    values, header = scan((73, 90), 3, dtype)
    formats.write(tmp_path / f"x{suffix}", values, header)
    translator = Translator(network(2, (3, 1)))
    translator.translate_file(tmp_path / f"x{suffix}", tmp_path / f"y{suffix}", "AtoB")
    translator.windows = Windows(32)
    translator.translate_file(tmp_path / f"x{suffix}", tmp_path / f"z{suffix}", "AtoB")
    y, z = (formats.read(tmp_path / f"{name}{suffix}").values for name in "yz")
    assert z.dtype == y.dtype
    # Exact within 0.05 grey levels of 255, and rounded.
    assert np.abs(z.astype(float) - y).max() <= 0.05 * np.iinfo(dtype).max / 255 + 1


def test_only_what_a_window_needs_is_read_and_all_of_it_is_never_in_memory(tmp_path, monkeypatch):
    values, header = scan((64, 64, 64), dtype="f4")
    formats.write(tmp_path / "x.npy", values, header)
    asked = []
    read = formats.files.OpenScan.read

    def watched(self, window=None):
        asked.append([part.stop - part.start for part in window])
        return read(self, window)

    monkeypatch.setattr(formats.files.OpenScan, "read", watched)
    ranges = Preparation(Intensity(0, 1000), Intensity(0, 1000))
    translator = Translator(network(3, (1, 1)), ranges, Windows(16))
    translator.translate_file(tmp_path / "x.npy", tmp_path / "y.npy", "AtoB")
    assert max(map(max, asked)) <= 16 + 2 * 4  # with what the encoder's layers reach


def test_a_scratch_array_is_there_as_long_as_it_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    values = np.random.default_rng(0).random((3, 5, 6, 7), np.float32)
    everything = tuple(slice(0, size) for size in values.shape[1:])
    scratch = Scratch(in_memory=values.nbytes)
    for _ in range(3):
        first, second = (scratch.array(values.shape) for _ in range(2))
        for array in (first, second):
            array.write(everything, values)
            assert np.array_equal(array.read(everything), values)
            part = (slice(1, 3), slice(0, 6), slice(2, 3))
            array.write(part, values[:, *part] + 1)
            assert np.array_equal(array.read(part), values[:, *part] + 1)
        del array, first, second
    assert scratch.peak == values.nbytes  # one of the two, at a time
    assert not list(tmp_path.iterdir())  # not even while it was there
