import errno
import os
import time

import pytest

from revgan.files import ABANDONED, remove_abandoned, replacing, write_text


def test_an_error_names_the_file_that_was_meant(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write_text(tmp_path / "missing" / "config.yaml", "text")
    assert caught.value.filename == str(tmp_path / "missing" / "config.yaml")
    assert ".part" not in str(caught.value)


def test_a_place_taken_by_a_folder_is_named_and_nothing_is_left_beside_it(tmp_path):
    (tmp_path / "config.yaml").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path / "config.yaml", "text")
    assert ".part" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_full_disk_names_the_file_which_the_system_does_not(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_text(tmp_path / "config.yaml", "text")
    assert caught.value.filename == str(tmp_path / "config.yaml")


def test_a_full_disk_that_numpy_has_no_number_for_is_said(tmp_path):
    with pytest.raises(OSError, match="No space left") as error, replacing(tmp_path / "x.npy"):
        raise OSError("13824 requested and 3968 written")  # as `ndarray.tofile` says it
    assert error.value.filename == str(tmp_path / "x.npy")


def test_names_that_are_not_utf8_are_written_as_escapes(tmp_path):
    write_text(tmp_path / "x.txt", "r\udcff")
    assert (tmp_path / "x.txt").read_text() == r"r\udcff"


def test_what_a_killed_process_left_goes_after_a_day(tmp_path):
    old, new = "0" * 32, "1" * 32
    for name in (f".{old}.part.png", f".{new}.part.png", ".hidden.part.png", "a.png"):
        (tmp_path / name).touch()
    (tmp_path / f".{old}.former" / "inside").mkdir(parents=True)
    long_ago = time.time() - ABANDONED - 60
    for path in tmp_path.iterdir():
        if new not in path.name:
            os.utime(path, (long_ago, long_ago))
    remove_abandoned(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f".{new}.part.png", ".hidden.part.png", "a.png"}
