from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from revgan.data.formats import Scan, stem, suffix_of, suffixes
from revgan.data.recipe import require_contrast
from revgan.errors import UserError
from scans import read_volume, write_volume

NIFTI = (".nii", ".nii.gz")
ITK = (".mha", ".nrrd")
WITH_PLACE = NIFTI + ITK
VOLUME_SUFFIXES = (*WITH_PLACE, ".npy")
"""Of formats that are for volumes alone and hold all types."""
DTYPES = ("uint8", "int16", "uint16", "int32", "float32", "float64")
SHAPE = (5, 6, 7)


def affine(directions, zooms, translation):
    matrix = np.eye(4)
    matrix[:3, :3] = np.asarray(directions) * zooms
    matrix[:3, 3] = translation
    return matrix


def rotation():
    """Away from all axes, and proper: NIfTI's qform can hold it."""
    matrix = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    return matrix * np.linalg.det(matrix)


AFFINES = {
    "RAS": affine(np.eye(3), (1, 1, 1), (-90, -126, -72)),
    "LPS": affine(np.diag([-1, -1, 1]), (0.9, 0.9, 3.3), (101.5, 87.25, -12)),
    "ASL": affine(np.eye(3)[[2, 0, 1]] * [1, 1, -1], (0.5, 0.7, 1.1), (10, -20, 30)),
    "oblique": affine(rotation(), (0.9375, 1.25, 4.8), (-12.345678, 100 / 3, -7)),
}
OBLIQUE = AFFINES["oblique"]
SHEARED = OBLIQUE @ (np.eye(4) + 0.3 * np.eye(4, k=1) * [0, 1, 0, 0])


def noise(channels=1, shape=SHAPE, dtype="float32"):
    """Values that both `dtype` and float32 hold, over all of the range that both have."""
    draws = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return draws.normal(size=(channels, *shape)).astype(np.float32)
    limits = np.iinfo(dtype)
    low, high = max(limits.min, -(2**24)), min(limits.max, 2**24)
    return draws.integers(low, high, (channels, *shape), endpoint=True).astype(np.float32)


def volume(channels=1, shape=SHAPE, dtype="float32", place=OBLIQUE):
    return Scan(noise(channels, shape, dtype), place, None, np.dtype(dtype))


def written(folder, content, name):
    path = folder / name
    write_volume(path, content.values, content)
    return path


def nifti(folder, data, header=None, name="source.nii.gz", kind=nibabel.Nifti1Image, **options):
    path = folder / name
    nibabel.save(kind(data, OBLIQUE if header is None else None, header, **options), path)
    return path


def refusal(path, action=read_volume):
    """The message of the UserError, after what all of them promise."""
    with pytest.raises(UserError) as caught:
        action(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert not message.endswith(".")
    return message


# What is written is read again


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_volume_comes_back_with_every_value_and_its_type(tmp_path, suffix, dtype, channels):
    original = volume(channels, dtype=dtype)
    result = read_volume(written(tmp_path, original, f"volume{suffix}"))
    assert result.values.dtype == np.float32
    assert result.values.flags.c_contiguous
    np.testing.assert_array_equal(result.values, original.values)
    # What was read as float32 has no use for float64.
    assert result.dtype == ("float32" if dtype == "float64" else dtype)


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_odd_sizes_keep_every_voxel_in_its_place(tmp_path, suffix):
    original = volume(shape=(61, 73, 59), dtype="int16")
    result = read_volume(written(tmp_path, original, f"volume{suffix}"))
    np.testing.assert_array_equal(result.values, original.values)


@pytest.mark.parametrize("suffix", WITH_PLACE)
@pytest.mark.parametrize("place", AFFINES.values(), ids=AFFINES.keys())
def test_a_volume_stays_at_its_place_in_space(tmp_path, suffix, place):
    result = read_volume(written(tmp_path, volume(place=place), f"volume{suffix}"))
    assert result.affine.dtype == np.float64
    # NIfTI stores the affine as float32, of up to 128 mm here; the others as decimal float64.
    tolerance = 128 * 2**-24 if suffix in NIFTI else 1e-13
    np.testing.assert_allclose(result.affine, place, rtol=0, atol=tolerance)


@pytest.mark.parametrize("source", VOLUME_SUFFIXES)
@pytest.mark.parametrize("target", WITH_PLACE)
def test_any_format_is_written_like_any_other(tmp_path, source, target):
    like = read_volume(written(tmp_path, volume(2, dtype="int16"), f"source{source}"))
    result = read_volume(written(tmp_path, like, f"target{target}"))
    np.testing.assert_array_equal(result.values, like.values)
    # As above; here twice through float32.
    np.testing.assert_allclose(result.affine, like.affine, rtol=0, atol=128 * 2**-23)


@pytest.mark.parametrize("suffix", WITH_PLACE)
def test_a_sheared_grid_is_kept(tmp_path, suffix):
    result = read_volume(written(tmp_path, volume(place=SHEARED), f"volume{suffix}"))
    np.testing.assert_allclose(result.affine, SHEARED, rtol=0, atol=128 * 2**-24)


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_suffixes_may_be_in_upper_case(tmp_path, suffix):
    original = volume()
    path = written(tmp_path, original, f"VOLUME{suffix.upper()}")
    np.testing.assert_array_equal(read_volume(path).values, original.values)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_same_volume_gives_the_same_bytes(tmp_path):
    files = [written(tmp_path, volume(), f"{name}.nii.gz") for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("name", "suffix", "expected"),
    [
        ("t1.nii.gz", ".nii.gz", "t1"),
        ("sub-01.v2.nii", ".nii", "sub-01.v2"),
        ("CT.MHA", ".mha", "CT"),
        ("a.b.npy", ".npy", "a.b"),
        ("photo.png", None, "photo"),
        ("archive.gz", None, "archive"),
    ],
)
def test_names_are_taken_apart_at_the_suffix(name, suffix, expected):
    assert suffix_of(Path("folder") / name, 3) == suffix
    assert stem(Path("folder") / name) == expected


# Other programs see the same


@pytest.mark.parametrize("suffix", NIFTI)
def test_nibabel_sees_the_same_voxels_at_the_same_place(tmp_path, suffix):
    original = volume(2)
    image = nibabel.load(written(tmp_path, original, f"volume{suffix}"))
    np.testing.assert_array_equal(np.moveaxis(image.get_fdata(), -1, 0), original.values)
    np.testing.assert_allclose(image.affine, OBLIQUE, rtol=0, atol=128 * 2**-24)
    assert image.header.get_xyzt_units() == ("mm", "unknown")
    np.testing.assert_allclose(image.header.get_zooms()[:3], (0.9375, 1.25, 4.8), rtol=2**-23)


@pytest.mark.parametrize("suffix", WITH_PLACE)
def test_itk_sees_the_same_voxels_at_the_same_place(tmp_path, suffix):
    original = volume()
    image = SimpleITK.ReadImage(str(written(tmp_path, original, f"volume{suffix}")))
    assert image.GetPixel(1, 2, 3) == original.values[0, 1, 2, 3]
    left, posterior, superior = image.TransformIndexToPhysicalPoint((1, 2, 3))
    expected = (OBLIQUE @ (1, 2, 3, 1))[:3]
    # ITK makes the directions of a NIfTI file, which are float32, orthonormal.
    np.testing.assert_allclose((-left, -posterior, superior), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("suffix", ITK)
def test_channels_are_the_components_of_itk_images(tmp_path, suffix):
    original = volume(6)
    image = SimpleITK.ReadImage(str(written(tmp_path, original, f"volume{suffix}")))
    assert image.GetSize() == SHAPE
    assert image.GetPixel(1, 2, 3) == tuple(original.values[:, 1, 2, 3])


@pytest.mark.parametrize("suffix", ITK)
def test_the_fourth_axis_of_itk_images_is_read_as_channels(tmp_path, suffix):
    values = noise(4)
    frames = [SimpleITK.GetImageFromArray(channel.T) for channel in values]
    path = tmp_path / f"series{suffix}"
    SimpleITK.WriteImage(SimpleITK.JoinSeries(frames), str(path))
    np.testing.assert_array_equal(read_volume(path).values, values)


def test_compressed_itk_files_are_read(tmp_path):
    for suffix in ITK:
        path = tmp_path / f"compressed{suffix}"
        values = noise()
        image = SimpleITK.GetImageFromArray(values[0].T)
        SimpleITK.WriteImage(image, str(path), useCompression=True)
        np.testing.assert_array_equal(read_volume(path).values, values)


def test_nrrd_files_of_other_programs_are_read(tmp_path):
    """As 3D Slicer writes series: channels last, in other coordinates than ITK's."""
    values = noise(2, dtype="int16").astype(">i2")
    header = """NRRD0004
type: int16
dimension: 4
space: right-anterior-superior
sizes: 5 6 7 2
space directions: (0.5,0,0) (0,-2,0) (0,0,3) none
kinds: domain domain domain list
endian: big
encoding: raw
space origin: (10,-20,30)

"""
    path = tmp_path / "series.nrrd"
    path.write_bytes(header.encode() + np.moveaxis(values, 0, -1).tobytes(order="F"))
    result = read_volume(path)
    np.testing.assert_array_equal(result.values, values)
    expected = affine(np.eye(3), (0.5, -2, 3), (10, -20, 30))
    np.testing.assert_array_equal(result.affine, expected)


def test_npy_files_have_the_channels_first_and_no_place(tmp_path):
    path = tmp_path / "volume.npy"
    values = noise(3)
    np.save(path, np.asfortranarray(values.astype(">f8")))
    result = read_volume(path)
    np.testing.assert_array_equal(result.values, values)
    np.testing.assert_array_equal(result.affine, np.eye(4))


@pytest.mark.parametrize("shape", [SHAPE, (1, *SHAPE), (3, *SHAPE)])
def test_npy_files_keep_their_number_of_axes(tmp_path, shape):
    np.save(tmp_path / "source.npy", np.ones(shape, np.float32))
    path = written(tmp_path, read_volume(tmp_path / "source.npy"), "target.npy")
    assert np.load(path).shape == shape


# NIfTI headers

PLACE_FIELDS = ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x")
PLACE_FIELDS += ("qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "pixdim", "xyzt_units")


def both_forms(header):
    header.set_sform(OBLIQUE, "mni")
    header.set_qform(OBLIQUE, "scanner")


def qform_only(header):
    header.set_qform(OBLIQUE, "scanner")


def sform_only(header):
    header.set_sform(OBLIQUE, "talairach")


def different_forms(header):
    header.set_sform(SHEARED, "aligned")
    header.set_qform(AFFINES["LPS"], "scanner")


def no_form(header):
    header.set_zooms((0.5, 0.75, 2))


FORMS = [both_forms, qform_only, sform_only, different_forms, no_form]


@pytest.mark.parametrize("suffix", NIFTI)
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("units", ["mm", "micron", "meter", "unknown"])
@pytest.mark.parametrize("set_forms", FORMS)
def test_a_nifti_header_says_the_same_place_afterwards(tmp_path, suffix, kind, units, set_forms):
    header = kind.header_class()
    header.set_data_shape(SHAPE)
    header.set_xyzt_units(units, "sec")
    set_forms(header)
    source = nifti(tmp_path, noise()[0], header, f"source{suffix}", kind)
    like = read_volume(source)
    path = tmp_path / f"target{suffix}"
    write_volume(path, noise(), like)
    before, after = nibabel.load(source), nibabel.load(path)
    assert type(after) is kind
    assert after.shape == before.shape
    np.testing.assert_array_equal(after.affine, before.affine)
    for field in PLACE_FIELDS:
        np.testing.assert_array_equal(after.header[field], before.header[field], err_msg=field)
    np.testing.assert_array_equal(read_volume(path).affine, like.affine)


@pytest.mark.parametrize(("units", "millimetres"), [("micron", 1e-3), ("mm", 1), ("meter", 1e3)])
def test_the_affine_is_in_millimetres_whatever_the_header_counts_in(tmp_path, units, millimetres):
    header = nibabel.Nifti1Header()
    header.set_data_shape(SHAPE)
    header.set_sform(np.diag([2.0, 3.0, 4.0, 1.0]), "scanner")
    header.set_xyzt_units(units)
    result = read_volume(nifti(tmp_path, noise()[0], header))
    expected = np.diag([2 * millimetres, 3 * millimetres, 4 * millimetres, 1])
    np.testing.assert_allclose(result.affine, expected, rtol=1e-15)  # one product of float64


def test_another_affine_replaces_that_of_the_header(tmp_path):
    header = nibabel.Nifti1Header()
    both_forms(header)
    like = read_volume(nifti(tmp_path, noise()[0], header))
    moved = replace(like, affine=AFFINES["LPS"])
    image = nibabel.load(written(tmp_path, moved, "moved.nii.gz"))
    np.testing.assert_array_equal(image.affine, AFFINES["LPS"].astype(np.float32))
    assert image.header.get_sform(coded=True)[1] == 2  # aligned to something
    assert image.header.get_qform(coded=True)[1] == 0


def test_big_endian_files_stay_big_endian(tmp_path):
    header = nibabel.Nifti1Header(endianness=">")
    source = nifti(tmp_path, noise(dtype="int16")[0].astype(np.int16), header, dtype=np.int16)
    like = read_volume(source)
    assert like.dtype == np.dtype(np.int16)
    path = written(tmp_path, like, "target.nii")
    assert nibabel.load(path).header.endianness == ">"
    np.testing.assert_array_equal(read_volume(path).values, noise(dtype="int16"))


def test_extensions_of_the_header_are_kept(tmp_path):
    header = nibabel.Nifti1Header()
    header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"acquired at night"))
    like = read_volume(nifti(tmp_path, noise()[0], header))
    path = written(tmp_path, like, "target.nii.gz")
    extension = nibabel.load(path).header.extensions[0]
    assert extension.text.rstrip("\0") == "acquired at night"
    np.testing.assert_array_equal(read_volume(path).values, like.values)


def test_what_was_said_of_the_source_values_is_not_said_of_the_new_ones(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_intent("label", name="lobes")
    header["cal_max"], header["cal_min"] = 100, 10
    like = read_volume(nifti(tmp_path, noise()[0], header))
    result = nibabel.load(written(tmp_path, like, "target.nii")).header
    assert result.get_intent() == ("none", (), "")
    assert (result["cal_min"], result["cal_max"]) == (0, 0)


@pytest.mark.parametrize(
    ("shape", "channels"),
    [(SHAPE, 1), ((*SHAPE, 1), 1), ((*SHAPE, 6), 6), ((*SHAPE, 1, 6), 6), ((*SHAPE, 6, 1), 6)],
)
def test_nifti_axes_after_the_third_are_channels_and_are_kept(tmp_path, shape, channels):
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    like = read_volume(nifti(tmp_path, data))
    assert like.values.shape == (channels, *SHAPE)
    np.testing.assert_array_equal(like.values[-1], data.reshape(*SHAPE, channels)[..., -1])
    result = nibabel.load(written(tmp_path, like, "target.nii"))
    np.testing.assert_array_equal(result.get_fdata(), data)


def test_tensors_of_as_many_components_stay_tensors(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_intent("symmetric matrix", (3,))
    like = read_volume(nifti(tmp_path, np.zeros((*SHAPE, 1, 6), np.float32), header))
    same, other = tmp_path / "same.nii", tmp_path / "other.nii"
    write_volume(same, noise(6), like)
    write_volume(other, noise(3), like)
    assert nibabel.load(same).header.get_intent()[0] == "symmetric matrix"
    assert nibabel.load(other).header.get_intent()[0] == "none"


@pytest.mark.parametrize("suffix", NIFTI)
@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (3, 2)])
def test_the_number_of_channels_may_change(tmp_path, suffix, before, after):
    like = read_volume(written(tmp_path, volume(before), "source.nii"))
    path = tmp_path / f"target{suffix}"
    write_volume(path, noise(after), like)
    image = nibabel.load(path)
    assert image.shape == (SHAPE if after == 1 else (*SHAPE, after))
    np.testing.assert_array_equal(image.affine, like.affine)
    np.testing.assert_array_equal(read_volume(path).values, noise(after))


# Scaled NIfTI files


def scaled_nifti(folder, slope, inter):
    stored = noise(dtype="int16")[0].astype(np.int16)
    path = folder / "scaled.nii.gz"
    image = nibabel.Nifti1Image(stored, OBLIQUE)
    image.header.set_slope_inter(slope, inter)
    nibabel.save(image, path)
    return path, stored.astype(np.float64) * np.float32(slope) + np.float32(inter)


def test_fractional_scaling_is_undone_and_the_result_is_not_squeezed_into_integers(tmp_path):
    path, values = scaled_nifti(tmp_path, 0.0125, -3.7)
    like = read_volume(path)
    assert like.dtype == np.float32
    np.testing.assert_array_equal(like.values[0], values.astype(np.float32))
    result = nibabel.load(written(tmp_path, like, "target.nii.gz"))
    assert result.get_data_dtype() == np.float32
    np.testing.assert_array_equal(result.get_fdata(), like.values[0])


def test_an_offset_of_whole_numbers_leaves_integers(tmp_path):
    path, values = scaled_nifti(tmp_path, 1, -1024)
    like = read_volume(path)
    np.testing.assert_array_equal(like.values[0], values)
    ct = np.clip(like.values, -1024, 3071) + np.float32(0.25)
    write_volume(tmp_path / "target.nii.gz", ct, like)
    result = nibabel.load(tmp_path / "target.nii.gz")
    assert result.get_data_dtype() == np.int16
    assert (result.dataobj.slope, result.dataobj.inter) == (1, 0)
    np.testing.assert_array_equal(result.get_fdata(), np.rint(ct[0]))


# The type that holds the values


def stored_as(folder, values, dtype, suffix=".nii"):
    like = replace(volume(), dtype=np.dtype(dtype))
    path = folder / f"stored{suffix}"
    write_volume(path, np.asarray(values, np.float32), like)
    return read_volume(path)


def ramp(low, high):
    return np.linspace(low, high, np.prod(SHAPE)).reshape(1, *SHAPE)


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_fractions_of_much_contrast_are_rounded_to_the_integers_of_the_source(tmp_path, suffix):
    result = stored_as(tmp_path, ramp(-1000, 2000), "int16", suffix)
    assert result.dtype == np.int16
    np.testing.assert_array_equal(result.values, np.rint(ramp(-1000, 2000).astype(np.float32)))


def test_probabilities_are_not_rounded_to_nothing_and_everything(tmp_path):
    result = stored_as(tmp_path, ramp(0, 1), "int16")
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result.values, ramp(0, 1).astype(np.float32))


def test_labels_stay_integers_however_few_they_are(tmp_path):
    assert stored_as(tmp_path, np.rint(ramp(0, 3)), "uint8").dtype == np.uint8


@pytest.mark.parametrize(("low", "high"), [(-0.6, 200), (0, 255.6)])
def test_values_beyond_the_range_of_the_source_are_kept_as_float32(tmp_path, low, high):
    result = stored_as(tmp_path, ramp(low, high), "uint8")
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result.values, ramp(low, high).astype(np.float32))


def test_values_that_round_into_the_range_fit_it(tmp_path):
    result = stored_as(tmp_path, ramp(-0.4, 255.4), "uint8")
    assert result.dtype == np.uint8
    assert (result.values.min(), result.values.max()) == (0, 255)


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
def test_the_largest_integers_do_not_wrap_around(tmp_path, dtype):
    limits = np.iinfo(dtype)
    result = stored_as(tmp_path, ramp(limits.min, limits.max), dtype)
    assert result.dtype == dtype
    # float32 holds the limits, rounded; the largest float32 that fits is next to the upper one.
    np.testing.assert_allclose(result.values.min(), limits.min, rtol=0)
    np.testing.assert_allclose(result.values.max(), limits.max, rtol=2**-23)


@pytest.mark.parametrize("dtype", ["float16", "float64", "bool"])
@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_other_types_become_float32(tmp_path, dtype, suffix):
    source = tmp_path / "source.npy"
    np.save(source, (ramp(0, 1) > 0.5).astype(dtype))
    result = read_volume(written(tmp_path, read_volume(source), f"target{suffix}"))
    assert result.dtype == np.float32
    assert set(result.values.flat) == {0, 1}


@given(st.integers(-(2**15), 2**15 - 1), st.integers(-(2**15), 2**15 - 1))
def test_rounding_never_costs_more_than_half_a_percent_of_the_contrast(tmp_path_factory, low, high):
    values = ramp(low / 7, high / 7).astype(np.float32)
    error = abs(stored_as(tmp_path_factory.mktemp("round"), values, "int16").values - values)
    assert error.max() <= 0.005 * np.ptp(values)


# Writing is all or nothing


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = written(tmp_path, volume(), "volume.mha")
    before = path.read_bytes()
    flat = np.diag([1.0, 1.0, 0.0, 1.0])
    message = refusal(path, lambda path: write_volume(path, noise(), volume(place=flat)))
    assert "spacing" in message
    assert "suffix .nii.gz" in message
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_a_missing_folder_is_named(tmp_path, suffix):
    path = tmp_path / "missing" / f"volume{suffix}"
    message = refusal(path, lambda path: write_volume(path, noise(), volume()))
    assert "No such file or directory" in message


def test_values_on_another_grid_are_a_mistake_of_the_caller(tmp_path):
    with pytest.raises(ValueError, match="grid"):
        write_volume(tmp_path / "volume.nii", noise(shape=(4, 6, 7)), volume())


# Bad input


@pytest.mark.parametrize("name", ["photo.png", "picture.jpeg"])
def test_an_image_file_is_refused_as_2d(tmp_path, name):
    Image.new("L", (8, 8)).save(tmp_path / name)
    assert "is an image by its suffix; volumes end in" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["scan.doc", "notes.txt", "archive.gz", "volume"])
def test_other_suffixes_are_refused_with_those_that_are_right(tmp_path, name):
    (tmp_path / name).write_bytes(b"content")
    message = refusal(tmp_path / name)
    assert "not a volume by its suffix" in message
    assert f"volumes end in {', '.join(suffixes(3))}" in message
    assert refusal(tmp_path / name, lambda path: write_volume(path, noise(), volume())) == message


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_a_missing_file_is_named(tmp_path, suffix):
    assert "No such file" in refusal(tmp_path / f"missing{suffix}")


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"no volume at all" * 100])
def test_files_of_another_kind_are_refused(tmp_path, suffix, content):
    path = tmp_path / f"volume{suffix}"
    path.write_bytes(content)
    assert "undamaged copy" in refusal(path)


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_truncated_files_are_refused(tmp_path, suffix, share):
    path = written(tmp_path, volume(), f"volume{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "undamaged copy" in refusal(path)


def test_a_flipped_bit_in_a_compressed_nifti_file_is_found(tmp_path):
    path = written(tmp_path, volume(), "volume.nii.gz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "undamaged copy" in refusal(path)


def test_npy_files_are_never_unpickled(tmp_path):
    path = tmp_path / "volume.npy"
    np.save(path, np.full(SHAPE, None), allow_pickle=True)
    assert "which aren't loaded" in refusal(path)


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
@pytest.mark.parametrize("shape", [(8, 9, 1), (1, 8, 9), (8, 1, 9)])
def test_a_single_slice_is_refused_as_2d(tmp_path, suffix, shape):
    path = written(tmp_path, volume(shape=shape), f"slice{suffix}")
    message = refusal(path)
    assert "2D" in message
    assert " x ".join(map(str, shape)) in message


def test_files_with_two_axes_are_refused_as_2d(tmp_path):
    flat = noise()[0, 0]
    np.save(tmp_path / "flat.npy", flat)
    nifti(tmp_path, flat, name="flat.nii")
    for suffix in ITK:
        image = SimpleITK.GetImageFromArray(flat)
        SimpleITK.WriteImage(image, str(tmp_path / f"flat{suffix}"))
    for path in tmp_path.iterdir():
        assert "2D" in refusal(path)


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_infinite_values_are_counted_and_nan_is_not_one(tmp_path, suffix):
    values = noise()
    values[0, 1, :2, 3] = -np.inf
    values[0, 4, 5, 6] = np.nan
    path = tmp_path / f"volume{suffix}"
    write_volume(path, values, volume(dtype="int16"))
    message = refusal(path)
    assert "2 infinite" in message
    assert "replace them" in message


def test_values_beyond_float32_are_infinite(tmp_path):
    np.save(tmp_path / "volume.npy", np.full(SHAPE, 1e300))
    assert "210 infinite values" in refusal(tmp_path / "volume.npy")


@pytest.mark.parametrize("row", [[0, 0, 0, 5], [0, 1, 0, 5], [np.nan, 0, 0, 5]])
def test_a_header_that_leaves_the_place_open_is_refused(tmp_path, row):
    image = nibabel.Nifti1Image(np.ones(SHAPE, np.int16), None)  # no affine: as the header says
    image.header["sform_code"] = 1
    image.header["srow_x"] = row
    image.header["srow_y"], image.header["srow_z"] = (0, 1, 0, 0), (0, 0, 1, 0)
    nibabel.save(image, tmp_path / "volume.nii.gz")
    assert "its affine can't be inverted; repair its header" in refusal(tmp_path / "volume.nii.gz")


def test_complex_values_are_refused(tmp_path):
    values = noise()[0].astype(np.complex64)
    np.save(tmp_path / "volume.npy", values)
    nifti(tmp_path, values, name="volume.nii")
    # MetaImage knows no complex numbers, only two components.
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(tmp_path / "volume.nrrd"))
    for path in tmp_path.iterdir():
        assert "complex" in refusal(path)


def test_colour_structs_are_refused(tmp_path):
    colours = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    np.save(tmp_path / "volume.npy", colours)
    nifti(tmp_path, colours, name="volume.nii")
    for path in tmp_path.iterdir():
        assert "RGB" in refusal(path)


def test_more_axes_than_one_of_channels_are_refused(tmp_path):
    nifti(tmp_path, np.ones((*SHAPE, 2, 3), np.float32), name="volume.nii")
    np.save(tmp_path / "volume.npy", np.ones((2, 3, *SHAPE)))
    for path in tmp_path.iterdir():
        assert "too many axes" in refusal(path)


def test_long_time_series_are_refused(tmp_path):
    nifti(tmp_path, np.ones((2, 2, 2, 600), np.uint8), name="series.nii.gz")
    message = refusal(tmp_path / "series.nii.gz")
    assert "600 channels or frames" in message
    assert "512" in message


def test_volumes_without_voxels_are_refused(tmp_path):
    np.save(tmp_path / "volume.npy", np.ones((4, 0, 4)))
    assert "is empty (4 x 0 x 4)" in refusal(tmp_path / "volume.npy")


def test_a_folder_by_the_name_of_a_volume_is_refused(tmp_path):
    (tmp_path / "volume.nii").mkdir()
    assert "cannot be opened" in refusal(tmp_path / "volume.nii")


def test_a_cifti_file_is_no_volume(tmp_path):
    axes = (
        nibabel.cifti2.ScalarAxis(["thickness"]),
        nibabel.cifti2.BrainModelAxis.from_mask(np.ones((3, 3, 3)), affine=np.eye(4)),
    )
    nibabel.save(nibabel.Cifti2Image(np.ones((1, 27)), axes), tmp_path / "map.dscalar.nii")
    assert "Cifti2Image" in refusal(tmp_path / "map.dscalar.nii")


def test_a_constant_volume_has_no_contrast(tmp_path):
    constant = replace(volume(), values=np.full((1, *SHAPE), 7, np.float32))
    message = refusal("brain.nii", lambda path: require_contrast(constant, path))
    assert "7 everywhere" in message
    require_contrast(volume(), "brain.nii")


# Real volumes


@pytest.mark.skipif(find_spec("nilearn") is None, reason="needs nilearn, which holds MNI152")
@pytest.mark.parametrize("suffix", WITH_PLACE)
def test_the_mni152_template_comes_back(tmp_path, suffix):
    place = Path(find_spec("nilearn").submodule_search_locations[0]) / "datasets" / "data"
    source = place / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    like = read_volume(source)
    before = nibabel.load(source)
    path = written(tmp_path, like, f"t1{suffix}")
    result = read_volume(path)
    np.testing.assert_array_equal(result.values, like.values)
    np.testing.assert_array_equal(result.affine, like.affine)
    assert result.dtype == before.get_data_dtype()
    if suffix in NIFTI:
        after = nibabel.load(path)
        np.testing.assert_array_equal(after.get_fdata(), before.get_fdata())
        for field in PLACE_FIELDS:
            np.testing.assert_array_equal(after.header[field], before.header[field])
