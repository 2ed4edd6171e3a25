"""Pictures during training: what they show, and what they take of memory."""

from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from PIL import Image

from revgan.data.sets import DataConfig, open_data_set
from revgan.figures.pictures import tensor_to_uint8
from revgan.networks import RevGenerator
from revgan.training import previews, validation
from revgan.training.runs import RunFolder
from test_cli import make_images


def test_pictures_leave_the_networks_as_they_are(tmp_path):
    config = DataConfig(path=str(make_images(tmp_path / "images")), crop=32)
    data, run = open_data_set(config, paired=False), RunFolder(tmp_path / "run")
    run.samples.mkdir(parents=True)
    generator = RevGenerator(width=2, depth=1, norm="batch", dropout=0.5)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    accelerator = MagicMock(device=torch.device("cpu"))
    previews.save_pictures(generator, data, config, run, accelerator, step=1)
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

    monkeypatch.setattr(validation, "translate_padded", translate)
    run = RunFolder(tmp_path / "run")
    run.samples.mkdir(parents=True)
    generator = RevGenerator(width=2, depth=1, memory=memory)
    accelerator = MagicMock(device=torch.device("cpu"))
    previews.save_pictures(generator, data, config, run, accelerator, step=1)
    assert set(shapes) == {shape}
    assert len(list(run.samples.iterdir())) == 2


@pytest.mark.parametrize("aligned", [True, False])
def test_small_pictures_are_enlarged_pixel_by_pixel_with_the_truth_where_known(
    tmp_path, monkeypatch, aligned
):
    images = make_images(tmp_path / "images", size=(40, 36))
    if not aligned:
        (images / "testB" / "1.png").rename(images / "testB" / "other.png")
    config = DataConfig(path=str(images), crop=32)
    data, run = open_data_set(config, paired=False), RunFolder(tmp_path / "run")
    run.samples.mkdir(parents=True)
    monkeypatch.setattr(validation, "translate_padded", lambda network, x, direction: -x)
    generator = RevGenerator(width=2, depth=1)
    accelerator = MagicMock(device=torch.device("cpu"))
    previews.save_pictures(generator, data, config, run, accelerator, step=1)
    x, truth = (domain.load(domain.test[0]) for domain in (data.a, data.b))
    shown = [x, -x, truth, x] if aligned else [x, -x, x]
    times = previews.WIDTH // (2 + len(shown) * (36 + 2))
    saved = np.asarray(Image.open(run.samples / "step-000001-AtoB.png"))[previews.HEADING :]
    row = saved[2 * times : 42 * times : times, ::times]  # the first of each times x times pixels
    assert np.array_equal(saved[::times, ::times].repeat(times, 0).repeat(times, 1), saved)
    for number, image in enumerate(shown):
        left = 2 + number * (36 + 2)
        assert np.array_equal(row[:, left : left + 36], tensor_to_uint8(image))
