"""Prepared scans, kept in memory or on the disk: the same bits, and read once."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from revgan.data import cache as disk
from revgan.data.config import DataConfig
from revgan.data.formats.files import OpenScan
from revgan.data.labels import LabelClass, Palette
from revgan.data.recipe import Recipe
from revgan.data.refs import ScanRef
from revgan.data.sampling import Steps, TrainingSamples
from revgan.data.sets import open_data_set
from revgan.data.store import DiskStore, MemoryStore, Room
from revgan.errors import UserError
from scans import write_image

CACHES = ["memory", "disk"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def image(number=0, size=(36, 40), channels=3, dtype=np.uint8):
    draws = np.random.default_rng(number)
    return draws.integers(0, np.iinfo(dtype).max + 1, (*size, channels), dtype)


def make_folder(root, suffix=".png", **options):
    for place, name in enumerate(("trainA", "trainB", "testA", "testB")):
        (root / name).mkdir(parents=True)
        for number in range(3):
            write_image(root / name / f"{number}{suffix}", image(10 * place + number, **options))
    return root


def opened(root, cache="none", *, paired=False, memory=None, **options):
    config = DataConfig(path=str(root), cache=cache, **{"crop": 32} | options)
    return open_data_set(config, paired=paired, memory=memory), config


def everything(root, cache, *, paired=False, **options):
    """All that is ever read of a data set."""
    data, config = opened(root, cache, paired=paired, **options)
    for domain in (data.a, data.b):
        for ref in (*domain.train, *domain.test):
            yield domain.load(ref)
            yield domain.load_middle(ref, 20)
    for pair in map(TrainingSamples(data, config, paired=paired, seed=0).__getitem__, range(6)):
        yield from pair


def fail(scan, window=None):
    raise AssertionError(f"{scan} was decoded again")


def require_same(root, cache, monkeypatch, **options):
    """A cache gives the same bits as none, and once the disk has them, decodes nothing."""
    expected = list(everything(root, "none", **options))
    assert all(map(torch.equal, everything(root, cache, **options), expected))
    if cache == "disk":
        monkeypatch.setattr(OpenScan, "read", fail)
        assert all(map(torch.equal, everything(root, cache, **options), expected))


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("resize", [None, 33, 50])
@pytest.mark.parametrize(
    "kept",
    [
        {"channels": 3},
        {"channels": 1, "dtype": np.uint16},
        {"channels": 4, "suffix": ".tif"},
        {"channels": 3, "suffix": ".jpg"},
    ],
    ids=str,
)
def test_kept_images_are_the_same_bits(tmp_path, monkeypatch, cache, resize, kept):
    require_same(make_folder(tmp_path / "set", **kept), cache, monkeypatch, resize=resize)


@pytest.mark.parametrize("cache", CACHES)
def test_converted_channels_are_kept(tmp_path, monkeypatch, cache):
    root = make_folder(tmp_path / "set", channels=4)
    require_same(root, cache, monkeypatch, channels_a=1, channels_b=3)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("resize", [None, 34])
def test_halves_of_a_file_are_kept_apart(tmp_path, monkeypatch, cache, resize):
    for folder in ("train", "test"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        for number in range(3):
            write_image(tmp_path / "set" / folder / f"{number}.png", image(number, (36, 80)))
    require_same(tmp_path / "set", cache, monkeypatch, paired=True, resize=resize)


@pytest.mark.parametrize("cache", CACHES)
def test_label_maps_stay_flat_and_small(tmp_path, monkeypatch, cache):
    root = make_folder(tmp_path / "set")
    Palette("B", (LabelClass("x", (0, 0, 0)), LabelClass("y", (9, 9, 9)))).write(root)
    require_same(root, cache, monkeypatch, resize=50)
    domain = opened(root, cache, resize=50)[0].b
    assert domain.prepared(ScanRef(root / "trainB" / "0.png")).values.dtype == np.uint8


@pytest.mark.parametrize(("resize", "itemsize"), [(None, 1), (34, 4)])
def test_memory_is_counted_at_the_files_precision_or_float32(tmp_path, resize, itemsize):
    data, _ = opened(make_folder(tmp_path / "set"), "memory", resize=resize)
    height, width = (36, 40) if resize is None else (34, 38)
    assert data.kept == 12 * height * width * 3 * itemsize


def test_halves_do_not_hold_on_to_the_whole_file(tmp_path):
    write_image(tmp_path / "x.png", image(size=(8, 16)))
    store, room = memory_store()
    store.inspect(ScanRef(tmp_path / "x.png", "left"))
    assert room.taken == 8 * 8 * 3
    assert store.get(ScanRef(tmp_path / "x.png", "left")).values.base is None


def memory_store():
    room = Room(None, 1)
    return MemoryStore(Recipe(DataConfig(crop=4)), room), room


def pixels(store, ref):
    """(H, W, C)."""
    return np.moveaxis(store.get(ref).values, 0, -1)


@pytest.mark.parametrize("cache", CACHES)
def test_workers_do_not_decode(tmp_path, monkeypatch, cache):
    root = make_folder(tmp_path / "set")
    data, config = opened(root, cache)
    expected = TrainingSamples(opened(root)[0], config, paired=False, seed=0)
    numbers = [expected[number] for number in range(4)]
    monkeypatch.setattr(OpenScan, "read", fail)  # workers are forked
    samples = TrainingSamples(data, config, paired=False, seed=0)
    loader = DataLoader(samples, batch_sampler=Steps(0, 4, 1), num_workers=2)
    for (a, b), (expected_a, expected_b) in zip(loader, numbers, strict=True):
        assert torch.equal(a[0], expected_a)
        assert torch.equal(b[0], expected_b)


@pytest.mark.parametrize("options", [{"dtype": np.uint16, "channels": 1, "size": (5, 7)}, {}])
def test_processes_that_are_not_forked_share_the_memory(tmp_path, options):
    refs = []
    for number in range(3):
        write_image(tmp_path / f"{number}.png", image(number, **options))
        refs.append(ScanRef(tmp_path / f"{number}.png"))
    store, _ = memory_store()
    for ref in refs:
        store.inspect(ref)
    sent = ForkingPickler.dumps(store)
    assert len(sent) < 4000  # not the images
    received, again = ForkingPickler.loads(sent), ForkingPickler.loads(ForkingPickler.dumps(store))
    for number, ref in enumerate(refs):
        assert np.array_equal(pixels(store, ref), image(number, **options))
        assert np.array_equal(pixels(received, ref), image(number, **options))
    pixels(store, refs[1])[0, 0, 0] ^= 1
    assert np.array_equal(pixels(again, refs[1]), pixels(store, refs[1]))


def test_too_little_memory_is_refused_with_what_is_needed(tmp_path):
    root = make_folder(tmp_path / "set", size=(256, 256), channels=4)
    with pytest.raises(UserError) as caught:
        opened(root, "memory", memory=2**20)
    assert str(caught.value) == (
        "data.cache memory needs about 3 MiB for 12 images, more than the 1 available; set "
        "data.cache to disk or none"
    )
    assert opened(root, "memory", memory=3 * 2**20)[0].kept == 3 * 2**20


def test_a_changed_file_is_decoded_anew(tmp_path):
    root = make_folder(tmp_path / "set")
    opened(root, "disk")
    path = root / "trainA" / "1.png"
    write_image(path, image(99))
    os.utime(path, ns=(0, 1))  # within the clock's tick, as a fast disk may have it
    data, _ = opened(root, "disk")
    assert np.array_equal(pixels(data.a.store, ScanRef(path)), image(99))


def test_a_copy_elsewhere_shares_the_entries(tmp_path):
    root = make_folder(tmp_path / "set")
    opened(root, "disk")
    before = disk.size()
    shutil.copytree(root, tmp_path / "copy")
    opened(tmp_path / "copy", "disk")
    assert disk.size() == before > 12 * 36 * 40 * 3


def test_a_bad_image_is_refused_and_not_kept(tmp_path):
    root = make_folder(tmp_path / "set")
    path = root / "testB" / "2.png"
    path.write_bytes(path.read_bytes()[:-30])
    for _ in range(2):
        with pytest.raises(UserError, match=r"testB/2.png cannot be read"):
            opened(root, "disk")


def test_what_is_too_small_is_refused_from_the_cache_too(tmp_path):
    root = make_folder(tmp_path / "set")
    opened(root, "disk")
    for _ in range(2):
        with pytest.raises(UserError, match=r"has 40 x 36 pixels, too few for data.crop 40"):
            opened(root, "disk", crop=40)


def test_several_may_keep_the_same_image_at_once(tmp_path):
    write_image(tmp_path / "x.png", image())
    ref = ScanRef(tmp_path / "x.png")
    stores = [DiskStore(Recipe(DataConfig())) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda store: store.inspect(ref), stores))
    assert len(list(disk.folder().iterdir())) == 1
    assert all(np.array_equal(pixels(store, ref), image()) for store in stores)


def test_an_entry_that_another_process_removed_is_made_again(tmp_path):
    data, _ = opened(make_folder(tmp_path / "set"), "disk")
    before = data.a.load(data.a.train[0])
    shutil.rmtree(disk.folder())
    assert torch.equal(data.a.load(data.a.train[0]), before)
    assert len(list(disk.folder().iterdir())) == 1


def test_images_of_earlier_runs_make_room_beyond_the_bound(tmp_path, monkeypatch):
    old = disk.folder() / "old"
    old.mkdir(parents=True)
    (old / "pixels.npy").write_bytes(bytes(1000))
    monkeypatch.setenv("REVGAN_CACHE_GB", "0")
    data, _ = opened(make_folder(tmp_path / "images"), "disk")
    assert not old.exists()
    assert data.a.load(data.a.train[0]).shape == (3, 36, 40)  # what is in use stays
