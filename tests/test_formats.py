"""What holds for every family of formats: round trips, windows, whole files or none."""

import ast
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from revgan.data import formats
from revgan.data.formats import Header, contract, registry
from revgan.errors import UserError

PHOTOS = ("uint8", "uint16")
NUMBERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64")
DTYPES = {
    ".png": PHOTOS,
    ".tif": (*NUMBERS, "float16", "bool", "uint64"),
    ".nii": NUMBERS,
    ".nii.gz": NUMBERS,
    ".mha": NUMBERS[:6] + NUMBERS[7:],
    ".nrrd": NUMBERS,
    ".npy": (*NUMBERS, "float16", "bool", "uint64"),
}
"""What each format holds exactly; JPEG holds nothing so."""

PLACE_FREE = {".png", ".tif", ".npy"}

fast = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def scans(draw, suffix):
    """Values (C, *spatial) that a format holds, and a place."""
    dims = next(f.spatial_dims[0] for f in registry.families() if suffix in f.suffixes)
    least = 1 if dims == 2 else 2
    shape = draw(st.tuples(*[st.integers(least, 9)] * dims))
    channels = draw(st.integers(1, 4))
    dtype = np.dtype(draw(st.sampled_from(DTYPES[suffix])))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = random.integers(limits.min, limits.max, (channels, *shape), dtype, endpoint=True)
    else:
        values = random.normal(size=(channels, *shape)).astype(dtype)
    affine = np.eye(4)
    affine[:3] += random.integers(-3, 4, (3, 4)) / 8  # far from singular, and exact in float32
    return values, None if dims == 2 else affine


@st.composite
def windows(draw, shape):
    ends = [sorted(draw(st.tuples(*[st.integers(0, side)] * 2))) for side in shape]
    return tuple(slice(min(start, side - 1), max(end, start + 1)) for (start, end), side in
                 zip(ends, shape, strict=True))  # fmt: skip


@pytest.mark.parametrize("suffix", DTYPES)
@fast
@given(data=st.data())
def test_what_is_written_is_read_whole_and_in_windows(tmp_path, suffix, data):
    values, affine = data.draw(scans(suffix))
    header = Header(len(values), values.shape[1:], values.dtype, affine)
    path = tmp_path / f"x{suffix}"
    with formats.create(path, header) as file:
        file.write(values)
    probed = formats.probe(path)
    assert (probed.channels, probed.shape, probed.dtype) == (
        len(values),
        values.shape[1:],
        values.dtype,
    )
    if suffix not in PLACE_FREE:
        # MetaImage and NRRD keep direction and spacing apart, as decimals of float64.
        np.testing.assert_allclose(probed.affine, affine, rtol=0, atol=1e-12)
    window = data.draw(windows(probed.shape))
    with formats.open(path) as file:
        whole, part = file.read(), file.read(window)
    assert whole.dtype == part.dtype == values.dtype
    np.testing.assert_array_equal(whole, values)
    np.testing.assert_array_equal(part, values[:, *window])


@fast
@given(data=st.data())
def test_a_jpeg_is_read_the_same_whole_and_in_windows(tmp_path, data):
    values = np.random.default_rng(0).integers(0, 256, (3, 20, 30), np.uint8)
    with formats.create(tmp_path / "x.jpg", Header(3, (20, 30), values.dtype)) as file:
        file.write(values)
    window = data.draw(windows((20, 30)))
    with formats.open(tmp_path / "x.jpg") as file:
        np.testing.assert_array_equal(file.read(window), file.read()[:, *window])


TIFFS = {
    "strips": {"rowsperstrip": 3},
    "tiles": {"tile": (16, 16)},
    "planes in tiles": {"tile": (16, 16), "planarconfig": "separate"},
    "planes in strips": {"rowsperstrip": 5, "planarconfig": "separate"},
    "compressed tiles": {"tile": (32, 16), "compression": "zlib", "predictor": True},
    "jpeg": {"tile": (16, 16), "compression": "jpeg"},
    "big-endian": {"rowsperstrip": 4, "byteorder": ">"},
}


@pytest.mark.parametrize("options", TIFFS.values(), ids=TIFFS)
@pytest.mark.parametrize("dtype", PHOTOS)
@fast
@given(data=st.data())
def test_windows_of_tiffs_of_every_arrangement_are_parts_of_the_whole(
    tmp_path, options, dtype, data
):
    shape = data.draw(st.tuples(st.integers(1, 50), st.integers(1, 50)))
    in_jpeg = options.get("compression") == "jpeg"  # of 8 bits
    values = np.random.default_rng(0).integers(0, 255, (3, *shape))
    values = values.astype(np.uint8 if in_jpeg else dtype)
    separate = options.get("planarconfig") == "separate"
    pixels = values if separate else np.moveaxis(values, 0, -1)
    layout = {"planarconfig": "contig", "photometric": "rgb", "metadata": None} | options
    tifffile.imwrite(tmp_path / "x.tif", pixels, **layout)
    window = data.draw(windows(shape))
    with formats.open(tmp_path / "x.tif") as file:
        whole, part = file.read(), file.read(window)
    assert part.dtype == values.dtype
    np.testing.assert_array_equal(part, whole[:, *window])


def test_a_window_of_a_tiff_reads_no_other_tile(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", pixels, tile=(16, 16))
    decoded = []
    decode = tifffile.TiffPage.decode

    def counting(page):
        function = decode.func(page)

        def count(data, index, **options):
            decoded.append(index)
            return function(data, index, **options)

        return count

    monkeypatch.setattr(tifffile.TiffPage, "decode", property(counting))
    with formats.open(tmp_path / "x.tif") as file:
        part = file.read((slice(20, 30), slice(15, 40)))
    np.testing.assert_array_equal(part[0], pixels[20:30, 15:40])
    assert decoded == [4, 5, 6]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".nii.gz", ".mha", ".npy"])
def test_windows_may_be_written_in_any_order(tmp_path, suffix):
    dims = 2 if suffix in (".png", ".tif") else 3
    values = np.random.default_rng(0).integers(0, 255, (2, *(6, 7, 8)[:dims]), np.uint8)
    rest = (slice(None),) * (dims - 1)
    with formats.create(tmp_path / f"x{suffix}", Header(2, values.shape[1:], values.dtype)) as file:
        file.write(values[:, 4:], (slice(4, None), *rest))
        file.write(values[:, :4], (slice(0, 4), *rest))
    np.testing.assert_array_equal(formats.read(tmp_path / f"x{suffix}").values, values)


@pytest.mark.parametrize("suffix", DTYPES)
def test_a_file_whose_writing_is_given_up_does_not_appear(tmp_path, suffix):
    dims = 2 if suffix in (".png", ".tif") else 3
    header = Header(1, (4,) * dims, np.dtype(np.uint8))

    def give_up():
        with formats.create(tmp_path / f"x{suffix}", header) as file:
            file.write(np.zeros((1, *header.shape), np.uint8))
            raise RuntimeError("given up")

    with pytest.raises(RuntimeError, match="given up"):
        give_up()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("suffix", "dtype"), [(".nii", "bool"), (".mha", "float16")])
def test_a_type_that_a_format_has_not_is_refused(tmp_path, suffix, dtype):
    header = Header(1, (4, 4, 4), np.dtype(dtype), np.eye(4))
    assert not formats.holds(tmp_path / f"x{suffix}", header)
    with (
        pytest.raises(UserError, match=f"can't hold a volume with values of {dtype}; use the"),
        formats.create(tmp_path / f"x{suffix}", header),
    ):
        pass


def test_values_unlike_the_header_are_a_mistake_of_the_caller(tmp_path):
    with formats.create(tmp_path / "x.png", Header(1, (4, 5), np.dtype(np.uint8))) as file:
        for values in (np.zeros((1, 4, 5), np.uint16), np.zeros((2, 4, 5), np.uint8)):
            with pytest.raises(ValueError, match="the file takes 1 channels of uint8"):
                file.write(values)
        with pytest.raises(ValueError, match="grid"):
            file.write(np.zeros((1, 5, 4), np.uint8))
        file.write(np.zeros((1, 4, 5), np.uint8))


def test_families_do_not_know_each_other():
    """So that a new one is a new file, and nothing else."""
    folder = Path(contract.__file__).parent
    homes = {type(family).__module__.rpartition(".")[2] for family in registry.families()}
    for path in folder.glob("*.py"):
        names = {
            name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("revgan.data.")
            for name in (
                [alias.name for alias in node.names]
                if node.module == contract.__package__
                else [node.module.rpartition(".")[2]]
            )
        }
        assert not names & homes, path.name
        if path.stem in homes:  # of the room's other files, those that are for several
            assert names.isdisjoint({"files", "listing"}), path.name
    general = [family for family in registry.families() if not family.special]
    suffixes = [suffix for family in general for suffix in family.suffixes]
    assert len(set(suffixes)) == len(suffixes)
