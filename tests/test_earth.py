"""The built-in Earth tiles."""

import numpy as np
import pytest
from PIL import Image

from revgan.data.datasets import earth
from revgan.data.folders import open_folder
from revgan.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("earth")


@pytest.fixture(scope="module", params=[earth.SMALL, earth.LARGE], ids=["small", "large"])
def tiles(request):
    return list(earth.tiles(earth.world_picture("shadedrelief.jpg", request.param), request.param))


def covered(tiles, *roles) -> np.ndarray:
    mask = np.zeros((tiles[0].width // 2, tiles[0].width), dtype=bool)
    for tile in tiles:
        if tile.role in roles:
            tile.cut(mask)[:] = True
    return mask


def test_no_test_pixel_is_seen_in_training(tiles):
    test = covered(tiles, "test", "val")
    assert test.any()
    assert not (test & covered(tiles, "train A", "train B")).any()


def test_unpaired_domains_come_from_different_places(tiles):
    a, b = covered(tiles, "train A"), covered(tiles, "train B")
    assert not (a & b).any()
    assert 0.5 < a.sum() / b.sum() < 2


def test_paired_folders_show_the_same_places(root):
    folder = open_folder(earth.write_earth(root, paired=True), 2, paired=True)
    assert folder.train.aligned
    assert folder.test.aligned
    assert (len(folder.train.a), len(folder.test.a)) == (332, 15)
    assert folder.test.a[0].read().values.shape == (3, 64, 64)
    # The same coast in both: where the map is blue, the satellite image is dark.
    sea = np.concatenate([r.read().values.astype(int).reshape(3, -1).T for r in folder.test.b])
    light = np.concatenate([r.read().values.mean(axis=0).reshape(-1) for r in folder.test.a])
    is_sea = sea[:, 2] > sea[:, 0] + 40
    assert light[is_sea].mean() + 30 < light[~is_sea].mean()


def test_unpaired_training_folders_have_no_place_in_common(root):
    folder = earth.write_earth(root, paired=False)
    names = [{path.name for path in (folder / part).iterdir()} for part in ("trainA", "trainB")]
    assert names[0]
    assert names[1]
    assert not names[0] & names[1]
    assert open_folder(folder, 2, paired=False).test.aligned


def test_tiles_are_written_once(root):
    folder = earth.write_earth(root, paired=True)
    tile = next((folder / "testA").iterdir())
    Image.new("RGB", (64, 64)).save(tile)
    assert earth.write_earth(root, paired=True) == folder
    assert not np.asarray(Image.open(tile)).any()


def test_tiles_are_named_after_their_place():
    assert earth.Tile(top=96, left=544, role="test").name == "N47E012"
    assert earth.Tile(top=320, left=0, role="test").name == "S27W169"


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        earth.write_earth(tmp_path, paired=True)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(earth, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"revgan\[samples\]"):
        earth.write_earth(tmp_path, paired=True)


def test_the_large_tiles_hold_out_the_places_of_the_small_ones(tiles):
    small = earth.tiles(earth.world_picture("shadedrelief.jpg"))
    scale = tiles[0].width // earth.SMALL.size[0]
    trained = covered(tiles, "train A", "train B")
    for tile in small:
        if tile.role == "test":
            corner = slice(tile.top * scale, (tile.top + tile.side) * scale)
            assert not trained[corner, tile.left * scale : (tile.left + tile.side) * scale].any()


def test_there_are_a_hundred_large_tiles_to_test_on(tiles):
    roles = [tile.role for tile in tiles]
    assert roles.count("test") >= (15 if tiles[0].width == 1080 else 100)
    assert len({tile.name for tile in tiles}) == len(tiles)
