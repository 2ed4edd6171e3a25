"""Pictures during training: what they take of memory."""

from unittest.mock import MagicMock

import pytest
import torch

from revgan.data.sets import DataConfig, open_data_set
from revgan.networks import RevGenerator
from revgan.training import pictures
from revgan.training.runs import RunFolder
from test_cli import make_images


def test_pictures_leave_the_networks_as_they_are(tmp_path):
    config = DataConfig(path=str(make_images(tmp_path / "images")), crop=32)
    data, run = open_data_set(config, paired=False), RunFolder(tmp_path / "run")
    run.samples.mkdir(parents=True)
    generator = RevGenerator(width=2, depth=1, norm="batch", dropout=0.5)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    accelerator = MagicMock(device=torch.device("cpu"))
    pictures.save_pictures(generator, data, config, run, accelerator, step=1)
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())
    assert all(module.training for module in generator.modules())


@pytest.mark.parametrize(("memory", "shape"), [("reversible", (64, 64)), ("lean", (32, 32))])
def test_a_picture_is_no_larger_than_the_memory_of_training_allows(
    tmp_path, monkeypatch, memory, shape
):
    config = DataConfig(path=str(make_images(tmp_path / "images", size=(80, 70))), crop=32)
    data, shapes = open_data_set(config, paired=False), []

    def translate(network, x, direction):
        shapes.append(tuple(x.shape[2:]))
        return x

    monkeypatch.setattr(pictures, "translate_padded", translate)
    run = RunFolder(tmp_path / "run")
    run.samples.mkdir(parents=True)
    generator = RevGenerator(width=2, depth=1, memory=memory)
    accelerator = MagicMock(device=torch.device("cpu"))
    pictures.save_pictures(generator, data, config, run, accelerator, step=1)
    assert set(shapes) == {shape}
    assert len(list(run.samples.iterdir())) == 2
