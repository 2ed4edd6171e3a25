"""OME-TIFF, ImageJ's hyperstacks and OME-Zarr: what they hold comes back, by them and by others."""

import json
import pickle
import shutil
import sys
from itertools import product
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from revgan.data import formats
from revgan.data.formats import Header, Selection, physical, pyramid
from revgan.data.formats.physical import place
from revgan.errors import Notice, UserError

FIXTURES = Path(__file__).parent / "fixtures" / "ngff"

fast = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32")
TYPES = {
    ".ome.tif": (*INTEGERS, "float32", "float64"),
    ".zarr": (*INTEGERS, "int64", "uint64", "float16", "float32", "float64", "bool"),
}


def random_values(shape, dtype, seed=0):
    random, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if dtype.kind == "f":
        return random.normal(size=shape).astype(dtype)
    if dtype.kind == "b":
        return random.random(shape) < 0.5
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


@st.composite
def micrographs(draw, suffix):
    """Values (C, *spatial), and a header with sizes, an origin and names."""
    dims = draw(st.sampled_from([2, 3]))
    shape = draw(st.tuples(*[st.integers(2, 80)] * 2, *[st.integers(2, 5)] * (dims - 2)))
    values = random_values((draw(st.integers(1, 5)), *shape), draw(st.sampled_from(TYPES[suffix])))
    length = st.floats(1e-5, 1e-2)
    sizes, origin = (draw(st.lists(length, min_size=dims, max_size=dims)) for _ in range(2))
    names = tuple(f"stain {n} & <{n}>" for n in range(len(values))) if draw(st.booleans()) else ()
    affine = place(sizes, origin) if draw(st.booleans()) else None
    return values, Header(len(values), shape, values.dtype, affine, names=names)


@pytest.mark.parametrize("suffix", TYPES)
@fast
@given(data=st.data())
def test_values_type_sizes_and_names_come_back_whole_and_in_windows(tmp_path, suffix, data):
    values, header = data.draw(micrographs(suffix))
    path = tmp_path / f"x{suffix}"
    # Windows as they come, which overlap: the later wins.
    cut = data.draw(st.integers(1, header.shape[0] - 1))
    rest = (slice(None),) * (len(header.shape) - 1)
    with formats.create(path, header) as file:
        file.write(np.zeros_like(values))
        file.write(values[:, cut:], (slice(cut, None), *rest))
        file.write(values[:, :cut], (slice(0, cut), *rest))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    window = tuple(slice(side // 3, side // 3 + side // 2 + 1) for side in header.shape)
    with formats.open(path, len(header.shape)) as file:
        whole, part, read = file.read(), file.read(window), file.header
    assert whole.dtype == part.dtype == read.dtype == values.dtype
    assert read.names == header.names
    np.testing.assert_array_equal(whole, values)
    np.testing.assert_array_equal(part, values[:, *window])
    if header.affine is None:
        assert read.affine is None
    else:  # in micrometres, as decimals of float64
        np.testing.assert_allclose(read.affine, header.affine, rtol=1e-14, atol=1e-15)


def test_other_libraries_read_what_is_written_with_its_pyramid(tmp_path):
    values = random_values((2, 1100, 700), "uint16")
    header = Header(
        2, (1100, 700), values.dtype, place([5e-4, 2.5e-4], [1, 2]), names=("DAPI", "GFP")
    )
    for name in ("x.ome.tif", "x.zarr"):
        with formats.create(tmp_path / name, header) as file:
            file.write(values)
    with tifffile.TiffFile(tmp_path / "x.ome.tif") as file:
        series = file.series[0]
        assert (series.kind, series.axes) == ("ome", "CYX")
        np.testing.assert_array_equal(series.asarray(), values)
        # Pixels half as wide as high are halved across first, so that they become squares.
        shapes = [level.shape for level in series.levels]
        assert shapes == [(2, 1100, 700), (2, 1100, 350), (2, 550, 175), (2, 275, 88)]
        mean = values.reshape(2, 1100, 350, 2).mean(-1)
        np.testing.assert_array_equal(series.levels[1].asarray(), np.rint(mean))
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeY"]) == (0.25, 0.5)
        assert [channel["Name"] for channel in pixels["Channel"]] == ["DAPI", "GFP"]
    group = zarr.open_group(tmp_path / "x.zarr", mode="r")
    ome = group.attrs["ome"]
    scales = [
        dataset["coordinateTransformations"][0]["scale"]
        for dataset in ome["multiscales"][0]["datasets"]
    ]
    assert scales[:2] == [[1, 0.5, 0.25], [1, 0.5, 0.5]]
    np.testing.assert_array_equal(group["0"][:], values)
    np.testing.assert_array_equal(group["1"][:], np.rint(mean))
    assert [channel["label"] for channel in ome["omero"]["channels"]] == ["DAPI", "GFP"]


def test_openslide_reads_a_stained_slide_that_was_written(tmp_path):
    values = random_values((3, 600, 530), "uint8")
    header = Header(3, (600, 530), values.dtype, place([5e-4, 5e-4], [0, 0]))
    with formats.create(tmp_path / "x.ome.tif", header) as file:
        file.write(values)
    with openslide.OpenSlide(tmp_path / "x.ome.tif") as slide:
        pixels = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3]
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
    np.testing.assert_array_equal(pixels, np.moveaxis(values, 0, -1))


STACK = random_values((2, 4, 3, 30, 40), "uint16")  # T, Z, C, Y, X


def write_stack(path, **options):
    """A time series of stacks, by tifffile."""
    tifffile.imwrite(path, STACK, **options)


OME = {
    "ome": True,
    "metadata": {
        "axes": "TZCYX",
        "PhysicalSizeX": 300.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.3,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 1.5,
        "Channel": {"Name": ["a", "b", "c"], "Color": [-1, 255, 65535]},
    },
}
IMAGEJ = {
    "imagej": True,
    "resolution": (1 / 0.3, 1 / 0.3),
    "metadata": {
        "axes": "TZCYX",
        "unit": "\\u00B5m",
        "spacing": 1.5,
        "Labels": ["a", "b", "c"] * 8,
    },
}


@pytest.mark.parametrize("layout", [{}, {"tile": (16, 32)}, {"bigtiff": True}], ids=str)
@pytest.mark.parametrize("kind", [OME, IMAGEJ], ids=["ome", "imagej"])
def test_stacks_of_tifffile_are_read_as_images_and_volumes(tmp_path, kind, layout):
    if "imagej" in kind:
        layout = {"byteorder": ">"} if "tile" in layout else {}
    write_stack(tmp_path / "x.tif", **kind, **layout)
    for name, dims in (("x.tif", 2), ("x.ome.tif", 3)):
        shutil.copy(tmp_path / "x.tif", tmp_path / name) if dims == 3 else None
        part = Selection(t=1, channels=("2", "a"), **({"z": 2} if dims == 2 else {}))
        with formats.open(tmp_path / name, dims, part) as file:
            values, header = file.read(), file.header
            window = tuple(slice(1, side - 1) for side in header.shape)
            np.testing.assert_array_equal(file.read(window), values[:, *window])
        expected = STACK[1, 2][[2, 0]] if dims == 2 else STACK[1][:, [2, 0]].transpose(1, 3, 2, 0)
        np.testing.assert_array_equal(values, expected)
        sizes = [3e-4, 3e-4] if dims == 2 else [3e-4, 3e-4, 1.5e-3]
        # ImageJ's resolution is a fraction of 32 bits.
        np.testing.assert_allclose(header.affine, place(sizes, [0] * dims), rtol=1e-9)
        assert header.names == ("c", "a")


@fast
@given(data=st.data())
def test_what_imagej_says_of_an_image_is_kept_or_said_to_be_left_out(tmp_path, data):
    dtype = data.draw(st.sampled_from(["uint8", "uint16", "float32"]))
    values = random_values((2, 4, data.draw(st.integers(1, 3)), 6, 5), dtype)  # T, Z, C, Y, X
    channels = values.shape[2]
    tables = random_values((channels, 3, 256), "uint8")
    labels = [f"{t}{z}{c}" for t, z, c in product(range(2), range(4), range(channels))]
    said = {"unit": "micron", "spacing": 1.5, "LUTs": list(tables), "mode": "composite"}
    said |= {"xorigin": 3, "yorigin": -2.5, "zorigin": 1, "Ranges": (0.0, 9.0) * channels}
    resolution = (1 / 0.3, 1 / 0.2)
    metadata = {"axes": "TZCYX", "Labels": labels, **said}
    tifffile.imwrite(
        tmp_path / "x.tif", values, imagej=True, resolution=resolution, metadata=metadata
    )
    chosen = data.draw(st.permutations(range(channels)))[: data.draw(st.integers(1, channels))]
    dims = data.draw(st.sampled_from([2, 3]))
    planes = range(4) if dims == 3 else [2]
    part = Selection(t=1, channels=tuple(map(str, chosen)), z=None if dims == 3 else 2)

    scan = formats.read(tmp_path / "x.tif", dims, part)
    with pytest.warns(Notice, match="ImageJ's display ranges of the original"):
        formats.write(tmp_path / "y.tif", scan.values, scan.header)

    back = formats.read(tmp_path / "y.tif", dims)
    origin, sizes = [-9e-4, 5e-4, -1.5e-3], [3e-4, 2e-4, 1.5e-3]
    wanted = [np.diag([*sizes, 1.0]), np.diag([*sizes[1::-1], 1.0])[[1, 0, 2]]][3 - dims]
    wanted[:dims, -1] = origin[:dims]
    # ImageJ's resolution is a fraction of 32 bits.
    np.testing.assert_allclose([scan.affine, back.affine], [wanted] * 2, rtol=1e-8)
    np.testing.assert_array_equal(back.values, scan.values)
    with tifffile.TiffFile(tmp_path / "y.tif") as file:
        written = file.imagej_metadata
        pages = np.stack([values[1, z, c] for z in planes for c in chosen])
        np.testing.assert_array_equal(file.asarray().reshape(pages.shape), pages)
    found = written["LUTs"] if len(chosen) > 1 else [written["LUTs"]]
    np.testing.assert_array_equal(found, tables[list(chosen)])
    found = written["Labels"] if len(pages) > 1 else [written["Labels"]]
    # Of one plane, they are taken for names.
    assert found == [f"1{z}{c}" for z in planes for c in chosen]
    assert len(chosen) == 1 or written["mode"] == "composite"


def test_imagej_becomes_ome_by_the_name_of_the_file_and_keeps_plain_colours(tmp_path):
    ramps = np.zeros((2, 3, 256), np.uint8)
    ramps[0, 0] = ramps[1, 1] = ramps[1, 2] = np.arange(256)  # red, cyan
    values = random_values((2, 6, 5), "uint16")
    metadata = {"axes": "CYX", "LUTs": list(ramps), "Labels": ["a", "b"]}
    tifffile.imwrite(tmp_path / "x.tif", values, imagej=True, metadata=metadata)
    scan = formats.read(tmp_path / "x.tif", 2)
    formats.write(tmp_path / "y.ome.tif", scan.values, scan.header)
    with tifffile.TiffFile(tmp_path / "y.ome.tif") as file:
        channels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]["Channel"]
        np.testing.assert_array_equal(file.asarray(), values)
    colours = [each["Color"].to_bytes(4, "big", signed=True) for each in channels]
    assert colours == [b"\xff\0\0\xff", b"\0\xff\xff\xff"]
    assert [each["Name"] for each in channels] == ["a", "b"]


def test_colours_of_imagej_stay_samples_of_a_pixel(tmp_path):
    pixels = np.moveaxis(random_values((3, 30, 40), "uint8"), 0, -1)
    tifffile.imwrite(tmp_path / "x.tif", pixels, imagej=True, photometric="rgb")
    scan = formats.read(tmp_path / "x.tif", 2)
    np.testing.assert_array_equal(scan.values, np.moveaxis(pixels, -1, 0))
    formats.write(tmp_path / "y.tif", scan.values, scan.header)
    with tifffile.TiffFile(tmp_path / "y.tif") as file:
        assert (file.is_imagej, file.series[0].axes) == (True, "YXS")
        np.testing.assert_array_equal(file.asarray(), pixels)


@pytest.mark.parametrize(
    ("chunks", "shards", "kept"),
    [
        ((1, 100, 50), None, (1, 100, 50)),
        ((1, 20, 20), None, ()),
        ((1, 100, 50), (1, 200, 300), ()),
    ],
)
def test_chunks_stay_unless_windows_would_write_them_badly(tmp_path, chunks, shards, kept):
    values = random_values((1, 200, 300), "uint8")
    formats.write(tmp_path / "x.zarr", values, Header(1, (200, 300), values.dtype))
    group = zarr.open_group(tmp_path / "x.zarr")
    group.create_array("0", data=values, chunks=chunks, shards=shards, overwrite=True)
    scan = formats.read(tmp_path / "x.zarr", 2)
    np.testing.assert_array_equal(scan.values, values)
    formats.write(tmp_path / "y.zarr", scan.values, scan.header)
    written = zarr.open_group(tmp_path / "y.zarr", mode="r")["0"]
    assert written.chunks == (kept or (1, 200, 300))
    assert written.shards is None


def test_values_that_are_missing_leave_metadata_that_is_json(tmp_path):
    values = np.full((2, 20, 30), np.nan, np.float32)
    header = Header(2, (20, 30), values.dtype, names=("a", "b"))
    formats.write(tmp_path / "x.zarr", values, header)

    def refuse(name):
        raise ValueError(name)

    json.loads((tmp_path / "x.zarr" / "zarr.json").read_text(), parse_constant=refuse)


@pytest.mark.parametrize("suffix", [".ome.tif", ".tif"])
def test_the_same_content_makes_the_same_bytes_and_another_one_another_identifier(tmp_path, suffix):
    values = random_values((2, 600, 30), "uint16")
    header = Header(2, (600, 30), values.dtype, place([1e-3, 1e-3], [0, 0]))

    def written(values):
        path = tmp_path / f"x{suffix}"
        formats.write(path, values, header)
        with tifffile.TiffFile(path) as file:
            xml = file.ome_metadata or ""
        return path.read_bytes(), xml.partition('UUID="urn:uuid:')[2][:36]

    first, again = written(values), written(values.copy())
    values[1, 599, 29] += 1
    assert first == again
    assert written(values)[1] != first[1] or suffix == ".tif"


@pytest.mark.parametrize("named", [True, False])
def test_what_ome_says_of_channels_is_kept(tmp_path, named):
    said = dict(OME["metadata"]["Channel"])
    if not named:
        del said["Name"]
    write_stack(tmp_path / "x.ome.tif", ome=True, metadata=OME["metadata"] | {"Channel": said})
    scan = formats.read(tmp_path / "x.ome.tif", 2, Selection(z=0, t=0, channels=("1", "2")))
    formats.write(tmp_path / "y.ome.tif", scan.values, scan.header)
    with tifffile.TiffFile(tmp_path / "y.ome.tif") as file:
        channels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]["Channel"]
    assert [each["Color"] for each in channels] == [255, 65535]
    assert [each.get("Name") for each in channels] == (["b", "c"] if named else [None, None])


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({}, "2 points in time; choose one by t"),
        ({"t": 0}, "4 planes in depth; choose one by z"),
        ({"t": 0, "z": 4}, "give z from 0 to 3"),
        ({"t": 0, "z": 0, "channels": ("d",)}, "0 to 2 or one of a, b, c"),
        ({"t": 0, "z": 0, "channels": ("a", "0")}, "once"),
        ({"t": 0, "z": 0, "level": 1}, "1 level; give level from 0"),
        ({"t": 0, "z": 0, "level": 0, "pixel_size": 1.0}, "leave out one"),
        ({"t": 0, "z": 0, "series": "1"}, "no series 1"),
    ],
    ids=str,
)
def test_a_part_that_is_not_there_is_refused_with_those_that_are(tmp_path, part, said):
    write_stack(tmp_path / "x.ome.tif", **OME)
    with pytest.raises(UserError, match=said):
        formats.read(tmp_path / "x.ome.tif", 2, Selection(**part))


def test_volumes_have_no_plane_and_photos_no_series(tmp_path):
    write_stack(tmp_path / "x.ome.tif", **OME)
    with pytest.raises(UserError, match="z does nothing"):
        formats.read(tmp_path / "x.ome.tif", 3, Selection(t=0, z=0))
    tifffile.imwrite(tmp_path / "x.tif", STACK[0, 0, 0], metadata=None)
    with pytest.raises(UserError, match=r"x\.tif can't be read with series"):
        formats.read(tmp_path / "x.tif", 2, Selection(series="0"))


def test_one_of_several_images_is_chosen_by_number_or_name(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.ome.tif", ome=True) as file:
        for name, pixels in (("label", STACK[0, 0, 0, :9]), ("tissue", STACK[0, 0, 1])):
            file.write(pixels, metadata={"axes": "YX", "Name": name})
    with pytest.raises(UserError, match=r"2 images .label, tissue.; choose one by series"):
        formats.read(tmp_path / "x.ome.tif", 2)
    for series in ("1", "tissue"):
        scan = formats.read(tmp_path / "x.ome.tif", 2, Selection(series=series))
        np.testing.assert_array_equal(scan.values[0], STACK[0, 0, 1])


@pytest.mark.parametrize("suffix", TYPES)
@fast
@given(data=st.data())
def test_a_pixel_size_is_met_and_windows_are_parts_of_the_whole(tmp_path, suffix, data):
    shape = (data.draw(st.integers(200, 700)), data.draw(st.integers(520, 700)))
    ramp = np.add.outer(np.arange(shape[0]), 2 * np.arange(shape[1])).astype(np.float32)[None]
    header = Header(1, shape, ramp.dtype, place([5e-4, 5e-4], [0, 0]))
    path = tmp_path / f"x{suffix}"
    with formats.create(path, header) as file:
        file.write(ramp)
    size = data.draw(st.floats(0.4, 3))
    with formats.open(path, 2, Selection(pixel_size=size)) as file:
        whole, found = file.read(), file.header
        window = tuple(slice(side // 4, side // 4 + side // 3 + 1) for side in found.shape)
        # In float32, whose rounding depends on where sums begin.
        np.testing.assert_allclose(file.read(window), whole[:, *window], rtol=1e-5, atol=1e-3)
    got = np.array([found.affine[1, 0], found.affine[0, 1]])
    # Sides are whole pixels, of the level and of the result, and a level that differs by less than
    # 1% is taken as it is.
    assert (np.abs(got / size * 1e3 - 1) <= 1.01 / np.array(found.shape) + pyramid.AS_IS).all()
    assert (np.abs(got * found.shape - np.array(shape) * 5e-4) <= got).all()
    # A ramp stays one: what is meant lies where the affine says, away from the border.
    rows, columns = np.indices(found.shape)
    y = (found.affine[1, 0] * rows + found.affine[1, 2]) / 5e-4
    x = (found.affine[0, 1] * columns + found.affine[0, 2]) / 5e-4
    inner = (slice(4, -4),) * 2
    # Sides of more pixels than asked for count as covering as much.
    assert np.abs(whole[0] - (y + 2 * x))[inner].max() < 0.01 * ramp.max()


@fast
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    factors=st.tuples(st.sampled_from([1, 2]), st.sampled_from([1, 2])),
)
def test_coarser_pixels_are_means_of_what_is_there(shape, factors):
    values = random_values((2, *shape), "int16")
    expected = [
        [
            values[:, r : r + factors[0], c : c + factors[1]].mean((1, 2))
            for c in range(0, shape[1], factors[1])
        ]
        for r in range(0, shape[0], factors[0])
    ]
    found = pyramid.means(values, factors)
    assert found.shape[1:] == pyramid.coarser(shape, factors)
    np.testing.assert_array_equal(found, np.rint(np.moveaxis(expected, -1, 0)))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_ome_zarr_that_was_made_by_hand_is_read_and_written_as_it_is(tmp_path, version):
    source = FIXTURES / f"{version}.ome.zarr"
    values = np.arange(2 * 3 * 4 * 6, dtype=np.uint16).reshape(2, 3, 4, 6)  # C, Z, Y, X
    image = formats.read(source, 2, Selection(t=0, z=1))
    np.testing.assert_array_equal(image.values, values[:, 1])
    assert image.names == ("nuclei", "membranes")
    np.testing.assert_allclose(image.affine, place([6.5e-4, 6.5e-4], [0.01, 0.02]), rtol=1e-12)
    coarse = formats.read(source, 2, Selection(t=0, z=1, level=1))
    np.testing.assert_array_equal(coarse.values, values[:, 1, ::2, ::2])
    volume = formats.read(source, 3, Selection(t=0))
    np.testing.assert_array_equal(volume.values, values.transpose(0, 3, 2, 1))
    formats.write(tmp_path / "y.zarr", volume.values, volume.header)
    back = formats.read(tmp_path / "y.zarr", 3)
    np.testing.assert_array_equal(back.values, volume.values)
    np.testing.assert_allclose(back.affine, volume.affine, rtol=1e-12)
    assert back.source.image.version == version
    assert back.source.image.axes == "tczyx"
    assert back.source.image.channels[0]["color"] == "0000FF"


@pytest.mark.parametrize("axes", [None, ["t", "c", "z", "y", "x"]], ids=["0.1", "0.3"])
def test_earlier_versions_have_axes_without_units(tmp_path, axes):
    shutil.copytree(FIXTURES / "0.4.ome.zarr", tmp_path / "x.zarr")
    datasets = [{"path": "0"}, {"path": "1"}]
    image = {"version": "0.1", "datasets": datasets} | ({"axes": axes} if axes else {})
    (tmp_path / "x.zarr" / ".zattrs").write_text(json.dumps({"multiscales": [image]}))
    scan = formats.read(tmp_path / "x.zarr", 2, Selection(t=0, z=1, level=1))
    np.testing.assert_array_equal(scan.values[:, 0, 0], [24, 96])
    assert scan.affine is None
    with pytest.raises(UserError, match="does not say how large its pixels are"):
        formats.read(tmp_path / "x.zarr", 2, Selection(t=0, z=1, pixel_size=1.0))


@pytest.mark.parametrize("unit", ["", "pixel"])
def test_a_scale_without_a_length_comes_out_again(tmp_path, unit):
    group = zarr.create_group(tmp_path / "x.zarr", zarr_format=3)
    group.create_array("0", shape=(4, 20, 30), dtype="uint8", chunks=(4, 20, 30))[:] = 1
    steps = [{"type": "scale", "scale": [4.0, 0.5, 0.25]}]
    steps += [{"type": "translation", "translation": [1.0, 2.0, 3.0]}]
    axes = [{"name": axis, "type": "space"} | ({"unit": unit} if unit else {}) for axis in "zyx"]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    group.attrs.update({"ome": {"version": "0.5", "multiscales": [image]}})
    scan = formats.read(tmp_path / "x.zarr", 3)
    assert scan.affine is None
    formats.write(tmp_path / "y.zarr", scan.values, scan.header)
    (made,) = zarr.open_group(tmp_path / "y.zarr", mode="r").attrs["ome"]["multiscales"]
    assert made["axes"] == axes
    assert made["datasets"][0]["coordinateTransformations"] == steps


@pytest.mark.parametrize(
    ("unit", "millimetres"),
    [
        *(("Å", 1e-7), ("pm", 1e-9), ("nanometer", 1e-6), ("µm", 1e-3), ("\u03bcm", 1e-3)),
        *(("microns", 1e-3), ("Micrometer", 1e-3), ("micrometre", 1e-3), ("mm", 1), ("Mm", 1e9)),
        *(("in", 25.4), ("inch", 25.4), ("foot", 304.8), ("dam", 1e4), ("kilometer", 1e6)),
        *(("pixel", None), ("sec", None), ("", None), ("reference frame", None)),
    ],
)
def test_lengths_are_understood_in_every_usual_unit(unit, millimetres):
    assert physical.millimetres(unit) == millimetres


def test_a_plate_lists_its_images(tmp_path):
    well = tmp_path / "plate.zarr" / "B" / "3"
    shutil.copytree(FIXTURES / "0.4.ome.zarr", well / "0")
    shutil.copytree(FIXTURES / "0.4.ome.zarr", well / "1")
    attributes = {
        tmp_path / "plate.zarr": {"plate": {"wells": [{"path": "B/3"}]}},
        well: {"well": {"images": [{"path": "0"}, {"path": "1"}]}},
    }
    for folder, content in attributes.items():
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"2 images .B/3/0, B/3/1."):
        formats.probe(tmp_path / "plate.zarr", 2)
    found = formats.probe(tmp_path / "plate.zarr", 2, Selection(series="B/3/1", z=0, t=0))
    assert found.channels == 2


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_chunks_that_would_run_code_are_not_decoded(tmp_path):
    shutil.copytree(FIXTURES / "0.4.ome.zarr", tmp_path / "x.zarr")
    described = tmp_path / "x.zarr" / "0" / ".zarray"
    unpickling = {"id": "pickle", "protocol": 5}
    as_filter = {"filters": [unpickling], "compressor": None}
    as_compressor = {"filters": None, "compressor": unpickling}
    for chunk in (tmp_path / "x.zarr" / "0" / "0").rglob("0"):
        if chunk.is_file():
            chunk.write_bytes(pickle.dumps(Harmful(tmp_path / "written")))
    for dtype, harmful in product(("<u2", "|O"), (as_filter, as_compressor)):
        content = json.loads(described.read_text()) | harmful | {"dtype": dtype}
        described.write_text(json.dumps(content))
        with pytest.raises(UserError, match=r"x\.zarr"):
            formats.read(tmp_path / "x.zarr", 2, Selection(z=0, t=0))
        assert not (tmp_path / "written").exists()


def test_a_codec_that_is_not_known_is_named(tmp_path):
    shutil.copytree(FIXTURES / "0.4.ome.zarr", tmp_path / "x.zarr")
    described = tmp_path / "x.zarr" / "0" / ".zarray"
    content = json.loads(described.read_text()) | {"filters": [{"id": "base64"}]}
    described.write_text(json.dumps(content))
    with pytest.raises(UserError, match="base64"):
        formats.read(tmp_path / "x.zarr", 2, Selection(z=0, t=0))


@pytest.mark.parametrize(
    "change",
    [
        {"axes": "xy"},
        {"datasets": []},
        {"datasets": [{}]},
        {"axes": [{"name": "y"}, {"name": "q"}]},
        {"coordinateTransformations": [{"type": "affine"}]},
        {"coordinateTransformations": [{"type": "scale", "scale": [1]}]},
    ],
    ids=str,
)
def test_metadata_that_makes_no_sense_is_named(tmp_path, change):
    shutil.copytree(FIXTURES / "0.4.ome.zarr", tmp_path / "x.zarr")
    attributes = tmp_path / "x.zarr" / ".zattrs"
    content = json.loads(attributes.read_text())
    content["multiscales"][0] |= change
    attributes.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"x\.zarr has OME-NGFF metadata that"):
        formats.probe(tmp_path / "x.zarr", 2, Selection(z=0, t=0))


def test_a_folder_is_replaced_whole_and_only_by_its_like(tmp_path):
    old, new = (np.full((1, 40, 30), value, np.uint8) for value in (1, 2))
    path = tmp_path / "x.zarr"
    formats.write(path, old, Header(1, (40, 30), old.dtype))
    header = Header(1, (40, 30), new.dtype)
    with pytest.raises(ValueError, match="grid"), formats.create(path, header) as file:
        file.write(new[:, :3])
    np.testing.assert_array_equal(formats.read(path, 2).values, old)
    formats.write(path, new, Header(1, (40, 30), new.dtype))
    np.testing.assert_array_equal(formats.read(path, 2).values, new)
    assert [each.name for each in tmp_path.iterdir()] == ["x.zarr"]
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "thesis.txt").touch()
    with pytest.raises(UserError, match="something else in it"):
        formats.write(tmp_path / "mine.zarr", new, Header(1, (40, 30), new.dtype))
    assert (tmp_path / "mine.zarr" / "thesis.txt").exists()


@pytest.mark.parametrize("suffix", TYPES)
def test_what_they_have_no_word_for_is_refused_before_it_is_lost(suffix):
    turned = place([1, 1, 1], [0, 0, 0])[[1, 0, 2, 3]]
    header = Header(1, (4, 4, 4), np.dtype(np.int16), turned)
    with pytest.raises(UserError, match="reversed or turned"):
        formats.require_holds(f"x{suffix}", header)


@pytest.mark.parametrize(("name", "package"), [("x.zarr", "zarr"), ("x.svs", "openslide")])
def test_without_the_package_its_install_is_told(tmp_path, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    if name == "x.zarr":
        shutil.copytree(FIXTURES / "0.4.ome.zarr", tmp_path / name)
    else:
        (tmp_path / name).touch()
    with pytest.raises(UserError, match="pip install 'revgan"):
        formats.probe(tmp_path / name, 2)


def test_no_work_is_done_for_a_file_whose_package_is_missing(monkeypatch):
    for package in ("zarr", "SimpleITK"):
        monkeypatch.setitem(sys.modules, package, None)
    for codec in (imagecodecs.JPEGXL, imagecodecs.AVIF):
        monkeypatch.setattr(codec, "available", False)
    volume, photo = (Header(1, (4,) * dims, np.dtype(np.uint8)) for dims in (3, 2))
    for suffix in (".zarr", ".mha", ".nrrd", ".jxl", ".avif"):
        header = photo if suffix in (".jxl", ".avif") else volume
        with pytest.raises(UserError, match=f"^x{suffix} needs "):
            formats.require_holds(f"x{suffix}", header)
