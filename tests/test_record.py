"""A run remembers its data: what changed is named before it continues."""

import os
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from revgan.cli import main
from revgan.data import cache, contents
from revgan.data.config import DataConfig
from revgan.data.contents import digest
from revgan.data.sets import open_data_set
from revgan.training.record import DataRecord

SMALL = [
    *("--generator.width", "8", "--generator.depth", "1", "--discriminator.width", "8"),
    *("--data.crop", "24", "--training.validate_every", "null", "--generator.memory", "naive"),
]


def save(path, seed):
    """An image whose file is as long for every seed."""
    values = np.random.default_rng(seed).integers(256, size=(24, 24), dtype=np.uint8)
    Image.fromarray(values).save(path)


@pytest.fixture
def images(tmp_path):
    for folder in ("trainA", "trainB"):
        (tmp_path / "images" / folder).mkdir(parents=True)
        for number in range(2):
            save(tmp_path / "images" / folder / f"{number}.bmp", number)
    return tmp_path / "images"


def change_in_secret(path):
    """Another content of the same size, with the same time as before."""
    before = path.stat()
    save(path, 100)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def record(images):
    data = open_data_set(DataConfig(path=str(images), crop=24), paired=False)
    return DataRecord.of(data, Console(quiet=True))


def test_a_run_continues_on_its_own_data_alone(images, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    resume = ["train", "--resume", str(run), "--training.steps"]
    assert main(["train", str(images), "--run", str(run), *SMALL, "--training.steps", "1"]) == 0
    moved = tmp_path / "moved"
    shutil.move(images, moved)
    place = ["--data.path", str(moved)]
    assert record(moved) == DataRecord.read(run / "data.json")  # only the place has changed
    change_in_secret(moved / "trainA" / "0.bmp")
    (moved / "trainA" / "1.bmp").rename(moved / "trainA" / "2.bmp")
    capsys.readouterr()
    assert main([*resume, "2", *place]) == 1
    assert (
        "aren't those that it began with: 0.bmp of train A is changed; 1.bmp of train A is missing;"
        " 2.bmp of train A is new; restore them, or add --accept-new-data"
    ) in capsys.readouterr().err
    assert main([*resume, "2", *place, "--accept-new-data"]) == 0
    assert record(moved) == DataRecord.read(run / "data.json")  # from here on


def test_accepting_new_data_needs_a_run_that_continues(images, capsys):
    assert main(["train", str(images), "--accept-new-data"]) == 2
    assert "--accept-new-data is for a run that continues" in capsys.readouterr().err


def test_a_record_comes_back_as_it_was_and_a_damaged_one_is_named(images, tmp_path):
    path, now = tmp_path / "data.json", record(images)
    assert DataRecord.read(path) is None
    now.write(path)
    assert DataRecord.read(path) == now
    path.write_text('{"train A": 3}')
    with pytest.warns(UserWarning, match=r"data\.json is damaged"):
        assert DataRecord.read(path) is None


def test_digests_are_known_to_later_processes_until_a_file_changes(images, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "_computed", Counter())
    monkeypatch.setattr(contents, "LONG", 1)
    monkeypatch.setattr(contents, "SETTLED", -1e9)
    path = images / "trainA" / "0.bmp"
    first = digest(path)
    contents.keep()
    (memo,) = (tmp_path / "cache" / "revgan" / "digests").iterdir()
    monkeypatch.setattr(contents, "_known", {})
    memo.write_text(memo.read_text().replace(first, "0" * 64))
    assert digest(path) == "0" * 64  # not computed again
    change_in_secret(path)
    assert digest(path) not in (first, "0" * 64)
    monkeypatch.setattr(contents, "_known", {})
    memo.write_text("{" * 3000)
    assert len(digest(images / "trainA" / "1.bmp")) == 64


def test_a_file_that_was_just_written_is_read_again(images, monkeypatch):
    monkeypatch.setattr(contents, "SETTLED", 1e9)  # a clock so coarse that no time tells anything
    path = images / "trainA" / "0.bmp"
    assert digest(path) == digest(path)
    assert path.name not in contents._known[path.parent]


def test_the_cache_knows_contents(images, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = images / "trainA" / "0.bmp"
    before = cache.entry([path], "how")
    copy = tmp_path / "copy.bmp"
    shutil.copy(path, copy)
    assert cache.entry([copy], "how") == before
    change_in_secret(path)
    assert cache.entry([path], "how") != before


@pytest.mark.parametrize("damage", ["cut", "lost", "garbage"])
def test_a_damaged_entry_of_the_cache_is_named_and_made_again(
    images, tmp_path, monkeypatch, damage
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = DataConfig(path=str(images), crop=24, cache="disk")
    data = open_data_set(config, paired=False)
    ref = data.a.train[0]
    values = data.a.load(ref)
    for place in cache.folder().iterdir():
        file = place / "values.npy"
        content = file.read_bytes()
        if damage == "lost":
            file.unlink()
        else:
            file.write_bytes(content[:-7] if damage == "cut" else b"garbage")
    with pytest.warns(UserWarning, match="is damaged .* and made again"):
        again = open_data_set(config, paired=False)
    assert again.a.load(ref).equal(values)
