"""The model folder that people share."""

import pytest
import torch
import yaml

from revgan.errors import UserError
from revgan.networks import RevGenerator
from revgan.networks.pretrained import load_generator, save_generator


@pytest.fixture
def folder(tmp_path):
    save_generator(RevGenerator(in_channels=1, out_channels=2, width=4, depth=2), tmp_path / "m")
    return tmp_path / "m"


def test_a_generator_comes_back_as_it_was(tmp_path):
    net = RevGenerator(in_channels=1, out_channels=2, width=4, depth=2)
    save_generator(net, tmp_path)
    loaded = load_generator(tmp_path)
    x = torch.randn(1, 1, 16, 16)
    assert torch.equal(loaded(x), net(x))


def test_the_folder_holds_safetensors_and_yaml_and_nothing_else(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "model.safetensors"]


def test_the_files_can_be_read_by_others(folder):
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in folder.iterdir())


def test_a_newer_model_replaces_an_older_one(folder):
    net = RevGenerator(in_channels=1, out_channels=2, width=4, depth=3)
    save_generator(net, folder)
    assert len(load_generator(folder).core) == 3


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"depth": 1024}, "fewer than the 1024 of that depth"),
        ({"width": 16384}, "in model.safetensors, not"),
        ({"depth": 10**9}, "fewer than the 1000000000 of that depth"),
        ({"in_channels": 10**12}, "in model.safetensors, not"),
    ],
)
def test_sizes_that_the_weights_do_not_have_are_refused_before_anything_is_built(
    folder, sizes, said
):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | sizes))
    with pytest.raises(UserError, match=said):
        load_generator(folder)


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"isn't a model folder: it has no {name}"):
        load_generator(folder)


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors"])
def test_a_damaged_file_ends_in_one_sentence(folder, name):
    (folder / name).write_bytes(b"{\x01garbage")
    with pytest.raises(UserError, match="can't be loaded") as error:
        load_generator(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [{"width": 8}, {"format": 99}, {"colour": 1}])
def test_a_description_that_does_not_fit_the_weights_is_refused(folder, change):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    with pytest.raises(UserError, match="can't be loaded"):
        load_generator(folder)
