import numpy as np
import pytest

from revgan.data.folders import Folder, Split, open_folder
from revgan.data.formats import suffixes
from revgan.data.formats.registry import families
from revgan.data.refs import ScanRef, find_scans
from revgan.errors import UserError
from scans import write_image


def save(path, size=(8, 8), channels=3, dtype=np.uint8):
    """Writes an image of random values and returns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    maximum = np.iinfo(dtype).max
    image = np.random.default_rng(0).integers(0, maximum + 1, (*size, channels), dtype)
    write_image(path, image)
    return image


def touch(folder, *names):
    """Makes a folder of files that nobody will read."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def names(refs):
    return [ref.name for ref in refs]


def refusal(named, action):
    """The message of the UserError, after what all of them promise."""
    with pytest.raises(UserError) as caught:
        action()
    message = str(caught.value)
    assert str(named) in message
    assert "\n" not in message
    assert not message.endswith(".")
    return message


# Images and halves


def test_the_left_half_is_a_and_the_right_half_is_b(tmp_path):
    pixels = np.moveaxis(save(tmp_path / "train" / "x.png", (6, 10)), -1, 0)
    train = open_folder(tmp_path, 2, paired=True).train
    assert np.array_equal(train.a[0].read().values, pixels[..., :5])
    assert np.array_equal(train.b[0].read().values, pixels[..., 5:])


def test_halving_an_odd_width_is_refused(tmp_path):
    path = tmp_path / "x.png"
    save(path, (6, 9))
    assert "width of 9" in refusal(path, ScanRef(path, "left").read)
    assert ScanRef(path).read().shape == (6, 9)


# Finding


def test_find_scans_takes_every_suffix_and_leaves_out_hidden_files_and_folders(tmp_path):
    files = dict.fromkeys(
        s for f in families() if 2 in f.spatial_dims and not f.folder for s in f.suffixes
    )
    wanted = [f"{i:02}{suffix}" for i, suffix in enumerate((*files, ".JPG", ".Tiff"))]
    touch(tmp_path, *wanted, ".hidden.png", "._0.png", "notes.txt", "weights.nii")
    touch(tmp_path / "folder.png", "inside.png")
    found = find_scans(tmp_path, 2)
    assert [ref.path.name for ref in found.refs] == wanted
    assert {path.name: reason for path, reason in found.passed} == {
        "notes.txt": ".txt isn't a format for images",
        "weights.nii": "a volume by its suffix",
        "folder.png": "a folder; data.recursive true descends",
    }


def test_a_folder_without_images_is_refused_with_the_suffixes(tmp_path):
    touch(tmp_path, "notes.txt")
    assert ", ".join(suffixes(2)) in refusal(tmp_path, lambda: find_scans(tmp_path, 2))


@pytest.mark.parametrize(
    "action", [lambda path: find_scans(path, 2), lambda path: open_folder(path, 2, paired=False)]
)
def test_a_missing_folder_and_a_file_are_refused(tmp_path, action):
    missing, file = tmp_path / "missing", tmp_path / "file"
    file.touch()
    assert "does not exist" in refusal(missing, lambda: action(missing))
    assert "not a folder" in refusal(file, lambda: action(file))


# Layouts


def test_two_folders_with_different_names_are_unpaired(tmp_path):
    touch(tmp_path / "trainA", "horse2.jpg", "horse1.jpg")
    touch(tmp_path / "trainB", "zebra.png")
    found = open_folder(str(tmp_path), 2, paired=False)
    assert isinstance(found, Folder)
    assert found.root == tmp_path
    assert names(found.train.a) == ["horse1", "horse2"]
    assert names(found.train.b) == ["zebra"]
    assert not found.train.aligned
    assert found.test is None


@pytest.mark.parametrize("paired", [False, True])
def test_two_folders_with_equal_names_are_aligned_whatever_their_suffixes(tmp_path, paired):
    # By whole file names, x would come before x.k in A (j before k), but after it in B.
    touch(tmp_path / "trainA", "x.jpg", "x.k.jpg", "y.tif")
    touch(tmp_path / "trainB", "y.JPG", "x.k.png", "x.png")
    train = open_folder(tmp_path, 2, paired=paired).train
    assert train.aligned
    assert names(train.a) == names(train.b) == ["x", "x.k", "y"]


def test_test_images_are_aligned_only_if_their_names_match(tmp_path):
    touch(tmp_path / "trainA", "a.png")
    touch(tmp_path / "trainB", "b.png")
    touch(tmp_path / "testA", "1.png", "2.png")
    touch(tmp_path / "testB", "1.png", "2.png")
    assert open_folder(tmp_path, 2, paired=False).test.aligned
    touch(tmp_path / "testB", "3.png")
    assert not open_folder(tmp_path, 2, paired=False).test.aligned


@pytest.mark.parametrize("paired", [False, True])
def test_side_by_side_images_are_aligned(tmp_path, paired):
    touch(tmp_path / "train", "1.png", "2.png")
    touch(tmp_path / "test", "3.png")
    found = open_folder(tmp_path, 2, paired=paired)
    assert found.train.aligned
    assert found.test == Split(
        a=(ScanRef(tmp_path / "test" / "3.png", "left"),),
        b=(ScanRef(tmp_path / "test" / "3.png", "right"),),
        aligned=True,
    )


@pytest.mark.parametrize("sides", [("",), ("A", "B")], ids=["side by side", "two folders"])
def test_val_stands_in_only_where_test_is_absent(tmp_path, sides):
    for side in sides:
        touch(tmp_path / f"train{side}", "1.png")
        touch(tmp_path / f"val{side}", "from_val.png")
    found = open_folder(tmp_path, 2, paired=True)
    assert (names(found.test.a), found.val) == (["from_val"], None)
    for side in sides:
        touch(tmp_path / f"test{side}", "from_test.png")
    found = open_folder(tmp_path, 2, paired=True)
    assert (names(found.test.a), names(found.val.a)) == (["from_test"], ["from_val"])


@pytest.mark.parametrize(
    ("split", "remedy"), [("train", "give both folders"), ("test", "or remove testA")]
)
def test_one_domain_without_the_other_is_told_what_would_be_right(tmp_path, split, remedy):
    for side in {"trainA", "trainB", f"{split}A"} - {f"{split}B"}:
        touch(tmp_path / side, "1.png")
    with pytest.raises(UserError, match=rf"{split}B does not exist, though .* {remedy}$"):
        open_folder(tmp_path, 2, paired=False)


def test_a_folder_in_neither_layout_is_told_both(tmp_path):
    touch(tmp_path, "1.png")
    message = refusal(tmp_path, lambda: open_folder(tmp_path, 2, paired=False))
    assert "trainA and trainB" in message
    assert "A on the left and B on the right" in message


@pytest.mark.parametrize("name", ["train", "test"])
def test_one_of_two_folders_alone_is_refused_by_the_name_of_the_other(tmp_path, name):
    touch(tmp_path / "trainA", "1.png")
    if name == "test":
        touch(tmp_path / "trainB", "1.png")
        touch(tmp_path / "testB", "1.png")
    missing = tmp_path / ("trainB" if name == "train" else "testA")
    refusal(missing, lambda: open_folder(tmp_path, 2, paired=False))


@pytest.mark.parametrize("name", ["train", "test"])
def test_pairs_without_partner_are_refused_with_counts_and_three_examples(tmp_path, name):
    touch(tmp_path / "trainA", "1.png")
    touch(tmp_path / "trainB", "1.png")
    touch(tmp_path / f"{name}A", "1.png", "p.png", "q.png", "r.png")
    touch(tmp_path / f"{name}B", "1.png", "s.png", "t.png")
    message = refusal(tmp_path / f"{name}A", lambda: open_folder(tmp_path, 2, paired=True))
    assert "holds 4 images" in message
    assert f"{tmp_path / f'{name}B'} 3" in message
    assert "p, q, r and 2 more; name partners alike" in message


def test_two_images_of_one_name_are_no_pair(tmp_path):
    touch(tmp_path / "trainA", "1.png", "1.jpg", "2.png")
    touch(tmp_path / "trainB", "1.png", "1.jpg", "2.png")
    message = refusal(tmp_path / "trainA", lambda: open_folder(tmp_path, 2, paired=True))
    assert "unlike 1; name partners alike" in message
    assert not open_folder(tmp_path, 2, paired=False).train.aligned


def test_volumes_put_into_train_are_not_halved(tmp_path):
    (tmp_path / "train").mkdir()
    np.save(tmp_path / "train" / "1.npy", np.zeros((4, 4, 4), np.float32))
    with pytest.raises(
        UserError,
        match=r"it needs the folders trainA and trainB, or the options data\.a and data\.b",
    ):
        open_folder(tmp_path, 3, paired=False)
