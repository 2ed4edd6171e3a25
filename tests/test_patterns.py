"""Scans by patterns: which belong together, what is passed over, what is held out."""

import numpy as np
import pytest

from revgan.data.config import DataConfig
from revgan.data.folders import hold_out, open_folder, open_patterns
from revgan.data.formats import Header, create
from revgan.data.patterns import found_by, matches
from revgan.data.refs import ScanRef, find_scans
from revgan.data.sets import locate
from revgan.errors import Notice, UserError
from test_folders import names, refusal, touch


def bids(root, subjects=("01", "02", "03"), suffixes=("T1w", "T2w")):
    for subject in subjects:
        folder = root / f"sub-{subject}" / "anat"
        touch(folder, *(f"sub-{subject}_{suffix}.nii.gz" for suffix in suffixes))
    return root


def opened(root, a, b, *, paired=True, dims=3, **more):
    def several(patterns):
        return (patterns,) if isinstance(patterns, str) else patterns

    return open_patterns(root, {"train": (several(a), several(b))}, dims, paired=paired, **more)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("sub-*/anat/*_T1w.nii.gz", [("01", "sub-01"), ("02", "sub-02"), ("03", "sub-03")]),
        ("sub-0?/anat/sub-*_T2w.*", [("1", "01", "nii.gz"), ("2", "02", "nii.gz"),
                                      ("3", "03", "nii.gz")]),
        ("**/*_T1w.nii.gz", [("sub-01/anat", "sub-01"), ("sub-02/anat", "sub-02"),
                             ("sub-03/anat", "sub-03")]),
        ("sub-02/anat/sub-02_T1w.nii.gz", [()]),
        ("sub-[0]*/anat/*", []),
    ],
)  # fmt: skip
def test_wildcards_stand_for_parts_of_names(tmp_path, pattern, expected):
    bids(tmp_path)
    touch(tmp_path / "sub-02" / "anat", ".sub-02_T1w.nii.gz")
    assert [key for key, _ in matches(tmp_path, pattern)] == expected
    assert [key for key, _ in matches("/", f"{tmp_path}/{pattern}")] == expected


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("sub-*/anat/*_T1w.nii.gz", "sub-*/anat/*_T2w.nii.gz"),
        ("sub-*/anat/*_T1w.nii.gz", "*/anat/*_T2w.nii.gz"),
        ("**/*_T1w.nii.gz", "*/anat/sub-*_T2w.nii.gz"),
    ],
)
def test_pairs_are_of_one_subject_however_many_wildcards_there_are(tmp_path, a, b):
    train = opened(bids(tmp_path), a, b).train
    assert train.aligned
    for refs in (train.a, train.b):
        assert [ref.path.name[:6] for ref in refs] == ["sub-01", "sub-02", "sub-03"]


def test_folders_side_by_side_are_matched_by_the_names_of_their_files(tmp_path):
    touch(tmp_path / "A" / "train", "x.nii.gz", "y.nii.gz")
    touch(tmp_path / "B" / "train", "y.mha", "x.nrrd")
    for a, b in (("A/train", "B/train"), ("A/train/*", "B/train/*.*")):
        train = opened(tmp_path, a, b).train
        assert [ref.path.name for ref in train.a] == ["x.nii.gz", "y.nii.gz"]
        assert [ref.path.name for ref in train.b] == ["x.nrrd", "y.mha"]


def test_a_file_that_any_folders_lead_to_in_two_ways_is_one_scan(tmp_path):
    touch(tmp_path / "d" / "a", "0.png", "1.png")
    found, _ = found_by(tmp_path, "d/**/*", 2)
    assert sorted(ref.path.name for ref in found.values()) == ["0.png", "1.png"]


def test_what_has_no_partner_is_named_and_unpaired_it_is_taken(tmp_path):
    bids(tmp_path)
    touch(tmp_path / "sub-04" / "anat", "sub-04_T1w.nii.gz", "sub-04_T1w.json")
    a, b = "sub-*/anat/*_T1w.*", "sub-*/anat/*_T2w.*"
    with pytest.warns(Notice) as told:
        train = opened(tmp_path, a, b).train
    assert len(train.a) == len(train.b) == 3
    said = " ".join(str(each.message) for each in told)
    assert "1 file is skipped" in said
    assert "(nothing in B belongs to it): sub-04/anat/sub-04_T1w.nii.gz" in said
    assert "(.json isn't a format for volumes): sub-04/anat/sub-04_T1w.json" in said
    with pytest.warns(Notice, match="json"):
        train = opened(tmp_path, a, b, paired=False).train
    assert (len(train.a), len(train.b), train.aligned) == (4, 3, False)


def test_patterns_that_find_or_match_nothing_are_refused(tmp_path):
    bids(tmp_path)
    touch(tmp_path / "other", "x.nii.gz")
    for a, b, expected in (
        ("*_T1w.nii.gz", "**/*_T2w.nii.gz", "no volumes that match the pattern *_T1w.nii.gz"),
        ("sub-*/anat/*_T1w.nii.gz", "other/*", "no scans belong together"),
    ):
        with pytest.raises(UserError, match=r"pattern|wildcards") as caught:
            opened(tmp_path, a, b)
        assert expected in str(caught.value)


def save(path, values, dtype, nodata=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(values, dtype)
    with create(path, Header(len(values), values.shape[1:], values.dtype, np.eye(4))) as file:
        file.write(values)


def test_several_patterns_are_channels_of_one_scan_on_one_grid(tmp_path):
    random = np.random.default_rng(0)
    one, two = random.integers(0, 99, (2, 1, 4, 5, 6))
    for subject in ("1", "2"):
        save(tmp_path / subject / "t1.nii.gz", one, np.int16)
        save(tmp_path / subject / "t2.mha", two / 2, np.float32)
    save(tmp_path / "2" / "ct.nii.gz", one, np.int16)
    save(tmp_path / "1" / "ct.nii.gz", one, np.int16)
    (first, _) = opened(tmp_path, ("*/t1.*", "*/t2.*"), "*/ct.*").train.a
    scan, header = first.read(3), first.header(3)
    np.testing.assert_array_equal(scan.values, np.concatenate([one, two / 2]))
    assert (header.channels, header.dtype) == (2, scan.values.dtype)
    assert first.files == [tmp_path / "1" / "t1.nii.gz", tmp_path / "1" / "t2.mha"]
    save(tmp_path / "1" / "t2.mha", two[:, :3], np.float32)
    assert "aren't on one grid" in refusal(tmp_path / "1" / "t1.nii.gz", lambda: first.read(3))


# What is held out


@pytest.mark.parametrize("paired", [True, False])
def test_subjects_are_held_out_whole_and_later_ones_change_little(tmp_path, paired):
    for side in "AB":
        touch(tmp_path / f"train{side}", *(f"{n:02}.nii.gz" for n in range(20)))
    folder = open_folder(tmp_path, 3, paired=paired)
    held = hold_out(folder, 0.2, 0.1)
    assert [len(split.a) for split in (held.train, held.test, held.val)] == [14, 4, 2]
    for split in (held.train, held.test, held.val):
        assert names(split.a) == names(split.b)
    assert set(names(held.test.a)).isdisjoint(names(held.train.a))
    for side in "AB":
        touch(tmp_path / f"train{side}", "20.nii.gz")
    again = hold_out(open_folder(tmp_path, 3, paired=paired), 0.2, 0.1)
    assert len(set(names(again.test.a)) & set(names(held.test.a))) >= 3
    assert hold_out(folder, 0, 0) == folder
    with pytest.raises(UserError, match="too few subjects"):
        hold_out(folder, 0.5, 0.6)


def test_all_of_a_subjects_scans_are_on_one_side(tmp_path):
    for subject in range(6):
        for run in range(3):
            name = f"sub-{subject}_run-{run}"
            touch(tmp_path / f"sub-{subject}", f"{name}_T1w.nii", f"{name}_T2w.nii")
    config = DataConfig(
        path=str(tmp_path), spatial_dims=3, crop=8, a="sub-*/*_T1w.nii", b="sub-*/*_T2w.nii",
        test_share=0.34,
    )  # fmt: skip
    folder = locate(config, paired=True)
    assert (len(folder.train.a), len(folder.test.a)) == (12, 6)
    subjects = {ref.path.parent.name for ref in folder.test.a + folder.test.b}
    assert subjects.isdisjoint(ref.path.parent.name for ref in folder.train.a + folder.train.b)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"a": "x*"}, "b must be given"),
        ({"a": "x*", "b": "y*", "test_b": "z"}, "test_a must be given"),
        ({"test_a": "x*", "test_b": "y"}, "do nothing without a and b"),
        ({"a": "", "b": "y"}, "must not be empty"),
        ({"test_share": 1.0}, "from 0 to below 1"),
        ({"slices": "oblique"}, "slices must be null or one of axial"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, expected):
    with pytest.raises(ValueError, match=expected):
        DataConfig(**options)


# Folders in folders, and what belongs to other files


def test_folders_inside_are_mentioned_and_looked_into_if_wanted(tmp_path):
    touch(tmp_path / "site1" / "a", "x.nii.gz")
    touch(tmp_path / "site2", "x.nii.gz", "y.nii.gz")
    touch(tmp_path, "x.nii.gz")
    (tmp_path / "site2" / "loop").symlink_to(tmp_path)
    found = find_scans(tmp_path, 3)
    assert names(found.refs) == ["x"]
    with pytest.warns(Notice, match=r"2 folders are skipped .*recursive.*: site1, site2$"):
        found.tell()
    found = find_scans(tmp_path, 3, recursive=True)
    assert names(found.refs) == ["site1/a/x", "site2/x", "site2/y", "x"]
    assert found.refs[0].file_name == "site1/a/x.nii.gz"
    assert [(path.name, reason) for path, reason in found.passed] == [
        ("loop", "a link to a folder that it is in")
    ]


def test_files_that_hold_the_values_of_others_are_no_scans_of_their_own(tmp_path):
    touch(tmp_path, "a.hdr", "a.img", "b.PAR", "b.REC", "c+orig.HEAD", "c+orig.BRIK.gz", "d.mhd",
          "d.raw", "e.nhdr", "e.raw.gz", "f.img", "g.raw")  # fmt: skip
    found = find_scans(tmp_path, 3)
    assert [ref.path.name for ref in found.refs] == [
        "a.hdr", "b.PAR", "c+orig.HEAD", "d.mhd", "e.nhdr", "f.img"
    ]  # fmt: skip
    assert [path.name for path, _ in found.passed] == ["g.raw"]


def test_what_is_passed_over_is_counted_and_named_up_to_ten(tmp_path):
    touch(tmp_path, "x.png", *(f"{n:03}.json" for n in range(1234)))
    with pytest.warns(Notice) as told:
        find_scans(tmp_path, 2).tell()
    (notice,) = told
    assert "1,234 files are skipped" in str(notice.message)
    assert str(notice.message).endswith("000.json, 001.json, 002.json, 003.json, 004.json, "
                                        "005.json, 006.json, 007.json, 008.json, 009.json and "
                                        "1,224 more")  # fmt: skip


def test_a_pattern_may_lead_to_a_folder_of_scans(tmp_path):
    touch(tmp_path / "p1" / "ct", "1.nii", "2.nii")
    found, _ = found_by(tmp_path, "*/ct", 3)
    assert sorted(found) == [("p1", "1"), ("p1", "2")]
    assert all(isinstance(ref, ScanRef) for ref in found.values())
