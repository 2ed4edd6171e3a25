import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from revgan.data import folders
from revgan.data.folders import (
    ImageFolder,
    ImageRef,
    Split,
    check_images,
    find_images,
    inspected,
    open_folder,
)
from revgan.data.images import SUFFIXES, ImageFormat, write_image
from revgan.errors import UserError


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
    image = save(tmp_path / "train" / "x.png", (6, 10))
    train = open_folder(tmp_path, paired=True).train
    assert np.array_equal(train.a[0].read(), image[:, :5])
    assert np.array_equal(train.b[0].read(), image[:, 5:])


def test_halving_an_odd_width_is_refused(tmp_path):
    path = tmp_path / "x.png"
    save(path, (6, 9))
    assert "width 9" in refusal(path, ImageRef(path, "left").read)
    assert ImageRef(path).read().shape == (6, 9, 3)


# Finding


def test_find_images_takes_every_suffix_and_leaves_out_hidden_files_and_folders(tmp_path):
    wanted = [f"{i}{suffix}" for i, suffix in enumerate((*SUFFIXES, ".JPG", ".Tiff"))]
    touch(tmp_path, *wanted, ".hidden.png", "._0.png", "notes.txt", "weights.npy")
    touch(tmp_path / "folder.png", "inside.png")
    assert [path.name for path in find_images(tmp_path)] == wanted


def test_a_broken_link_is_found_so_that_checking_names_it(tmp_path):
    (tmp_path / "x.png").symlink_to(tmp_path / "gone.png")
    refs = [ImageRef(path) for path in find_images(tmp_path)]
    refusal(tmp_path / "x.png", lambda: check_images(refs, 1, None))


def test_a_folder_without_images_is_refused_with_the_suffixes(tmp_path):
    touch(tmp_path, "notes.txt")
    assert ", ".join(SUFFIXES) in refusal(tmp_path, lambda: find_images(tmp_path))


@pytest.mark.parametrize("action", [find_images, lambda path: open_folder(path, paired=False)])
def test_a_missing_folder_and_a_file_are_refused(tmp_path, action):
    missing, file = tmp_path / "missing", tmp_path / "file"
    file.touch()
    assert "does not exist" in refusal(missing, lambda: action(missing))
    assert "not a folder" in refusal(file, lambda: action(file))


# Layouts


def test_two_folders_with_different_names_are_unpaired(tmp_path):
    touch(tmp_path / "trainA", "horse2.jpg", "horse1.jpg")
    touch(tmp_path / "trainB", "zebra.png")
    found = open_folder(str(tmp_path), paired=False)
    assert isinstance(found, ImageFolder)
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
    train = open_folder(tmp_path, paired).train
    assert train.aligned
    assert names(train.a) == names(train.b) == ["x", "x.k", "y"]


def test_test_images_are_aligned_only_if_their_names_match(tmp_path):
    touch(tmp_path / "trainA", "a.png")
    touch(tmp_path / "trainB", "b.png")
    touch(tmp_path / "testA", "1.png", "2.png")
    touch(tmp_path / "testB", "1.png", "2.png")
    assert open_folder(tmp_path, paired=False).test.aligned
    touch(tmp_path / "testB", "3.png")
    assert not open_folder(tmp_path, paired=False).test.aligned


@pytest.mark.parametrize("paired", [False, True])
def test_side_by_side_images_are_aligned(tmp_path, paired):
    touch(tmp_path / "train", "1.png", "2.png")
    touch(tmp_path / "test", "3.png")
    found = open_folder(tmp_path, paired)
    assert found.train.aligned
    assert found.test == Split(
        a=(ImageRef(tmp_path / "test" / "3.png", "left"),),
        b=(ImageRef(tmp_path / "test" / "3.png", "right"),),
        aligned=True,
    )


@pytest.mark.parametrize("sides", [("",), ("A", "B")], ids=["side by side", "two folders"])
def test_val_stands_in_only_where_test_is_absent(tmp_path, sides):
    for side in sides:
        touch(tmp_path / f"train{side}", "1.png")
        touch(tmp_path / f"val{side}", "from_val.png")
    found = open_folder(tmp_path, paired=True)
    assert (names(found.test.a), found.val) == (["from_val"], None)
    for side in sides:
        touch(tmp_path / f"test{side}", "from_test.png")
    found = open_folder(tmp_path, paired=True)
    assert (names(found.test.a), names(found.val.a)) == (["from_test"], ["from_val"])


@pytest.mark.parametrize(
    ("split", "remedy"), [("train", "give both folders"), ("test", "or remove testA")]
)
def test_one_domain_without_the_other_is_told_what_would_be_right(tmp_path, split, remedy):
    for side in {"trainA", "trainB", f"{split}A"} - {f"{split}B"}:
        touch(tmp_path / side, "1.png")
    with pytest.raises(UserError, match=rf"{split}B does not exist, though .* {remedy}$"):
        open_folder(tmp_path, paired=False)


def test_a_folder_in_neither_layout_is_told_both(tmp_path):
    touch(tmp_path, "1.png")
    message = refusal(tmp_path, lambda: open_folder(tmp_path, paired=False))
    assert "trainA and trainB" in message
    assert "A on the left and B on the right" in message


@pytest.mark.parametrize("name", ["train", "test"])
def test_one_of_two_folders_alone_is_refused_by_the_name_of_the_other(tmp_path, name):
    touch(tmp_path / "trainA", "1.png")
    if name == "test":
        touch(tmp_path / "trainB", "1.png")
        touch(tmp_path / "testB", "1.png")
    missing = tmp_path / ("trainB" if name == "train" else "testA")
    refusal(missing, lambda: open_folder(tmp_path, paired=False))


@pytest.mark.parametrize("name", ["train", "test"])
def test_pairs_without_partner_are_refused_with_counts_and_three_examples(tmp_path, name):
    touch(tmp_path / "trainA", "1.png")
    touch(tmp_path / "trainB", "1.png")
    touch(tmp_path / f"{name}A", "1.png", "p.png", "q.png", "r.png")
    touch(tmp_path / f"{name}B", "1.png", "s.png", "t.png")
    message = refusal(tmp_path / f"{name}A", lambda: open_folder(tmp_path, paired=True))
    assert "holds 4 images" in message
    assert f"{tmp_path / f'{name}B'} 3" in message
    assert message.endswith("p, q, r and 2 more")


def test_two_images_of_one_name_are_no_pair(tmp_path):
    touch(tmp_path / "trainA", "1.png", "1.jpg", "2.png")
    touch(tmp_path / "trainB", "1.png", "1.jpg", "2.png")
    message = refusal(tmp_path / "trainA", lambda: open_folder(tmp_path, paired=True))
    assert message.endswith("unlike 1")
    assert not open_folder(tmp_path, paired=False).train.aligned


# Checking


def refs_of(folder, count, **options):
    paths = [folder / f"{i}.png" for i in range(count)]
    for path in paths:
        save(path, **options)
    return [ImageRef(path) for path in paths]


def test_good_images_have_one_format_and_report_progress(tmp_path):
    refs = refs_of(tmp_path, 5, channels=2, dtype=np.uint16)
    done = []
    assert check_images(refs, 8, None, done.append).format == ImageFormat(channels=2, bits=16)
    assert done == [1, 2, 3, 4, 5]


def test_checking_resizes_with_one_thread_an_image_and_restores_torchs_threads(tmp_path):
    before, during = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:

        def inspect(ref):
            during.append(torch.get_num_threads())
            return inspected(ref.read())

        check_images(refs_of(tmp_path, 2), 1, None, inspect=inspect)
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.get_num_threads).result() == 3
        assert during == [1, 1]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_the_first_bad_image_in_order_is_named_whichever_is_decoded_first(tmp_path, monkeypatch):
    refs = refs_of(tmp_path, 4)
    for ref in refs[1:3]:
        ref.path.write_bytes(ref.path.read_bytes()[:-30])
    later_one_is_done = threading.Event()
    read_image = folders.read_image

    def read_the_later_first(path):
        if path == refs[1].path:
            later_one_is_done.wait(timeout=5)
        try:
            return read_image(path)
        finally:
            if path == refs[2].path:
                later_one_is_done.set()

    monkeypatch.setattr(folders, "read_image", read_the_later_first)
    monkeypatch.setattr(folders.os, "cpu_count", lambda: 4)
    message = refusal(refs[1].path, lambda: check_images(refs, 1, None))
    assert str(refs[2].path) not in message


def test_a_bad_image_stops_the_check_of_the_rest(tmp_path, monkeypatch):
    refs = refs_of(tmp_path, 1) * 1000
    calls = []
    read_image = folders.read_image

    def refuse(path):
        calls.append(path)
        image = read_image(path)
        return image.astype(np.uint16) if len(calls) == 2 else image

    monkeypatch.setattr(folders, "read_image", refuse)
    monkeypatch.setattr(folders.os, "cpu_count", lambda: 1)
    refusal(refs[0].path, lambda: check_images(refs, 1, None))
    assert len(calls) < 1000


@pytest.mark.parametrize("size", [(8, 7), (7, 8)])
def test_an_image_below_the_least_size_is_refused_with_both_sizes(tmp_path, size):
    refs = refs_of(tmp_path, 2)
    save(refs[1].path, size)
    message = refusal(refs[1].path, lambda: check_images(refs, 8, None))
    assert f"{size[1]} pixels wide and {size[0]} high" in message
    assert "at least 8" in message
    check_images(refs, 7, None)


def test_the_size_that_counts_is_that_of_the_half(tmp_path):
    path = tmp_path / "x.png"
    save(path, (8, 14))
    message = refusal(path, lambda: check_images([ImageRef(path, "right")], 8, None))
    assert "the right half of" in message
    assert "7 pixels wide" in message


def test_another_bit_depth_is_refused_naming_both_images(tmp_path):
    refs = refs_of(tmp_path, 3)
    save(refs[2].path, dtype=np.uint16)
    message = refusal(refs[2].path, lambda: check_images(refs, 1, 3))
    assert "16 bits" in message
    assert f"{refs[0].path} has 8" in message


def test_other_channels_are_refused_unless_all_are_converted(tmp_path):
    refs = refs_of(tmp_path, 3)
    save(refs[1].path, channels=4)
    message = refusal(refs[1].path, lambda: check_images(refs, 1, None))
    assert "4 channels" in message
    assert f"{refs[0].path} has 3" in message
    assert message.endswith("set data.channels_a (or data.channels_b) to convert all")
    assert check_images(refs, 1, 1).format == ImageFormat(channels=1, bits=8)


def test_checking_no_images_is_a_programming_error():
    with pytest.raises(ValueError, match="at least one image"):
        check_images([], 1, None)
