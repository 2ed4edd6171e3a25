"""DICOM in and out: every value at its place, whatever the order, encoding and arrangement."""

from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicoms import item, read_all, write_frames, write_series
from revgan.data import formats
from revgan.data.formats import Selection, cut, scans_in
from revgan.data.refs import find_scans, given_scans
from revgan.errors import Notice, UserError
from test_folders import refusal

REAL = Path(pydicom.__file__).parent / "data" / "test_files"

few = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def numbers(shape=(5, 6, 7), seed=0, high=4000):
    return np.random.default_rng(seed).integers(0, high, shape, np.uint16)


def rotation(seed):
    matrix = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return matrix * np.linalg.det(matrix)


def by_itk(folder):
    """Values (X, Y, Z) and affine in RAS+ as ITK's own reader of series has them."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).T, np.diag([-1, -1, 1, 1]) @ affine


# In


@few
@given(
    shape=st.tuples(st.integers(2, 6), st.integers(2, 7), st.integers(2, 7)),
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([(1, 0), (1, -1024), (2, 5), (0.25, -3.5)]),
)
def test_a_series_is_read_as_itk_reads_it(tmp_path_factory, shape, seed, scale):
    folder = tmp_path_factory.mktemp("series")
    turn = rotation(seed)
    stored = numbers(shape, seed)
    order = np.random.default_rng(seed).permutation(len(stored))
    write_series(
        folder, stored, order=order, scale=scale, directions=turn[:2].ravel(), step=turn[2] * 1.75,
        suffix="",
    )  # fmt: skip
    scan = formats.read(folder, 3)
    expected = stored.transpose(2, 1, 0) * np.float64(scale[0]) + scale[1]
    assert scan.values.dtype == scan.dtype
    np.testing.assert_array_equal(scan.values[0], expected.astype(np.float32))
    values, affine = by_itk(folder)
    np.testing.assert_array_equal(scan.values[0], values.astype(np.float32))
    # ITK takes the spacing from slice to slice from rounded positions: six decimals here.
    np.testing.assert_allclose(scan.affine, affine, rtol=0, atol=2e-5)


def test_a_window_of_a_series_reads_no_other_slice(tmp_path, monkeypatch):
    from revgan.data.formats import dicom

    write_series(tmp_path / "s", numbers())
    decoded, opened = dicom.decoded, []
    monkeypatch.setattr(dicom, "decoded", lambda *what: opened.append(1) or decoded(*what))
    window = (slice(2, 5), slice(0, 3), slice(1, 3))
    with formats.open(tmp_path / "s", 3) as file:
        part = file.read(window)
    assert len(opened) == 2
    whole = formats.read(tmp_path / "s", 3)
    np.testing.assert_array_equal(part, cut(whole, window).values)


def test_types_are_the_smallest_that_hold_what_may_be_stored(tmp_path):
    for number, (bits, scale, expected) in enumerate(
        [
            (12, (1, 0), "uint16"),
            (12, (1, -1024), "int16"),
            (16, (1, -1024), "int32"),
            (8, (1, 0), "uint8"),
            (12, (0.5, 0), "float32"),
        ]
    ):
        folder = tmp_path / str(number)
        write_series(folder, numbers(high=200), scale=scale, BitsStored=bits, HighBit=bits - 1)
        assert formats.probe(folder).dtype == expected


def test_frames_of_one_file_are_a_volume_in_the_order_of_space(tmp_path):
    stored = numbers()
    path = write_frames(tmp_path / "x.dcm", stored, order=[3, 0, 4, 1, 2], scale=(1, -1000))
    scan = formats.read(path, 3)
    np.testing.assert_array_equal(scan.values[0], stored.transpose(2, 1, 0).astype(int) - 1000)
    expected = [[-0.9, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 2.5, 5], [0, 0, 0, 1]]
    np.testing.assert_allclose(scan.affine, expected, rtol=0, atol=1e-12)
    image = formats.read(path, 2, Selection(z=1))  # frames count in the order of the file
    np.testing.assert_array_equal(image.values[0], stored[0].astype(int) - 1000)
    assert "5 frames" in refusal(path, lambda: formats.read(path, 2))


def test_stacks_of_one_file_are_volumes_of_their_own(tmp_path):
    stored = numbers(shape=(6, 9, 8))
    path = write_frames(tmp_path / "in" / "x.dcm", stored)
    dataset = pydicom.dcmread(path)
    half = 3
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        group.FrameContentSequence[0].StackID = "B" if index >= half else "A"
        place = [0, 0, 2.0 * (index % half) + (100 if index >= half else 0)]
        group.PlanePositionSequence[0].ImagePositionPatient = place
    dataset.save_as(path)
    assert "stack A, series 1 stack B; choose one" in refusal(path, lambda: formats.read(path, 3))
    for stack, frames in (("A", stored[:half]), ("B", stored[half:])):
        scan = formats.read(path, 3, Selection(series=stack))
        np.testing.assert_array_equal(scan.values[0], frames.transpose(2, 1, 0))
        formats.write(tmp_path / f"{stack}.dcm", scan.values, scan.header)
        again = formats.read(tmp_path / f"{stack}.dcm", 3)
        np.testing.assert_array_equal(again.values, scan.values)
        np.testing.assert_allclose(again.affine, scan.affine)
    found = scans_in(tmp_path / "in", 3, Selection())
    assert [place.name for place in found.scans] == ["x-A", "x-B"]


def test_frames_that_are_left_out_are_told(tmp_path):
    path = write_frames(tmp_path / "x.dcm", numbers())
    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    turned = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    del shared.PlaneOrientationSequence
    groups = dataset.PerFrameFunctionalGroupsSequence
    for index, group in enumerate(groups):
        directions = [0, 1, 0, 0, 0, -1] if index == len(groups) - 1 else list(turned)
        group.PlaneOrientationSequence = [item(ImageOrientationPatient=directions)]
    dataset.save_as(path)
    with pytest.warns(Notice, match=f"1 of {len(groups)} frames are left out"):
        assert formats.probe(path, 3).shape[2] == len(groups) - 1


def test_doses_are_placed_by_their_offsets():
    scan = formats.read(REAL / "rtdose.dcm", 3)
    dataset = pydicom.dcmread(REAL / "rtdose.dcm")
    doses = dataset.pixel_array * float(dataset.DoseGridScaling)
    offsets = np.diff(dataset.GridFrameOffsetVector)
    np.testing.assert_allclose(scan.values[0], doses.transpose(2, 1, 0), rtol=1e-6)
    assert scan.affine[2, 2] == pytest.approx(offsets[0], abs=1e-9)


def test_slices_at_one_position_are_channels_in_order_of_time(tmp_path):
    first, second = numbers(seed=1), numbers(seed=2)
    uid = pydicom.uid.generate_uid()
    for time, stored in ((2, second), (1, first)):
        write_series(
            tmp_path / f"{time}", stored, SeriesInstanceUID=uid, TemporalPositionIdentifier=time
        )
    for path in (tmp_path / "1").iterdir():
        path.rename(tmp_path / "2" / f"other-{path.name}")
    values = formats.read(tmp_path / "2", 3).values
    np.testing.assert_array_equal(values, np.stack([first, second]).transpose(0, 3, 2, 1))


def test_tilted_gantries_are_said_and_their_shear_is_in_the_affine(tmp_path):
    write_series(tmp_path / "s", numbers(), step=(0, 0.5, 2.5))
    with pytest.warns(Notice, match=r"tilted by 11\.3 degrees"):
        scan = formats.read(tmp_path / "s", 3)
    np.testing.assert_allclose(scan.affine[:3, 2], [0, -0.5, 2.5], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda folder: (folder / "IM0002.dcm").unlink(), "has a gap: IM0001.dcm and IM0003.dcm"),
        (lambda folder: move(folder / "IM0004.dcm", 1.0), "unevenly spaced"),
        (lambda folder: move(folder / "IM0002.dcm", 2.5), "at most positions, but 2 at that of"),
        (lambda folder: move(folder / "IM0002.dcm", 0, 9), "beside their place"),
        (lambda folder: change(folder / "IM0002.dcm", PixelSpacing=[1, 1]), "several pixel spac"),
    ],
    ids=["gap", "uneven", "twice", "aside", "spacing"],
)
def test_slices_that_are_no_even_stack_are_refused(tmp_path, change, expected):
    change(write_series(tmp_path / "s", numbers()))
    assert expected in refusal(tmp_path / "s", lambda: formats.read(tmp_path / "s", 3))


def change(path, **attributes):
    dataset = pydicom.dcmread(path)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.save_as(path)


def move(path, up, aside=0):
    x, y, z = pydicom.dcmread(path).ImagePositionPatient
    change(path, ImagePositionPatient=[x + aside, y, z + up])


def test_rounded_positions_are_an_even_stack(tmp_path):
    write_series(tmp_path / "s", numbers((40, 4, 4)), step=(0, 0, 2 / 3))
    for path in (tmp_path / "s").iterdir():
        position = pydicom.dcmread(path).ImagePositionPatient
        change(path, ImagePositionPatient=[round(float(number), 2) for number in position])
    assert formats.probe(tmp_path / "s").affine[2, 2] == pytest.approx(2 / 3, abs=1e-3)


# What folders hold


def test_folders_are_named_after_where_they_are_and_flat_ones_after_patients(tmp_path):
    write_series(tmp_path / "a" / "case1", numbers(), suffix="")
    write_series(tmp_path / "a" / "case2", numbers())
    assert [ref.name for ref in find_scans(tmp_path / "a", 3).refs] == ["case1", "case2"]
    for patient in ("P1", "P2"):
        series = write_series(tmp_path / patient, numbers(), PatientID=patient)
        (tmp_path / "flat").mkdir(exist_ok=True)
        for path in series.iterdir():
            path.rename(tmp_path / "flat" / f"{patient}-{path.name}")
    refs = find_scans(tmp_path / "flat", 3).refs
    assert [ref.name for ref in refs] == ["P1", "P2"]
    assert all(ref.read(3).shape == (7, 6, 5) for ref in refs)


def test_series_of_a_folder_are_listed_and_one_is_chosen(tmp_path):
    for number, description in ((2, "T1 axial"), (7, "T2")):
        series = write_series(
            tmp_path / f"{number}",
            numbers(seed=number),
            SeriesNumber=number,
            SeriesDescription=description,
        )
        (tmp_path / "both").mkdir(exist_ok=True)
        for path in series.iterdir():
            path.rename(tmp_path / "both" / f"{number}-{path.name}")
    both = tmp_path / "both"
    assert "series 2 (T1 axial), series 7 (T2)" in refusal(both, lambda: formats.read(both, 3))
    assert [ref.name for ref in find_scans(tmp_path, 3).refs] == ["both-P1-2", "both-P1-7"]
    expected = numbers(seed=7).transpose(2, 1, 0)
    for wanted in ("7", "T2", "1"):  # by number, description, and place in the list
        found = given_scans(both, 3, selection=Selection(series=wanted))
        (ref,) = found.refs
        np.testing.assert_array_equal(ref.read(3).values[0], expected)
        assert {reason for _, reason in found.passed} == {f"not of series {wanted}"}
    chosen = Selection(series="9")
    assert "no series 9" in refusal(both, lambda: formats.read(both, 3, chosen))


def test_what_is_no_slice_of_the_volume_is_named_with_its_reason(tmp_path):
    folder = write_series(tmp_path / "s", numbers())
    uid = pydicom.dcmread(folder / "IM0000.dcm").SeriesInstanceUID
    sagittal = (0, 1, 0, 0, 0, -1)
    scout = write_series(
        tmp_path / "scout", numbers((1, 6, 7)), SeriesInstanceUID=uid, directions=sagittal
    )
    local = write_series(
        tmp_path / "local", numbers((2, 6, 7)), ImageType=r"ORIGINAL\PRIMARY\LOCALIZER",
        SeriesInstanceUID=uid,
    )  # fmt: skip
    single = write_series(tmp_path / "single", numbers((1, 6, 7)))
    for name, path in (("a", scout), ("b", local), ("c", single)):
        (path / "IM0000.dcm").rename(folder / f"{name}.dcm")
    for name in ("rtstruct.dcm", "MR_truncated.dcm", "reportsi.dcm"):
        (folder / name).write_bytes((REAL / name).read_bytes())
    (folder / "copy.dcm").write_bytes((folder / "IM0000.dcm").read_bytes())
    (folder / "junk.dcm").write_bytes(b"junk" * 99)
    (folder / "note.txt").write_text("x")
    (ref,) = (found := find_scans(tmp_path / "s", 3)).refs
    assert ref.read(3).shape == (7, 6, 5)
    passed = {path.name: reason for path, reason in found.passed}
    assert passed == {
        "a.dcm": "of other size or orientation than most of series 1",
        "b.dcm": "a localizer",
        "c.dcm": "a single slice, which isn't a volume",
        "copy.dcm": "the same instance as IM0000.dcm",
        "rtstruct.dcm": "DICOM without an image (RTSTRUCT)",
        "reportsi.dcm": "DICOM without an image (SR)",
        "MR_truncated.dcm": "a single slice, which isn't a volume",
        "junk.dcm": "no DICOM in spite of its name",
        "note.txt": ".txt isn't a format for volumes",
    }


# Real files


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_every_image_that_pydicom_ships_is_read_as_gdcm_reads_it():
    read, refused = 0, {}
    for path in sorted(REAL.glob("*.dcm")):
        frames = pydicom.dcmread(path, force=True, stop_before_pixels=True).get("NumberOfFrames")
        first = (
            Selection(z=0) if str(frames or 1).isdigit() and int(frames or 1) > 1 else Selection()
        )
        try:
            values = formats.read(path, 2, first).values
        except UserError as error:
            refused[path.name] = str(error)
            continue
        read += 1
        if (
            "rtdose" in path.name
            or "liver" in path.name
            or "16bit" in path.name
            or "32bit" in path.name
        ):
            continue  # GDCM takes these for something else
        other = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
        other = other.reshape(-1, *values.shape[1:], len(values))[0]
        np.testing.assert_array_equal(values, np.moveaxis(other, -1, 0), err_msg=path.name)
    assert read == 59
    without = [name for name, why in refused.items() if "without an image" in why]
    assert len(without) == 15
    # Damaged on purpose, but for the file whose pixels hold what ends pixels.
    assert sorted(set(refused) - set(without)) == [
        "JPEG2000-embedded-sequence-delimiter.dcm",
        "MR_truncated.dcm",
        "badVR.dcm",
        "no_meta.dcm",
    ]


def test_a_series_is_no_file_and_of_its_slices_the_damaged_one_is_named(tmp_path):
    write_series(tmp_path / "s", np.ones((3, 8, 6), np.uint16))
    header = formats.probe(tmp_path / "s", 3)
    assert "name a folder" in refusal(
        tmp_path / "y.dcm", lambda: formats.require_holds(tmp_path / "y.dcm", header)
    )
    path = tmp_path / "s" / "IM0001.dcm"
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"\xe0\x7f\x10\x00") + 40])  # within the pixels
    refusal(path, lambda: formats.read(tmp_path / "s", 3))


def test_a_siemens_mosaic_is_no_single_slice():
    path = Path(nibabel.__file__).parent / "nicom" / "tests" / "data" / "0.dcm"
    assert "mosaic" in refusal(path, lambda: formats.read(path, 2))


# Out


@few
@given(data=st.data())
def test_integers_come_back_from_derived_series_as_they_were(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("out")
    turn = rotation(data.draw(st.integers(0, 99)))
    write_series(
        folder / "in", numbers(), directions=turn[:2].ravel(), step=turn[2] * 1.75,
        order=[4, 2, 0, 1, 3],
    )  # fmt: skip
    original = formats.read(folder / "in", 3)
    dtype = np.dtype(data.draw(st.sampled_from(["uint8", "int8", "uint16", "int16"])))
    limits = np.iinfo(dtype)
    values = np.random.default_rng(0).integers(
        limits.min, limits.max, original.values.shape, dtype, endpoint=True
    )
    formats.write(folder / "out", values, original.header)
    again = formats.read(folder / "out", 3)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again.values, values)
    np.testing.assert_array_equal(again.affine, original.affine)
    np.testing.assert_array_equal(by_itk(folder / "out")[0], values[0])


@few
@given(low=st.floats(-1e4, 1e4), width=st.floats(1e-3, 1e5))
def test_fractions_come_back_within_half_a_step_of_65535(tmp_path_factory, low, width):
    folder = tmp_path_factory.mktemp("out")
    original = formats.read(write_series(folder / "in", numbers(), scale=(0.5, 0)), 3)
    values = np.float32(low + width * np.random.default_rng(0).random(original.values.shape))
    formats.write(folder / "out", values, original.header)
    again = formats.read(folder / "out", 3).values
    # Half a step, and float32's rounding of the values themselves, there and back.
    most = np.ptp(values.astype(np.float64)) / 65535 * 0.501 + np.abs(values).max() * 2**-22
    np.testing.assert_allclose(again, values, rtol=0, atol=most)


def test_whole_numbers_of_wide_types_are_exact_where_they_spread_little(tmp_path):
    original = formats.read(write_series(tmp_path / "in", numbers(), scale=(1, -1024)), 3)
    assert original.dtype == np.int32
    formats.write(tmp_path / "out", original.values, original.header)
    np.testing.assert_array_equal(formats.read(tmp_path / "out", 3).values, original.values)


def test_the_value_outside_the_image_is_kept(tmp_path):
    stored = numbers()
    stored[:, 0] = 63536  # -2000 in 16 bits, as scanners write it
    for path in write_series(tmp_path / "in", stored, PixelRepresentation=1).iterdir():
        dataset = pydicom.dcmread(path)
        dataset.add_new("PixelPaddingValue", "SS", -2000)
        dataset.save_as(path)
    original = formats.read(tmp_path / "in", 3)
    assert original.nodata == -2000
    formats.write(tmp_path / "out", original.values, original.header)
    again = formats.read(tmp_path / "out", 3)
    assert again.nodata == -2000
    np.testing.assert_array_equal(again.values, original.values)


def test_derived_series_have_the_patient_and_place_and_uids_of_their_own(tmp_path):
    write_series(tmp_path / "in", numbers())
    for path in (tmp_path / "in").iterdir():
        change(path, WindowCenterWidthExplanation="x", SeriesDescription="CT thorax")
    original = formats.read(tmp_path / "in", 3)
    formats.write(tmp_path / "out", original.values[:, ::-1].copy(), original.header)
    before, after = read_all(tmp_path / "in"), read_all(tmp_path / "out")
    assert len(before) == len(after)
    assert len({d.SeriesInstanceUID for d in after}) == 1
    assert len({d.SOPInstanceUID for d in after}) == len(after)
    for old, new in zip(before, after, strict=True):
        for name in [
            "PatientID",
            "PatientName",
            "StudyInstanceUID",
            "FrameOfReferenceUID",
            "ImagePositionPatient",
            "ImageOrientationPatient",
            "PixelSpacing",
            "InstanceNumber",
            "SOPClassUID",
            "Modality",
        ]:
            assert new[name].value == old[name].value, name
        for name in ("SeriesInstanceUID", "SOPInstanceUID"):
            assert new[name].value != old[name].value
            assert new[name].value.startswith("2.25.")  # made of a UUID
        assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID
        assert new.ImageType[0] == "DERIVED"
        assert "revgan" in new.DerivationDescription
        assert new.SeriesDescription == "CT thorax translated"
        (source,) = new.SourceImageSequence
        assert source.ReferencedSOPInstanceUID == old.SOPInstanceUID
        (series,) = new.ReferencedSeriesSequence
        assert series.SeriesInstanceUID == old.SeriesInstanceUID
        assert "WindowCenterWidthExplanation" not in new
        assert not [element for element in new if element.tag.is_private]


def test_frames_are_derived_into_one_file_with_their_geometry(tmp_path):
    path = write_frames(tmp_path / "in.dcm", numbers(), order=[3, 0, 4, 1, 2], scale=(1, -1000))
    original = formats.read(path, 3)
    values = np.random.default_rng(0).normal(0, 100, original.values.shape).astype(np.float32)
    formats.write(tmp_path / "out.dcm", values, original.header)
    again = formats.read(tmp_path / "out.dcm", 3)
    np.testing.assert_allclose(again.values, np.rint(values), rtol=0, atol=0)  # as int16, as before
    np.testing.assert_array_equal(again.affine, original.affine)
    dataset = pydicom.dcmread(tmp_path / "out.dcm")
    assert dataset.NumberOfFrames == 5
    frames = dataset.PerFrameFunctionalGroupsSequence
    assert frames[0].CTImageFrameTypeSequence[0].FrameType[:2] == ["DERIVED", "SECONDARY"]
    assert "PixelValueTransformationSequence" not in frames[0]


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_bigendian.dcm", "SC_rgb_rle.dcm"])
def test_images_are_derived_in_grey_and_colours(tmp_path, name):
    original = formats.read(REAL / name, 2)
    values = original.values[:, ::-1].astype(np.int16 if len(original.values) == 1 else np.uint8)
    formats.write(tmp_path / "x.dcm", values, original.header)
    again = formats.read(tmp_path / "x.dcm", 2)
    np.testing.assert_array_equal(again.values, values)
    other = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "x.dcm")))[0]
    np.testing.assert_array_equal(other, np.moveaxis(values, 0, -1).squeeze())


def test_other_formats_and_grids_have_no_patient_to_name(tmp_path):
    original = formats.read(write_series(tmp_path / "in", numbers()), 3)
    formats.write(tmp_path / "x.nii.gz", original.values, original.header)
    again = formats.read(tmp_path / "x.nii.gz", 3)
    np.testing.assert_array_equal(again.values, original.values)
    np.testing.assert_allclose(again.affine, original.affine, rtol=0, atol=1e-5)
    for name, values, header, expected in (
        ("y.dcm", again.values, again.header, "whose patient it would name"),
        ("y.dcm", original.values, original.header, "name a folder"),
        ("y", np.concatenate([original.values] * 2), original.header, "2 channels"),
        ("y", original.values[..., :-1], cut(original, (slice(None),) * 2 + (slice(0, 4),)).header,
         "another grid"),
    ):  # fmt: skip
        path = tmp_path / name
        write = partial(formats.write, path, values, header)
        assert expected in refusal(path, write)
        assert not path.exists()


def test_a_failure_leaves_no_half_of_a_series_and_no_stranger_is_overwritten(tmp_path, monkeypatch):
    from revgan.data.formats import dicom_writing

    original = formats.read(write_series(tmp_path / "in", numbers()), 3)
    derived, calls = dicom_writing._derived, []

    def fail(*what):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return derived(*what)

    monkeypatch.setattr(dicom_writing, "_derived", fail)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="No space left"):
        formats.write(tmp_path / "out", original.values, original.header)
    assert sorted(tmp_path.rglob("*")) == before
    monkeypatch.undo()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(UserError, match="something else in it"):
        formats.write(tmp_path / "mine", original.values, original.header)
    for _ in range(2):  # a series that is there may be replaced
        formats.write(tmp_path / "out", original.values, original.header)
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_without_pydicom_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    write_series(tmp_path / "s", numbers())
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    for action in (lambda: formats.read(tmp_path / "s", 3), lambda: find_scans(tmp_path, 3)):
        with pytest.raises(UserError, match=r"pip install 'revgan\[dicom\]'$"):
            action()
