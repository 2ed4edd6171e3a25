"""`revgan prepare hcp`: what it finds, what it writes, what it refuses."""

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dipy.data import get_fnames

from revgan.cli import main
from revgan.data.datasets import diffusion_tensors as diffusion
from revgan.data.datasets import hcp as prepare_hcp
from scans import read_volume

KINDS = ("A", "B", "Mask")
AFFINE = np.array([[0, -1.25, 0.1, 9], [1.25, 0, 0, -8], [0, 0.1, 2.5, 7], [0, 0, 0, 1]])
"""Oblique, anisotropic, and not RAS."""

TENSOR = np.array([1.7, 0.2, 0.4, -0.1, 0.05, 0.3])
TOLERANCE = 1e-5
"""Of its elements: of float32 signals and of directions with eight decimals, as in the files."""


def directions(count=12):
    vectors = np.random.default_rng(0).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


BVALS = np.array([0.0, 5.0, *[1000.0] * 12])
BVECS = np.vstack([np.zeros((2, 3)), directions()])


def signals(shape, bvals=BVALS, bvecs=BVECS, rim=1):
    """Of `TENSOR`, and next to nothing in a rim of some voxels around it."""
    xx, xy, yy, xz, yz, zz = TENSOR * 1e-3
    matrix = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    inside = np.full(shape, 0.01)
    inside[rim:-rim, rim:-rim, rim:-rim] = 1
    decay = np.exp(-bvals * np.einsum("ni,ij,nj->n", bvecs, matrix, bvecs))
    return (1000 * inside[..., None] * decay).astype(np.float32)


def save(path, values, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def plain(source, name, shape=(12, 10, 9), bvals=BVALS, bvecs=BVECS):
    """A subject in the plain layout, without a mask."""
    save(source / name / "dwi.nii.gz", signals(shape, bvals, bvecs))
    np.savetxt(source / name / "dwi.bval", bvals[None], fmt="%g")
    np.savetxt(source / name / "dwi.bvec", bvecs.T, fmt="%.8f")
    return source / name


def hcp(source, name, shape=(12, 10, 9)):
    """A subject in the layout of the Human Connectome Project; its mask is a corner."""
    folder = source / name / "T1w" / "Diffusion"
    save(folder / "data.nii.gz", signals(shape))
    np.savetxt(folder / "bvals", BVALS[None], fmt="%g")
    np.savetxt(folder / "bvecs", BVECS.T, fmt="%.8f")
    mask = np.zeros(shape, np.uint8)
    mask[1:5, 1:5, 1:5] = 1
    save(folder / "nodif_brain_mask.nii.gz", mask)


@pytest.fixture
def source(tmp_path):
    return tmp_path / "subjects"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "tensors"


def run(source, target, *options):
    return main(["prepare", "hcp", str(source), str(target), *map(str, options)])


def refusal(capsys, source, target, *options, status=1):
    """The one sentence on stderr that the command ends with."""
    assert run(source, target, *options) == status
    error = capsys.readouterr().err
    assert error.startswith("revgan: ")
    assert error.count("\n") == 1
    return error.strip()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# What is written


def test_subjects_of_both_layouts_become_volumes_of_six_elements(source, target, capsys):
    plain(source, "a")
    hcp(source, "b")
    (source / "notes").mkdir()
    assert run(source, target, "--test-subjects", "b") == 0
    assert "volumes for training: 1, for the test: 1" in capsys.readouterr().out
    for name, role in (("a", "train"), ("b", "test")):
        low, high, mask = (
            read_volume(target / f"{role}{kind}" / f"{name}.nii.gz") for kind in KINDS
        )
        inside = mask.values[0] > 0
        for volume in (low, high):
            assert volume.dtype == np.float32
            np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)  # NIfTI's is float32
            expected = np.broadcast_to(TENSOR[:, None], volume.values[:, inside].shape)
            np.testing.assert_allclose(volume.values[:, inside], expected, atol=TOLERANCE)
            assert not volume.values[:, ~inside].any()
    assert names(target / "trainA") == ["a.nii.gz"]
    assert names(target / "testA") == ["b.nii.gz"]


def test_a_mask_is_taken_as_it_is(source, target):
    plain(source, "a")
    hcp(source, "b")
    assert run(source, target, "--test-subjects", "b") == 0
    mask = nibabel.load(source / "b" / "T1w" / "Diffusion" / "nodif_brain_mask.nii.gz")
    written = nibabel.load(target / "testMask" / "b.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(mask.dataobj))
    assert written.get_data_dtype() == np.uint8


def test_a_mask_of_a_part_of_the_field_of_view_leaves_the_rest_out(source, target):
    for name in ("a", "b"):
        save(plain(source, name) / "mask.nii.gz", np.ones((12, 10, 8), np.uint8))
    assert run(source, target, "--test-subjects", "b") == 0
    written = np.asarray(nibabel.load(target / "testMask" / "b.nii.gz").dataobj)
    expected = np.ones((12, 10, 9), np.uint8)
    expected[..., 8] = 0
    np.testing.assert_array_equal(written, expected)


def test_without_a_mask_the_brain_is_found(source, target):
    dwi = signals((20, 20, 20), rim=4)
    for name in "ab":
        save(plain(source, name) / "dwi.nii.gz", dwi)
    assert run(source, target) == 0
    mask = read_volume(target / "trainMask" / "a.nii.gz").values[0] > 0
    assert mask[5:-5, 5:-5, 5:-5].all()  # its corners are rounded
    assert not mask[dwi[..., 0] < 100].any()


def test_high_b_values_are_left_out(source, target):
    bvals = np.concatenate([BVALS, np.full(12, 3000.0)])
    bvecs = np.concatenate([BVECS, directions()])
    for name in "ab":
        folder = plain(source, name, bvals=bvals, bvecs=bvecs)
        values = signals((12, 10, 9), bvals, bvecs)
        values[..., 14:] = 500  # what no tensor explains
        save(folder / "dwi.nii.gz", values)
    assert run(source, target) == 0
    high = read_volume(target / "trainB" / "a.nii.gz").values[:, 5, 5, 4]
    np.testing.assert_allclose(high, TENSOR, atol=TOLERANCE)


def test_real_scans_are_prepared(source, target):
    for name in ("small_25", "small_64D", "small_101D"):
        dwi, bvals, bvecs = map(Path, get_fnames(name=name))
        (source / name).mkdir(parents=True)
        shutil.copy(dwi, source / name / f"dwi{''.join(dwi.suffixes)}")
        shutil.copy(bvals, source / name / "dwi.bval")
        shutil.copy(bvecs, source / name / "dwi.bvec")
    assert run(source, target, "--max-b", 2500, "--test-subjects", "small_64D") == 0
    assert names(target / "trainB") == ["small_101D.nii.gz", "small_25.nii.gz"]
    low, high, mask = (read_volume(target / f"test{kind}" / "small_64D.nii.gz") for kind in KINDS)
    np.testing.assert_array_equal(high.affine, read_volume(get_fnames()[0]).affine)
    inside = mask.values[0] > 0
    # The details that half the resolution loses, and no more than that.
    difference = np.abs(low.values - high.values)[:, inside].mean()
    assert 0.01 < difference < 0.3 * np.abs(high.values[[0, 2, 5]][:, inside]).mean()


# Training and test


def test_a_share_of_the_subjects_is_held_out(source, target):
    for name in "abcdefgh":
        plain(source, name, (8, 8, 8))
    assert run(source, target, "--test-share", 0.25) == 0
    assert names(target / "testB") == ["c.nii.gz", "g.nii.gz"]
    assert len(names(target / "trainB")) == 6


def test_a_single_subject_is_divided_into_regions(source, target):
    mask = np.zeros((12, 40, 9), np.uint8)
    mask[2:10, 3:38, 1:8] = 1
    save(plain(source, "a", mask.shape) / "mask.nii.gz", mask)
    assert run(source, target) == 0
    train = read_volume(target / "trainB" / "a-train.nii.gz")
    test = read_volume(target / "testB" / "a-test.nii.gz")
    start = np.linalg.solve(train.affine, test.affine)[1, 3]
    # The brain is longest along the second axis, where a fifth of it are 7 voxels.
    assert start == pytest.approx(38 - 7, abs=1e-3)  # affines are float32 in files
    assert test.values.shape[1:] == (12, 40 - 31, 9)
    assert train.values.shape[1:] == (12, 31 - prepare_hcp.MARGIN, 9)
    for kind in KINDS:
        assert names(target / f"train{kind}") == ["a-train.nii.gz"]
        assert names(target / f"test{kind}") == ["a-test.nii.gz"]


def test_a_brain_that_is_too_short_to_divide_is_refused(source, target, capsys):
    folder = plain(source, "a", (7, 7, 7))
    save(folder / "mask.nii.gz", np.ones((7, 7, 7), np.uint8))
    message = refusal(capsys, source, target)
    assert "dwi.nii.gz is too small for --test-share 0.2" in message


# Once more


def test_what_is_there_stays_as_it_is(source, target):
    for name in "ab":
        plain(source, name)
    assert run(source, target) == 0
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*.nii.gz")}
    assert run(source, target) == 0
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*.nii.gz")} == before


def test_an_interrupted_preparation_is_completed(source, target, monkeypatch):
    for name in "ab":
        plain(source, name)
    calls = []

    def fail_late(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return diffusion.fit_tensors(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(prepare_hcp, "fit_tensors", fail_late)
        assert run(source, target) == 130
    assert run(source, target) == 0
    assert all(
        len(names(target / f"{role}{kind}")) == 1 for role in ("train", "test") for kind in KINDS
    )


def test_another_division_into_the_same_folder_is_refused(source, target, capsys):
    for name in "abc":
        plain(source, name, (8, 8, 8))
    assert run(source, target, "--test-subjects", "a") == 0
    message = refusal(capsys, source, target, "--test-subjects", "b")
    assert f"{target} was made from other subjects or with other options" in message
    assert names(target / "testB") == ["a.nii.gz"]


def test_a_folder_with_other_things_is_refused(source, target, capsys):
    plain(source, "a")
    target.mkdir()
    (target / "notes.txt").write_text("mine")
    assert f"{target} exists and isn't an empty folder" in refusal(capsys, source, target)
    assert names(target) == ["notes.txt"]


# What is refused


def test_a_missing_source_is_told(source, target, capsys):
    assert f"{source} is not a folder" in refusal(capsys, source, target)


def test_a_source_without_scans_is_told_where_they_belong(source, target, capsys):
    (source / "a").mkdir(parents=True)
    message = refusal(capsys, source, target)
    assert "SUBJECT/T1w/Diffusion/data.nii.gz or SUBJECT/dwi.nii.gz" in message


@pytest.mark.parametrize(
    ("name", "what"), [("dwi.bval", "b-values"), ("dwi.bvec", "gradient directions")]
)
def test_a_missing_file_is_named(source, target, capsys, name, what):
    folder = plain(source, "a")
    (folder / name).unlink()
    message = refusal(capsys, source, target)
    assert f"{folder / name} is missing; put the {what} of {folder / 'dwi.nii.gz'} there" in message


FLAT = np.array([[np.cos(angle), np.sin(angle), 0] for angle in range(12)])


@pytest.mark.parametrize(
    ("bvals", "bvecs", "message"),
    [
        (BVALS[:-1], BVECS, "dwi.bvec holds 3 x 14 numbers, but the 13 b-values of"),
        (BVALS[:-1], BVECS[:-1], "dwi.nii.gz holds 14 volumes, but"),
        (BVALS + 500, BVECS + [1, 0, 0] * (BVALS < 50)[:, None], "has no b-value up to 50 s/mm2"),
        (BVALS * 3, BVECS, "has 0 directions with b-values up to 1500 s/mm2 (--max-b)"),
        (BVALS, BVECS[[*range(7), *range(2, 7), 2, 3]], "but a tensor needs at least 6"),
        (BVALS, np.vstack([BVECS[:2], FLAT]), "that aren't in one plane"),
        (BVALS, BVECS * 0.5, "the direction of volume 3 in"),
        (-BVALS, BVECS, "dwi.bval holds -1000; b-values are at least 0"),
    ],
)
def test_gradients_that_do_not_do_are_refused(source, target, capsys, bvals, bvecs, message):
    folder = plain(source, "a")
    np.savetxt(folder / "dwi.bval", bvals[None])
    np.savetxt(folder / "dwi.bvec", bvecs.T)
    assert message in refusal(capsys, source, target)
    assert not list(source.parent.rglob("train*/*"))


@pytest.mark.parametrize("text", ["0 1000 x", "0 1\n1", "\x00"])
def test_text_that_is_no_table_of_numbers_is_refused(source, target, capsys, text):
    folder = plain(source, "a")
    (folder / "dwi.bvec").write_text(text)
    assert "dwi.bvec can't be read; it must hold numbers" in refusal(capsys, source, target)


def test_an_empty_table_is_refused(source, target, capsys):
    folder = plain(source, "a")
    (folder / "dwi.bvec").write_text("")
    assert "dwi.bvec holds 0 numbers" in refusal(capsys, source, target)


def test_directions_are_taken_in_columns_and_without_weighting_there_may_be_none(source, target):
    folder = plain(source, "a")
    plain(source, "b")
    text = "\n".join(["nan nan nan", "nan,nan,nan", *(f"{x}, {y}, {z}" for x, y, z in BVECS[2:])])
    (folder / "dwi.bvec").write_text(text)
    assert run(source, target, "--test-subjects", "b") == 0
    high = read_volume(target / "trainB" / "a.nii.gz").values[:, 5, 5, 4]
    np.testing.assert_allclose(high, TENSOR, atol=TOLERANCE)


def test_a_mistake_of_the_last_subject_is_found_before_the_first_is_fitted(source, target, capsys):
    plain(source, "a")
    (plain(source, "b") / "dwi.bval").write_text("0 1000")
    refusal(capsys, source, target)
    assert not target.exists()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((12, 10, 9, 2), np.uint8), "has 2 channels, but a mask must have one"),
        (np.zeros((12, 10, 9), np.uint8), "mask.nii.gz is empty"),
        (np.ones((12, 10, 9), np.uint8), "their centres are 100 mm apart"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(source, target, capsys, mask, message):
    place = AFFINE.copy()
    place[0, 3] += 100 * ("apart" in message)
    save(plain(source, "a") / "mask.nii.gz", mask, place)
    assert message in refusal(capsys, source, target)


def test_a_damaged_scan_is_refused(source, target, capsys):
    path = plain(source, "a") / "dwi.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])
    assert f"{path} cannot be read" in refusal(capsys, source, target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--test-share", 1), "--test-share must be above 0 and below 1, not 1"),
        (("--test-share", 0.5, "--test-subjects", "a"), "both choose the test"),
        (("--max-b", 20), "--max-b must be above 50, not 20"),
        (("--test-subjects", "z"), "--test-subjects names z, but the source holds a, b"),
        (("--test-subjects", "a", "b"), "--test-subjects leaves no subject for training"),
    ],
)
def test_options_that_do_not_do_are_refused(source, target, capsys, options, message):
    plain(source, "a")
    plain(source, "b")
    assert message in refusal(capsys, source, target, *options, status=2)
    assert not target.exists()


def test_a_missing_package_is_named(source, target, capsys, monkeypatch):
    monkeypatch.setattr("revgan.errors.find_spec", lambda name: None)
    assert "pip install 'revgan[diffusion]'" in refusal(capsys, source, target)
