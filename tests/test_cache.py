"""The bound on the cache: what goes, and what stays."""

import ast
import os
import time

import numpy as np
import pytest

from revgan.data import cache as disk
from revgan.data import formats
from revgan.data.cache import LIMIT, make_room
from revgan.data.mapped import parsing
from revgan.errors import UserError

SIZE = 1000


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of four entries, the last used of which is d, within a bound of four."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = disk.folder()
    for age, name in enumerate("dcba", start=1):
        (folder / name).mkdir(parents=True)
        (folder / name / "values.npy").write_bytes(bytes(SIZE))
        os.utime(folder / name, (time.time() - age, time.time() - age))
    monkeypatch.setenv(LIMIT, str(4 * SIZE / 1e9))
    return folder


def names(cache):
    return "".join(sorted(path.name for path in cache.iterdir()))


@pytest.mark.parametrize(("size", "left"), [(0, "abcd"), (1, "bcd"), (SIZE, "bcd"), (1001, "cd")])
def test_what_was_used_longest_ago_goes_until_the_new_entry_fits(cache, size, left):
    make_room(size)
    assert names(cache) == left


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "x.png"
    path.touch()
    return path


def saved(file, what):
    place = disk.entry([file], what)
    disk.save(place, {"values": np.zeros(SIZE, np.uint8)}, file)
    return place


def test_what_was_used_again_goes_last(cache, file, monkeypatch):
    place = saved(file, "e")
    os.utime(place, (0, 0))
    monkeypatch.setattr(disk, "_used", set())  # as in another process
    make_room(0)
    assert not place.exists()
    place = saved(file, "e")
    os.utime(place, (0, 0))
    disk.entry([file], "e")
    monkeypatch.setattr(disk, "_used", set())
    make_room(2 * SIZE)  # so that of five, one may stay
    assert names(cache) == place.name


def test_what_this_process_uses_stays_even_beyond_the_bound(cache, file, monkeypatch):
    monkeypatch.setenv(LIMIT, "0")
    places = {saved(file, what) for what in "ef"}
    make_room(100 * SIZE)
    assert set(cache.iterdir()) == places


def test_entries_are_the_same_arrays_or_none(cache, file):
    place = saved(file, "e")
    assert np.array_equal(disk.load(place)["values"], np.zeros(SIZE, np.uint8))
    assert disk.load(disk.entry([file], "f")) is None


def test_room_is_made_while_entries_are_written(cache, file):
    for what in range(8):
        saved(file, what)
    assert not {"a", "b", "c", "d"} & {path.name for path in cache.iterdir()}


def test_what_a_killed_process_left_unfinished_goes_after_a_day(cache):
    for name in (".making-old", ".making-new"):
        (cache / name).mkdir()
    long_ago = time.time() - disk.ABANDONED - 60
    os.utime(cache / ".making-old", (long_ago, long_ago))
    make_room(0)
    assert sorted(path.name for path in cache.glob(".*")) == [".making-new"]


@pytest.mark.parametrize("text", ["lots", "-1", "nan", "inf"])
def test_a_bound_that_is_none_is_refused(cache, monkeypatch, text):
    monkeypatch.setenv(LIMIT, text)
    with pytest.raises(UserError, match=f"REVGAN_CACHE_GB must be a number of GB .* not '{text}'"):
        make_room(0)


def test_a_bound_that_is_empty_is_the_default(monkeypatch):
    monkeypatch.setenv(LIMIT, "")
    assert disk.limit() == 100_000_000_000


def test_one_thread_at_a_time_parses_headers(tmp_path, monkeypatch):
    parse, parsed = ast.literal_eval, []

    def watched(text):
        parsed.append(parsing.locked())
        return parse(text)

    monkeypatch.setattr(ast, "literal_eval", watched)  # by which NumPy does
    np.save(tmp_path / "a.npy", np.zeros((4, 5)))
    assert disk.load(tmp_path)["a"].shape == (4, 5)
    with formats.create(tmp_path / "b.npy", formats.probe(tmp_path / "a.npy", 2)) as file:
        file.write(np.ones((1, 4, 5)))
    assert formats.read(tmp_path / "b.npy", 2).values.min() == 1
    assert parsed
    assert all(parsed)
