"""GeoTIFFs: what rasterio wrote is read, and rasterio reads what is written like it."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling
from rasterio.rpc import RPC
from rasterio.shutil import copy
from rasterio.transform import Affine, from_origin

from revgan.data import formats
from revgan.data.formats import geotiff
from revgan.errors import Notice, UserError

TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
PLACE = from_origin(500_000, 5_000_000, 10, 10)


def random_values(dtype, shape, seed=0):
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def write_geotiff(path, values, transform=PLACE, crs="EPSG:32632", **options):
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, crs=crs,
        dtype=values.dtype.name, transform=transform, **options,
    ) as file:  # fmt: skip
        file.write(values)
    return path


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_values_and_metadata_come_back_in_whole_and_in_windows(tmp_path, data):
    dtype = data.draw(st.sampled_from(TYPES))
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 70), st.integers(1, 70)))
    values = random_values(dtype, shape, data.draw(st.integers(0, 99)))
    layout = data.draw(
        st.sampled_from(
            [
                {},
                {"tiled": True, "blockxsize": 16, "blockysize": 32, "compress": "zstd"},
                {"interleave": "band", "compress": "lzw"},
                {"blockysize": 3, "compress": "deflate"},
            ]
        )
    )
    nodata = data.draw(st.sampled_from([None, 0.0, 7.0]))
    turn = data.draw(st.sampled_from([0.0, 30.0]))
    place = PLACE @ Affine.rotation(turn)
    crs = data.draw(st.sampled_from(["EPSG:32632", "EPSG:4326"]))
    source = write_geotiff(tmp_path / "a.tif", values, place, crs, nodata=nodata, **layout)
    with rasterio.open(source, "r+") as file:
        file.update_tags(SENSOR="one")
        file.update_tags(1, WAVELENGTH="490")
        for band in file.indexes:
            file.set_band_description(band, f"B{band}")

    with formats.open(source) as file:
        header, whole = file.header, file.read()
        top, left = shape[1] // 3, shape[2] // 2
        part = file.read((slice(top, None), slice(left, left + 5)))
    target = tmp_path / "b.tif"
    with formats.create(target, header) as file:
        for row in range(0, shape[1], 20):
            rows = slice(row, min(row + 20, shape[1]))
            file.write(whole[:, rows], (rows, slice(None)))

    np.testing.assert_array_equal(whole, values)
    np.testing.assert_array_equal(part, values[:, top:, left : left + 5])
    assert whole.dtype == values.dtype
    with rasterio.open(source) as before, rasterio.open(target) as after:
        np.testing.assert_array_equal(after.read(), values)
        assert after.crs == before.crs
        # The transform goes to pixel centres and back: float64's rounding of 5,000,000.
        np.testing.assert_allclose(after.transform, before.transform, rtol=1e-12, atol=1e-8)
        assert (after.nodata, after.descriptions) == (before.nodata, before.descriptions)
        assert after.tags()["SENSOR"] == "one"
        assert after.tags(1)["WAVELENGTH"] == "490"
        assert after.colorinterp == before.colorinterp
        kept = ("compress", "interleave", "tiled", "blockxsize", "blockysize")
        for name in kept if layout.get("tiled") else kept[:2]:
            assert after.profile.get(name) == before.profile.get(name), name


def test_an_affine_goes_to_the_centre_of_a_pixel(tmp_path):
    path = write_geotiff(tmp_path / "a.tif", np.zeros((1, 4, 5), np.uint8))

    x, y, _ = formats.probe(path).ground.affine @ [2, 3, 1]  # row 2, column 3

    assert (x, y) == (500_035, 4_999_975)


@pytest.mark.parametrize("cog", [False, True])
def test_overviews_and_the_layout_for_the_cloud_are_kept(tmp_path, cog):
    values = random_values("uint16", (3, 300, 200))
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64}
    source = write_geotiff(tmp_path / "a.tif", values, **tiles)
    with rasterio.open(source, "r+") as file:
        file.build_overviews([2, 4], Resampling.average)
    if cog:
        copy(str(source), str(tmp_path / "cog.tif"), driver="COG", blocksize=128)
        source = tmp_path / "cog.tif"
    scan = formats.read(source)

    formats.write(tmp_path / "b.tif", scan.values, scan.header)

    with rasterio.open(tmp_path / "b.tif") as file:
        np.testing.assert_array_equal(file.read(), values)
        assert (file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG") == cog
        assert file.overviews(1) == [2, 4]
        assert file.block_shapes[0] == ((128, 128) if cog else (64, 64))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_mask_beside_the_bands_is_read_and_written(tmp_path):
    values = random_values("uint8", (3, 40, 30))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        source = write_geotiff(tmp_path / "a.tif", values)
        mask = random_values("uint8", (40, 30), seed=1) > 100
        with rasterio.open(source, "r+") as file:
            file.write_mask(mask)

    header = formats.probe(source)
    reader = geotiff.GeoTiff().open(source, 2, formats.Selection())
    measured = reader.measured((slice(5, 20), slice(None)))
    reader.close()
    formats.write(tmp_path / "b.tif", values, header)

    np.testing.assert_array_equal(measured, mask[5:20])
    with rasterio.open(tmp_path / "b.tif") as file:
        np.testing.assert_array_equal(file.dataset_mask() > 0, mask)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float64"])
def test_a_masked_file_comes_back_with_its_type_its_values_and_its_mask(tmp_path, dtype):
    values = random_values(dtype, (2, 40, 30))
    mask = random_values("uint8", (40, 30), seed=1) > 100
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        source = write_geotiff(tmp_path / "a.tif", values)
        with rasterio.open(source, "r+") as file:
            file.write_mask(mask)

    scan = formats.read(source)
    formats.write(tmp_path / "b.tif", scan.values, scan.header)

    assert np.array_equal(np.isnan(scan.values[0]), ~mask)
    with rasterio.open(tmp_path / "b.tif") as file:
        assert file.dtypes == (dtype, dtype)
        np.testing.assert_array_equal(file.dataset_mask() > 0, mask)
        np.testing.assert_array_equal(file.read()[:, mask], values[:, mask])


def test_scaled_bands_are_read_in_their_units(tmp_path):
    values = np.array([[[0, 1000, 5000]]], np.uint16)
    path = write_geotiff(tmp_path / "a.tif", values, nodata=0)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (1e-4,), (-0.1,)

    reader = geotiff.GeoTiff().open(path, 2, formats.Selection())
    scaled = reader.values((slice(None), slice(None)))
    reader.close()

    np.testing.assert_allclose(scaled, [[[np.nan, 0, 0.4]]], atol=1e-7)  # float32's rounding
    assert scaled.dtype == reader.header.dtype == np.float32


def test_palettes_become_their_colours(tmp_path):
    values = np.array([[[0, 1, 2]]], np.uint8)
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=1, width=3, dtype="uint8", crs="EPSG:32632",
        transform=PLACE, photometric="palette",
    ) as file:  # fmt: skip
        file.write(values)
        file.write_colormap(1, {0: (1, 2, 3), 1: (40, 50, 60), 2: (255, 0, 9)})

    read = formats.read(path).values

    np.testing.assert_array_equal(read[:, 0].T, [[1, 2, 3], [40, 50, 60], [255, 0, 9]])


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_points_and_polynomials_that_place_an_image_are_kept_and_scaled_with_it(tmp_path):
    values, path = random_values("uint8", (1, 20, 30)), tmp_path / "a.tif"
    points = [
        GroundControlPoint(r, c, 10 + c / 99, 50 - r / 99, 7) for r in (0, 20) for c in (0, 30)
    ]
    half, ones = [1.0, *[0.5] * 19], [1.0, *[0.0] * 19]
    polynomials = RPC(0, 1, 50, 1, ones, half, 9.5, 10, 10, 1, ones, half, 14.5, 15)
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=20, width=30, dtype="uint8"
    ) as file:
        file.write(values)
        file.gcps, file.rpcs = (points, rasterio.CRS.from_epsg(4326)), polynomials
    header = formats.probe(path)
    formats.write(tmp_path / "b.tif", values, header)
    small = replace(header, source=header.source.resized((2, 3)), shape=(10, 10))
    formats.write(tmp_path / "c.tif", values[:, ::2, ::3], small)

    def found(name):
        with rasterio.open(tmp_path / name) as file:
            return [
                (each.row, each.col, each.x, each.y, each.z) for each in file.gcps[0]
            ], file.rpcs

    assert found("b.tif") == found("a.tif")
    placed, scaled = found("c.tif")
    assert placed == [(each.row / 2, each.col / 3, each.x, each.y, 7) for each in points]
    # The middle of what was the first pixel is 1/2 and 1/3 of a pixel from the corner, less 1/2.
    of_image = scaled.line_off, scaled.line_scale, scaled.samp_off, scaled.samp_scale
    assert of_image == pytest.approx((4.5, 5, 4.5, 5))
    assert scaled.line_num_coeff == half


def test_one_of_several_images_is_chosen_and_none_passed_over(tmp_path):
    values = [random_values("uint8", (2, 20, 30), seed=seed) for seed in (0, 1)]
    path = write_geotiff(tmp_path / "a.tif", values[0])
    with rasterio.open(path) as file:
        profile = file.profile
    with rasterio.open(path, "w", **profile, APPEND_SUBDATASET=True) as file:
        file.write(values[1])
    with pytest.raises(UserError, match=r"holds 2 images .*choose one by series"):
        formats.read(path)
    for number in (0, 1):
        scan = formats.read(path, 2, formats.Selection(series=str(number)))
        np.testing.assert_array_equal(scan.values, values[number])
        assert scan.ground is not None


def test_what_tags_say_of_the_values_of_the_original_is_not_said_of_others(tmp_path):
    values = random_values("uint8", (3, 20, 30))
    values[:, :4, :5] = np.reshape([1, 2, 3], (3, 1, 1))
    path = write_geotiff(tmp_path / "a.tif", values)
    with rasterio.open(path, "r+") as file:
        file.update_tags(NODATA_VALUES="1 2 3", A="kept")
        file.update_tags(1, STATISTICS_MEAN="0.5", wavelength="665")
        measured = file.dataset_mask() > 0

    scan = formats.read(path)  # a pixel is missing where all bands have their value
    formats.write(tmp_path / "b.tif", scan.values, scan.header)

    assert np.isnan(scan.values[:, :4, :5]).all()
    with rasterio.open(tmp_path / "b.tif") as file:
        np.testing.assert_array_equal(file.dataset_mask() > 0, measured)
        np.testing.assert_array_equal(file.read()[:, measured], values[:, measured])
        assert file.tags()["A"] == "kept"
        assert file.tags(1) == {"wavelength": "665"}


@pytest.mark.parametrize(
    ("compress", "quality", "tag"),
    [
        ("webp", {"WEBP_LOSSLESS": "YES"}, ("COMPRESSION_REVERSIBILITY", "LOSSLESS")),
        ("webp", {"WEBP_LEVEL": 40}, ("WEBP_LEVEL", "40")),
        ("jpeg", {"JPEG_QUALITY": 93}, ("JPEG_QUALITY", "93")),
    ],
)
@pytest.mark.parametrize("cog", [False, True])
def test_what_packing_loses_stays_what_it_was(tmp_path, compress, quality, tag, cog):
    values = random_values("uint8", (3, 150, 160))
    path = write_geotiff(tmp_path / "a.tif", values, compress=compress, **quality)
    if cog:
        number = 100 if "WEBP_LOSSLESS" in quality else next(iter(quality.values()))
        options = {"compress": compress, "quality": number, "blocksize": 128}
        copy(str(path), str(tmp_path / "cog.tif"), driver="COG", **options)
        path = tmp_path / "cog.tif"
    scan = formats.read(path)
    formats.write(tmp_path / "b.tif", scan.values, scan.header)
    with rasterio.open(tmp_path / "b.tif") as file:
        said = file.tags(ns="IMAGE_STRUCTURE")
        assert (said.get("LAYOUT") == "COG", said.get(tag[0])) == (cog, tag[1])
        if tag[1] == "LOSSLESS":
            np.testing.assert_array_equal(file.read(), values)


@pytest.mark.parametrize(
    ("compress", "dtype", "channels"),
    [("lerc_zstd", "int64", 2), ("webp", "uint8", 1), ("jpeg", "uint16", 3), ("lerc", "uint16", 2)],
)
def test_what_a_compression_cannot_pack_is_packed_otherwise(tmp_path, compress, dtype, channels):
    path = write_geotiff(tmp_path / "a.tif", random_values("uint8", (3, 20, 30)), compress=compress)
    values = random_values(dtype, (channels, 20, 30))
    formats.write(tmp_path / "b.tif", values, formats.probe(path))
    with rasterio.open(tmp_path / "b.tif") as file:
        np.testing.assert_array_equal(file.read(), values)
        assert (file.profile["compress"] == compress) == (compress == "lerc")


@pytest.mark.parametrize("dtype", ["float16", "bool"])
def test_a_type_that_gdal_has_not_is_refused(tmp_path, dtype):
    header = replace(
        formats.probe(write_geotiff(tmp_path / "a.tif", random_values("uint8", (1, 4, 4)))),
        dtype=np.dtype(dtype),
    )
    with pytest.raises(UserError, match=f"can't hold an image with values of {dtype}"):
        formats.write(tmp_path / "b.tif", np.zeros((1, 4, 4), dtype), header)


def test_another_number_of_bands_keeps_the_place(tmp_path):
    path = write_geotiff(tmp_path / "a.tif", random_values("uint8", (3, 20, 30)), compress="jpeg")
    header = formats.probe(path)
    band = random_values("float32", (1, 20, 30))

    formats.write(tmp_path / "b.tif", band, header)

    with rasterio.open(tmp_path / "b.tif") as file:
        np.testing.assert_array_equal(file.read(), band)
        assert (file.crs, file.transform) == (rasterio.CRS.from_epsg(32632), PLACE)
        assert file.colorinterp == (ColorInterp.gray,)


def test_complex_bands_are_refused_with_what_to_save(tmp_path):
    path = write_geotiff(tmp_path / "a.tif", np.zeros((1, 4, 4), np.complex64))

    with pytest.raises(UserError, match="has bands of complex64; save real numbers"):
        formats.read(path)


def test_without_rasterio_pixels_are_read_and_what_is_lost_is_said(tmp_path, monkeypatch):
    values = random_values("uint8", (1, 20, 30))
    path = write_geotiff(tmp_path / "a.tif", values)
    monkeypatch.setattr(geotiff, "_has_rasterio", lambda: False)

    with pytest.warns(Notice, match=r"without their place on the ground.*install revgan\[geo\]"):
        scan = formats.read(path)

    np.testing.assert_array_equal(scan.values, values)
    formats.write(tmp_path / "b.tif", scan.values, scan.header)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), values[0])
