"""`data.align`: B comes onto A's grid, by where the files say that they are."""

import nibabel
import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine, from_origin

from revgan.data.aligning import align
from revgan.data.config import DataConfig
from revgan.data.formats import probe, read
from revgan.data.sets import open_data_set
from revgan.errors import UserError


def write_nifti(path, values, affine):
    image = nibabel.Nifti1Image(values.astype(np.float32), affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def linear(affine, shape):
    """A volume whose values are linear in the patient's coordinates."""
    index = np.stack([*np.indices(shape), np.ones(shape)])
    place = np.einsum("ij,jxyz->ixyz", affine, index)
    return place[0] + 2 * place[1] - 3 * place[2]


def field_of_view(spacing, shape, first=(0, 0, 0)):
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = first
    return affine, shape


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (field_of_view((1, 1, 1), (16, 16, 16)), field_of_view((2, 2, 2), (8, 8, 8), (0.5,) * 3)),
        (field_of_view((2, 2, 2), (8, 8, 8), (0.5,) * 3), field_of_view((1, 1, 1), (16, 16, 16))),
        (
            field_of_view((0.7, 0.7, 1.5), (20, 20, 10)),
            field_of_view((1.5, 1.5, 0.7), (10, 10, 22), (0.3, 0.2, 0)),
        ),
        (
            field_of_view((1, 1, 1), (12, 12, 12)),
            field_of_view((-1, 1, -1), (12, 12, 12), (11, 0, 11)),
        ),
    ],
    ids=["1 to 2 mm", "2 to 1 mm", "0.7 and 1.5 mm", "other orientation"],
)
def test_volumes_of_one_field_of_view_come_onto_one_grid(tmp_path, ours, theirs):
    (a, shape_a), (b, shape_b) = ours, theirs
    to = probe(write_nifti(tmp_path / "a.nii", linear(a, shape_a), a))
    scan = read(write_nifti(tmp_path / "b.nii", linear(b, shape_b), b))

    aligned = align(scan, to, "b")

    assert aligned.shape == shape_a
    np.testing.assert_array_equal(aligned.affine, to.affine)
    # Between its outermost voxels' centres, what is linear is interpolated exactly, in float32.
    index = np.stack([*np.indices(shape_a), np.ones(shape_a)])
    at = np.einsum("ij,jxyz->ixyz", np.linalg.inv(b) @ a, index)[:3]
    last = np.reshape(shape_b, (3, 1, 1, 1)) - 1
    inside = ((at >= 0) & (at <= last)).all(0)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(aligned.values[0][inside], linear(a, shape_a)[inside], atol=1e-4)


def test_what_a_scan_does_not_cover_is_not_measured(tmp_path):
    whole, part = (
        field_of_view((1, 1, 1), (8, 8, 8)),
        field_of_view((1, 1, 1), (4, 8, 8), (4, 0, 0)),
    )
    to = probe(write_nifti(tmp_path / "a.nii", np.ones(whole[1]), whole[0]))
    scan = read(write_nifti(tmp_path / "b.nii", np.ones(part[1]), part[0]))

    values = align(scan, to, "b").values[0]

    assert np.isnan(values[:4]).all()
    assert (values[4:] == 1).all()


def write_map(path, values, transform, crs="EPSG:32632", nodata=None):
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, crs=crs,
        dtype=values.dtype.name, transform=transform, nodata=nodata,
    ) as file:  # fmt: skip
        file.write(values)
    return path


def ramp(transform, height, width, dtype="float32"):
    """An image whose values are linear in x and y of its CRS, in 10 m from a corner."""
    rows, columns = np.indices((height, width)) + 0.5
    x, y = transform @ (columns, rows)
    return ((x - 500_000) / 10 + (5_000_000 - y) / 5)[np.newaxis].astype(dtype)


@pytest.mark.parametrize(
    "theirs",
    [
        from_origin(500_000, 5_000_000, 20, 20),
        from_origin(500_003, 4_999_991, 10, 10),
        from_origin(500_000, 5_000_000, 10, 10) @ Affine.rotation(-3),
    ],
    ids=["half the resolution", "shifted", "turned"],
)
def test_maps_come_onto_one_grid(tmp_path, theirs):
    ours = from_origin(500_000, 5_000_000, 10, 10)
    to = probe(write_map(tmp_path / "a.tif", ramp(ours, 40, 50), ours))
    scan = read(write_map(tmp_path / "b.tif", ramp(theirs, 60, 60), theirs))

    aligned = align(scan, to, "b")

    assert aligned.ground is to.ground
    inside = aligned.values[0][5:-5, 5:-5]
    assert np.isfinite(inside).mean() > 0.8
    error = inside - ramp(ours, 40, 50)[0, 5:-5, 5:-5]
    # GDAL finds positions by an approximation of an eighth of a pixel at most.
    assert np.nanmax(abs(error)) < 0.125 * 3


def test_maps_of_another_crs_come_onto_one_grid(tmp_path):
    ours = from_origin(500_000, 5_000_000, 10, 10)
    to = probe(write_map(tmp_path / "a.tif", ramp(ours, 40, 50), ours))
    theirs = from_origin(9.0, 45.2, 1e-4, 1e-4)
    image = np.full((1, 600, 200), 7, np.uint8)
    scan = read(write_map(tmp_path / "b.tif", image, theirs, "EPSG:4326", nodata=0))

    values = align(scan, to, "b").values

    assert values.shape == (1, 40, 50)
    assert np.nanmax(values) == np.nanmin(values) == 7


def test_pairs_that_lie_elsewhere_are_named_and_aligned_on_request(tmp_path):
    ours, theirs = from_origin(500_000, 5_000_000, 10, 10), from_origin(500_000, 5_000_000, 20, 20)
    for part in ("train", "test"):
        for domain, place, side in (("A", ours, 40), ("B", theirs, 20)):
            folder = tmp_path / f"{part}{domain}"
            folder.mkdir()
            write_map(folder / "x.tif", ramp(place, side, side), place)
    config = {"path": str(tmp_path), "crop": 16}

    with pytest.raises(UserError, match=r"x.tif is 40 x 40 .*set data.align true"):
        open_data_set(DataConfig(**config), paired=True)
    for cache in ("none", "disk"):
        data = open_data_set(DataConfig(**config, align=True, cache=cache), paired=True)
        assert data.test_aligned
        a, b = (domain.prepared(domain.test[0]).values[0] for domain in (data.a, data.b))
        assert a.shape == b.shape == (40, 40)
        np.testing.assert_allclose(b[2:-2, 2:-2], a[2:-2, 2:-2], atol=0.05)


def test_volumes_of_other_sizes_are_told_what_helps(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, spacing, size in (("trainA", 1, 16), ("trainB", 2, 8)):
        (tmp_path / name).mkdir()
        affine = np.diag([spacing, spacing, spacing, 1.0])
        write_nifti(tmp_path / name / "x.nii", linear(affine, (size,) * 3), affine)
    config = DataConfig(path=str(tmp_path), spatial_dims=3, crop=8)
    with pytest.raises(UserError, match=r"8 x 8 x 8 voxels; .* size, so set data\.align true"):
        open_data_set(config, paired=True)
    for name, size in (("trainA", 16), ("trainB", 8)):  # these don't say where they are
        np.save(tmp_path / name / "x.npy", linear(np.eye(4), (size,) * 3))
        (tmp_path / name / "x.nii").unlink()
    with pytest.raises(UserError, match=r"8 x 8 x 8 voxels; .* so resample one onto the other's"):
        open_data_set(config, paired=True)


def test_pairs_of_one_size_that_lie_elsewhere_are_refused(tmp_path):
    ours, theirs = (from_origin(x, 5_000_000, 10, 10) for x in (500_000, 500_050))
    for domain, place in (("A", ours), ("B", theirs)):
        (tmp_path / f"train{domain}").mkdir()
        write_map(tmp_path / f"train{domain}" / "x.tif", ramp(place, 40, 40), place)

    with pytest.raises(UserError, match="up to 5 pixels apart according to their CRS"):
        open_data_set(DataConfig(path=str(tmp_path), crop=16), paired=True)


def test_scans_without_a_place_or_elsewhere_cannot_be_aligned(tmp_path):
    ours, far = (from_origin(x, 5_000_000, 10, 10) for x in (500_000, 900_000))
    to = probe(write_map(tmp_path / "a.tif", ramp(ours, 40, 40), ours))
    np.save(tmp_path / "b.npy", np.zeros((9, 9, 9)))

    with pytest.raises(UserError, match="b can't be aligned, as it or its partner"):
        align(read(tmp_path / "b.npy"), to, "b")
    with pytest.raises(UserError, match="nothing in common with the place of its partner"):
        align(read(write_map(tmp_path / "c.tif", ramp(far, 9, 9), far)), to, "c")


def test_align_needs_pairs(tmp_path):
    for domain in "AB":
        (tmp_path / f"train{domain}").mkdir()
        ours = from_origin(500_000, 5_000_000, 10, 10)
        write_map(tmp_path / f"train{domain}" / f"{domain}.tif", ramp(ours, 20, 20), ours)

    with pytest.raises(UserError, match="has no pairs; name partners alike"):
        open_data_set(DataConfig(path=str(tmp_path), crop=16, align=True), paired=False)
