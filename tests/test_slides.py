"""Whole slides, as OpenSlide reads them: made-up ones, as none of a vendor can come with tests."""

import numpy as np
import openslide
import pytest

from revgan.data import formats
from revgan.data.foreground import foreground_positions
from revgan.data.formats import Selection, pyramid
from revgan.data.formats.physical import place
from revgan.data.refs import find_scans
from revgan.errors import UserError
from scans import MPP, write_slide

SHAPE = (1200, 900)


def tissue():
    """A pink spot of tissue on white glass, (3, H, W)."""
    rows, columns = np.indices(SHAPE)
    inside = (rows - 500) ** 2 + (columns - 300) ** 2 < 200**2
    random = np.random.default_rng(0).integers(0, 40, (3, *SHAPE))
    stain = np.array([180, 90, 150])[:, None, None] + random
    return np.where(inside, stain, 250 - random // 10).astype(np.uint8)


@pytest.fixture
def slide(tmp_path):
    write_slide(tmp_path / "x.svs", tissue())
    return tmp_path / "x.svs"


def test_levels_are_read_with_the_size_of_their_pixels(slide):
    expected = tissue()
    for level in range(3):
        scan = formats.read(slide, 2, Selection(level=level))
        np.testing.assert_array_equal(scan.values, expected)
        size = MPP * 2**level / 1e3
        start = (size - MPP / 1e3) / 2
        np.testing.assert_allclose(scan.affine, place([size] * 2, [start] * 2), rtol=1e-12)
        expected = pyramid.means(expected, (2, 2))


@pytest.mark.parametrize("size", [0.25, 0.503, 0.7, 1.0, 1.7, 8.0])
def test_any_size_of_pixels_is_read_in_windows_of_the_whole(slide, size):
    with formats.open(slide, 2, Selection(pixel_size=size)) as file:
        whole, header = file.read(), file.header
        window = tuple(slice(side // 3, side // 3 + side // 4 + 1) for side in header.shape)
        # A mean of just between two integers may become either.
        np.testing.assert_allclose(file.read(window), whole[:, *window].astype(int), atol=1)
    np.testing.assert_allclose(np.array(header.shape) * size, np.array(SHAPE) * MPP, rtol=0.01)
    assert abs(float(whole.mean()) - tissue().mean()) < 0.5


def test_where_nothing_was_scanned_is_background(tmp_path, monkeypatch):
    write_slide(tmp_path / "x.svs", tissue())
    read = openslide.OpenSlide.read_region

    def with_a_hole(self, *place):
        picture = read(self, *place)
        picture.putalpha(0)
        return picture

    monkeypatch.setattr(openslide.OpenSlide, "read_region", with_a_hole)
    assert (formats.read(tmp_path / "x.svs", 2).values == 255).all()


def test_slides_are_only_read(slide):
    scan = formats.read(slide, 2)
    with pytest.raises(UserError, match=r"only be read; use the suffix \.ome\.tif"):
        formats.write(slide.with_name("y.svs"), scan.values, scan.header)
    assert not formats.holds("y.svs", scan.header)


@pytest.mark.parametrize("shape", [(400, 300), (3000, 2100)])
def test_crops_are_drawn_from_tissue_not_from_glass(shape):
    rows, columns = np.indices(shape)
    inside = (rows < shape[0] // 4) & (columns > shape[1] // 2)
    stain = np.array([180, 90, 150], np.uint8)[:, None, None]
    values = np.where(inside, stain, np.uint8(240))
    found = foreground_positions(values, colour=True)
    assert len(found) > 1000
    assert inside[tuple(found.T)].mean() > 0.98  # squares of a few pixels lie across the border
    assert len(np.unique(found, axis=0)) == len(found)
    # What is bright would be the glass.
    assert inside[tuple(foreground_positions(values).T)].mean() < 0.05


def test_the_folder_of_a_mirax_slide_is_part_of_it(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "Data0000.dat").touch()
    (tmp_path / "y").mkdir()
    (tmp_path / "x.mrxs").touch()
    found = find_scans(tmp_path, 2)
    assert [ref.path.name for ref in found.refs] == ["x.mrxs"]
    assert [path.name for path, _ in found.passed] == ["y"]
