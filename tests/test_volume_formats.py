"""Volumes of many families, in files made by other software."""

import bz2
import gzip
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from revgan.cli import main
from revgan.data import formats
from revgan.data.mappings import Intensity
from revgan.data.preparation import Preparation
from revgan.errors import UserError
from revgan.networks import RevGenerator
from revgan.networks.pretrained import save_generator
from test_folders import refusal

SHIPPED = Path(nibabel.__file__).parent / "tests" / "data"
"""Small files of nibabel, real ones among them."""

WHOLE = {
    "anatomical.nii": (1, 33, 41, 25),
    "example4d+orig.BRIK.gz": (3, 33, 41, 25),
    "example4d+orig.HEAD": (3, 33, 41, 25),
    "example4d.nii.gz": (2, 128, 96, 24),
    "example_nifti2.nii.gz": (2, 32, 20, 12),
    "functional.nii": (20, 17, 21, 3),
    "minc1-no-att.mnc": (1, 10, 20, 20),
    "minc1_1_scale.mnc": (1, 10, 20, 20),
    "minc1_4d.mnc": (20, 2, 10, 20),
    "minc2-4d-d.mnc": (16, 5, 16, 16),
    "minc2-no-att.mnc": (1, 10, 20, 20),
    "minc2_1_scale.mnc": (1, 10, 20, 20),
    "minc2_4d.mnc": (20, 2, 10, 20),
    "minc2_baddim.mnc": (1, 10, 10, 10),
    "phantom_EPI_asc_CLEAR_2_1.PAR": (3, 64, 64, 9),
    "phantom_EPI_asc_CLEAR_2_1.REC": (3, 64, 64, 9),
    "phantom_varscale.PAR": (3, 64, 64, 9),
    "phantom_varscale.REC": (3, 64, 64, 9),
    "reoriented_anat_moved.nii": (1, 21, 26, 22),
    "resampled_anat_moved.nii": (1, 17, 21, 3),
    "scaled+tlrc.BRIK": (1, 47, 54, 43),
    "scaled+tlrc.HEAD": (1, 47, 54, 43),
    "small.mnc": (1, 18, 28, 29),
    "standard.nii.gz": (1, 4, 5, 7),
    "test.mgz": (2, 3, 4, 5),
    "tiny.mnc": (1, 10, 20, 20),
}
"""What of these is whole, and how large."""


@pytest.mark.filterwarnings("ignore:Invalid spacing declaration")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_volume_that_nibabel_ships_is_read_as_nibabel_reads_it():
    lacking = 0
    for path in sorted(SHIPPED.iterdir()):
        if formats.suffix_of(path, 3) in (None, ".dcm"):
            continue
        if path.name not in WHOLE:
            message = refusal(path, lambda path=path: formats.read(path, 3))
            lacking += "isn't there; put it beside" in message
            continue
        scan, image = formats.read(path, 3), nibabel.load(path)
        data = np.asanyarray(image.dataobj).reshape(*image.shape[:3], -1)
        assert scan.values.shape == WHOLE[path.name], path.name
        expected = np.moveaxis(data, -1, 0).astype(scan.values.dtype)
        np.testing.assert_array_equal(scan.values, expected, err_msg=path.name)
        np.testing.assert_array_equal(scan.affine, image.affine, err_msg=path.name)
        part = (slice(1, 3), slice(0, 2), slice(1, 2))
        with formats.open(path, 3) as file:
            np.testing.assert_array_equal(file.read(part), scan.values[:, *part])
    assert lacking == 34  # headers of Philips, Analyze and AFNI without what they tell of


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize(("name", "other"), [("a.nii", "b.nii.gz"), ("b.nii.gz", "a.nii")])
def test_nifti_is_read_by_what_it_is_and_not_by_how_it_is_called(tmp_path, kind, name, other):
    values = np.random.default_rng(0).integers(0, 99, (5, 6, 7)).astype(np.int16)
    nibabel.save(kind(values, np.diag([2, 3, 4, 1])), tmp_path / name)
    shutil.move(tmp_path / name, tmp_path / other)
    scan = formats.read(tmp_path / other, 3)
    np.testing.assert_array_equal(scan.values[0], values)
    np.testing.assert_array_equal(scan.affine, np.diag([2, 3, 4, 1]))
    formats.write(tmp_path / name, scan.values, scan.header)
    np.testing.assert_array_equal(np.asanyarray(nibabel.load(tmp_path / name).dataobj), values)


few = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@few
@given(
    shape=st.tuples(*[st.integers(2, 7)] * 3),
    channels=st.integers(1, 3),
    dtype=st.sampled_from(["uint8", "int16", "int32", "float32"]),
    suffix=st.sampled_from([".mgz", ".mgh"]),
    seed=st.integers(0, 99),
)
def test_freesurfers_volumes_come_back_and_nibabel_reads_them(
    tmp_path_factory, shape, channels, dtype, suffix, seed
):
    random = np.random.default_rng(seed)
    values = random.integers(0, 127, (channels, *shape)).astype(dtype)
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * random.uniform(0.5, 3, 3), random.normal(0, 50, 3)
    path = tmp_path_factory.mktemp("mgh") / f"x{suffix}"
    header = formats.Header(channels, shape, np.dtype(dtype), affine)
    with formats.create(path, header) as file:
        file.write(values)
    again = formats.read(path, 3)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again.values, values)
    # Cosines, sizes and the centre are float32, of up to 100 mm.
    np.testing.assert_allclose(again.affine, affine, rtol=0, atol=1e-4)
    content = path.read_bytes()
    other = nibabel.MGHImage.from_bytes(gzip.decompress(content) if suffix == ".mgz" else content)
    np.testing.assert_array_equal(
        np.asanyarray(other.dataobj).reshape(*shape, channels), np.moveaxis(values, 0, -1)
    )


# NRRD and MetaImage


def nrrd(path, values, fields, encoding="raw"):
    """Writes values with the first axis fastest, under a header of one's own."""
    raw = values.T.tobytes()
    header = (
        f"NRRD0005\n# made by a test\ntype: int16\ndimension: {values.ndim}\n"
        f"sizes: {' '.join(map(str, values.shape))}\nencoding: {encoding}\nendian: little\n"
        f"{fields}\n"
    )
    data = {"gzip": gzip.compress, "bzip2": bz2.compress, "raw": bytes}[encoding](raw)
    path.write_bytes(header.encode() + data)


PLACE = "space: left-posterior-superior\nspace origin: (1,2,3)\n"
FIRST = f"{PLACE}space directions: none (1,0,0) (0,1,0) (0,0,2)\n"
LAST = f"{PLACE}space directions: (1,0,0) (0,1,0) (0,0,2) none\n"


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize(
    ("first", "fields", "placed"),
    [
        (True, f"{FIRST}kinds: list domain domain domain\n", True),
        (True, f"{FIRST}kinds: vector domain domain domain\n", True),
        (True, FIRST, True),
        (False, f"{LAST}kinds: domain domain domain list\n", True),
        (False, f"{LAST}kinds: domain domain domain time\n", True),
        (False, LAST, True),
        (False, "spacings: 1 1 2 1\n", False),
        (False, "spacings: 1 1 2 nan\n", False),
        (True, "spacings: nan 1 1 2\n", False),
    ],
)
def test_nrrd_of_four_axes_is_read_with_and_without_kinds(
    tmp_path, encoding, first, fields, placed
):
    values = np.random.default_rng(0).integers(-999, 999, (4, 5, 6, 7)).astype("<i2")
    nrrd(tmp_path / "x.nrrd", values if first else np.moveaxis(values, 0, -1), fields, encoding)
    scan = formats.read(tmp_path / "x.nrrd", 3)
    np.testing.assert_array_equal(scan.values, values)
    np.testing.assert_array_equal(scan.affine[:3, :3], np.diag([-1, -1, 2]))
    np.testing.assert_array_equal(scan.affine[:3, 3], [-1, -2, 3] if placed else [0, 0, 0])


@pytest.mark.parametrize(("unit", "mm"), [("mm", 1), ("cm", 10), ("um", 1e-3), ("pixel", 1)])
@pytest.mark.parametrize("placed", [True, False])
def test_the_units_of_an_nrrd_are_heeded(tmp_path, unit, mm, placed):
    values = np.zeros((5, 6, 7), "<i2")
    units = " ".join([f'"{unit}"'] * 3)
    fields = f"{PLACE}space directions: (1,0,0) (0,1,0) (0,0,2)\nspace units: {units}\n"
    if not placed:
        fields = f"spacings: 1 1 2\nunits: {units}\n"
    nrrd(tmp_path / "x.nrrd", values, fields, "raw")
    affine = formats.probe(tmp_path / "x.nrrd", 3).affine
    np.testing.assert_allclose(np.diag(affine), [-mm, -mm, 2 * mm, 1])
    np.testing.assert_allclose(affine[:3, 3], [-mm, -2 * mm, 3 * mm] if placed else [0, 0, 0])


def test_a_packing_that_itk_has_not_is_named_and_the_file_not_called_damaged(tmp_path):
    nrrd(tmp_path / "x.nrrd", np.zeros((5, 6, 7), "<i2"), "spacings: 1 1 2\n", "bzip2")
    with pytest.raises(UserError, match="packed by bzip2, which ITK can't read; save it with gzip"):
        formats.read(tmp_path / "x.nrrd", 3)


@pytest.mark.parametrize(("suffix", "instead"), [(".mhd", ".mha"), (".nhdr", ".nrrd")])
def test_values_beside_a_header_are_read_and_written_in_one_file(tmp_path, suffix, instead):
    values = np.random.default_rng(0).integers(0, 99, (5, 6, 7)).astype(np.int16)
    image = SimpleITK.GetImageFromArray(values.T)
    image.SetSpacing((1, 2, 3))
    SimpleITK.WriteImage(image, str(tmp_path / f"x{suffix}"), useCompression=True)
    scan = formats.read(tmp_path / f"x{suffix}", 3)
    np.testing.assert_array_equal(scan.values[0], values)
    np.testing.assert_array_equal(scan.affine, np.diag([-1, -2, 3, 1]))
    target = tmp_path / f"y{suffix}"
    assert f"can only be read; use the suffix {instead}" in refusal(
        target, lambda: formats.write(target, scan.values, scan.header)
    )
    assert formats.writable(target) == tmp_path / f"y{instead}"


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_the_file_with_the_values_is_blamed_and_not_its_header(tmp_path, suffix):
    image = SimpleITK.GetImageFromArray(np.ones((5, 6, 7), np.int16))
    SimpleITK.WriteImage(image, str(tmp_path / f"x{suffix}"))
    beside = tmp_path / "x.raw"
    beside.write_bytes(beside.read_bytes()[:-10])
    refusal(beside, lambda: formats.read(tmp_path / f"x{suffix}", 3))


@pytest.mark.parametrize("elsewhere", ["../secret.raw", "/etc/hostname", "sub/../../secret.raw"])
@pytest.mark.parametrize("suffix", [".mhd", ".mha", ".nhdr", ".nrrd"])
def test_a_header_names_no_file_outside_its_folder(tmp_path, suffix, elsewhere):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "secret.raw").write_bytes(bytes(2 * 8 * 8 * 8))
    path = tmp_path / "in" / f"x{suffix}"
    detached(path, elsewhere)
    assert "outside its folder" in refusal(path, lambda: formats.read(path, 3))
    (tmp_path / "in" / "link.raw").symlink_to(tmp_path / "secret.raw")
    detached(path, "link.raw")
    assert "outside its folder" in refusal(path, lambda: formats.read(path, 3))
    detached(path, "gone.raw")
    assert "gone.raw, which isn't there" in refusal(path, lambda: formats.read(path, 3))


def detached(path, name):
    if path.suffix in (".mhd", ".mha"):
        path.write_text(
            "ObjectType = Image\nNDims = 3\nDimSize = 8 8 8\nElementType = MET_SHORT\n"
            f"ElementDataFile = {name}\n"
        )
    else:
        path.write_text(
            "NRRD0005\ntype: int16\ndimension: 3\nsizes: 8 8 8\nencoding: raw\nendian: little\n"
            f"data file: {name}\n"
        )


# Stacks of TIFF pages


@few
@given(
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int64", "uint64", "float16", "float32"]),
    options=st.sampled_from([{}, {"compression": "zlib"}, {"bigtiff": True}, {"byteorder": ">"}]),
)
def test_pages_of_a_plain_tiff_are_slices_of_a_volume(tmp_path_factory, shape, dtype, options):
    folder = tmp_path_factory.mktemp("stack")
    values = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    tifffile.imwrite(folder / "x.tif", values.T, photometric="minisblack", metadata=None, **options)
    scan = formats.read(folder / "x.tif", 3)
    np.testing.assert_array_equal(scan.values[0], values)
    part = (slice(0, 1), slice(1, 2), slice(1, 2))
    with formats.open(folder / "x.tif", 3) as file:
        np.testing.assert_array_equal(file.read(part)[0], values[part])
    formats.write(folder / "y.tif", scan.values[:, ::-1].copy(), scan.header)
    np.testing.assert_array_equal(tifffile.imread(folder / "y.tif"), values[::-1].T)
    assert formats.read(folder / "y.tif", 3).dtype == dtype


def test_a_volume_of_another_kind_is_no_stack_of_pages(tmp_path):
    values, place = np.zeros((1, 4, 5, 6), np.uint8), np.diag([2.0, 2, 2, 1])
    for source, said in (("of another kind", "can only be a volume that"), (None, "a place in sp")):
        header = formats.Header(1, (4, 5, 6), values.dtype, place, source)
        with pytest.raises(UserError, match=rf"x\.tif.*{said}.*use the suffix \.ome\.tif"):
            formats.write(tmp_path / "x.tif", values, header)
    formats.write(tmp_path / "x.ome.tif", values, header)


def test_a_folder_of_stacks_of_pages_is_translated_into_such(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (7, 12, 16), np.uint8)
    (tmp_path / "in").mkdir()
    for name in "ab":
        tifffile.imwrite(tmp_path / "in" / f"{name}.tif", values, photometric="minisblack")
    save_generator(RevGenerator(3, 1, 1, width=2, depth=1), tmp_path / "model")
    Preparation(Intensity(0, 255), Intensity(0, 255)).write(tmp_path / "model")
    folders = [str(tmp_path / name) for name in ("model", "in", "out")]
    assert main(["translate", *folders]) == 0
    assert tifffile.imread(tmp_path / "out" / "b.tif").shape == values.shape


def test_pages_of_several_sizes_and_a_single_one_are_no_volume(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for side in (8, 9):
            file.write(np.zeros((side, 8), np.uint8), metadata=None)
    assert "2 different sizes or types" in refusal(
        tmp_path / "x.tif", lambda: formats.read(tmp_path / "x.tif", 3)
    )
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((8, 8), np.uint8), metadata=None)
    with pytest.raises(UserError, match="2D"):
        formats.read(tmp_path / "x.tif", 3)
