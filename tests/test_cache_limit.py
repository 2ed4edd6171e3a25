"""The bound on caches: what goes, what stays, and who is asked."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from revgan.data import cache_limit
from revgan.data.cache_limit import LIMIT, make_room, use
from revgan.errors import UserError

SIZE = 1000


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of four entries, the last used of which is d, within a bound of four."""
    folder = tmp_path / "cache" / "volumes"
    for age, name in enumerate("dcba", start=1):
        (folder / name).mkdir(parents=True)
        (folder / name / "values.npy").write_bytes(bytes(SIZE))
        os.utime(folder / name, (time.time() - age, time.time() - age))
    monkeypatch.setenv(LIMIT, str(4 * SIZE / 1e9))
    return folder


def names(cache):
    return "".join(sorted(path.name for path in cache.iterdir()))


def end_of_the_process(cache):
    """What the system does at the end of a process: it drops the locks of its files."""
    cache_limit._leases.pop(cache).close()


@pytest.mark.parametrize(("size", "left"), [(0, "abcd"), (1, "bcd"), (SIZE, "bcd"), (1001, "cd")])
def test_what_was_used_longest_ago_goes_until_the_new_entry_fits(cache, size, left):
    make_room(cache, size)
    assert names(cache) == left


def test_what_was_used_again_goes_last(cache):
    use(cache / "a")
    end_of_the_process(cache)
    make_room(cache, 2 * SIZE)
    assert names(cache) == "ad"


def test_what_this_process_uses_stays_even_beyond_the_bound(cache, monkeypatch):
    for name in "ac":
        use(cache / name)
    make_room(cache, 100 * SIZE)
    assert names(cache) == "ac"
    monkeypatch.setenv(LIMIT, "0")
    make_room(cache, 0)
    assert names(cache) == "ac"


def test_an_entry_that_is_yet_to_be_made_may_be_claimed(cache):
    use(cache / "e")
    (cache / "e").mkdir()
    make_room(cache, 100 * SIZE)
    assert names(cache) == "e"


def test_what_another_process_uses_stays_until_it_ends_even_if_killed(cache):
    code = (
        "import sys, time; from pathlib import Path; from revgan.data.cache_limit import use; "
        "use(Path(sys.argv[1])); print(flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(cache / "a")]
    source = Path(cache_limit.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout.readline()
        make_room(cache, 100 * SIZE)
        assert names(cache) == "a"
        other.send_signal(signal.SIGKILL)
    make_room(cache, 100 * SIZE)
    assert names(cache) == ""
    locks = cache.with_name("volumes.locks")
    assert [path.name for path in locks.iterdir()] == ["lock"]  # no trace of ended processes


def test_what_a_killed_process_left_unfinished_goes_after_a_day(cache):
    for name in (".making-old", ".making-new"):
        (cache / name).mkdir()
    long_ago = time.time() - cache_limit.ABANDONED - 60
    os.utime(cache / ".making-old", (long_ago, long_ago))
    make_room(cache, 0)
    assert sorted(path.name for path in cache.glob(".*")) == [".making-new"]


def test_where_there_are_no_locks_nothing_goes(cache, monkeypatch):
    def no_locks(*_, **__):
        raise OSError("No locks available")

    monkeypatch.setattr(cache_limit, "_lock", no_locks)
    use(cache / "a")
    make_room(cache, 100 * SIZE)
    assert names(cache) == "abcd"


@pytest.mark.parametrize("text", ["lots", "-1", "nan", "inf"])
def test_a_bound_that_is_none_is_refused(cache, monkeypatch, text):
    monkeypatch.setenv(LIMIT, text)
    with pytest.raises(UserError, match=f"REVGAN_CACHE_GB must be a number of GB .* not '{text}'"):
        make_room(cache, 0)


def test_a_bound_that_is_empty_is_the_default(monkeypatch):
    monkeypatch.setenv(LIMIT, "")
    assert cache_limit.cache_limit() == 100_000_000_000
