"""Crops with a side per axis, and networks that fit thin axes."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from revgan.cli import main
from revgan.data.config import DataConfig
from revgan.data.sampling import TrainingSamples
from revgan.data.sets import open_data_set
from revgan.inference import Windows, translate_padded
from revgan.memory import measure_step, predict_step
from revgan.networks import (
    DiscriminatorConfig,
    GeneratorConfig,
    PatchDiscriminator,
    RevGenerator,
    build_generator,
)
from revgan.networks.layers import init_weights
from revgan.networks.parts import decoder, encoder
from revgan.networks.pretrained import load_generator, save_generator
from revgan.networks.slabs import Slabs
from revgan.training.config import RunConfig
from revgan.training.plan import Domains, planned_workload
from revgan.training.prediction import Workload
from test_slabs import distance, run
from test_volume_sets import save
from trainings import TOLERANCE, known_kernels

VOLUMES = GeneratorConfig(width=4, depth=1, downsamplings=1, first_kernel=3, last_kernel=1)


@pytest.mark.parametrize(
    ("crop", "generator", "halvings"),
    [
        ((64, 64, 64), (1, 3, 1), None),
        ((64, 64, 12), (1, 3, 1), (3, 3, 2)),
        ((144, 144, 16), (1, 3, 1), (3, 3, 2)),
        ((32, 32, 20), (1, 3, 1), (3, 3, 2)),
        ((5, 24, 24), ((0, 1, 1), 3, 1), (0, 3, 3)),
        (24, (1, 3, 1), None),
    ],
)
def test_thin_axes_are_halved_as_often_as_they_have_room_for(crop, generator, halvings):
    config = RunConfig(data=DataConfig(spatial_dims=3, crop=crop), generator=VOLUMES)
    made = config.generator
    assert (made.downsamplings, made.first_kernel, made.last_kernel) == generator
    assert config.discriminator.downsamplings == halvings
    sizes = config.data.crop_sizes
    x = torch.rand(1, 1, *sizes)
    with torch.no_grad():
        assert RevGenerator.from_config(replace(made, memory="naive"), 3, 1, 1)(x).shape == x.shape
        judge = PatchDiscriminator.from_config(replace(config.discriminator, width=2), 3, 1)
        assert min(judge(x).shape[2:]) >= 1


@pytest.mark.parametrize(
    ("crop", "reason"),
    [
        ([64, 64], "crop must be one number, or 3, not [64, 64]"),
        ([64, 64, 0], "crop must be 1 or more, not 0"),
        ([64, 63, 12], "data.crop must be a multiple of 2 from 24 x 24 x 12 up"),
        ([20, 20, 12], "data.crop must be a multiple of 2 from 24 x 24 x 12 up"),
    ],
)
def test_crops_that_fit_no_network_are_refused(crop, reason):
    with pytest.raises(ValueError, match=re.escape(reason)):
        RunConfig(data=DataConfig(spatial_dims=3, crop=tuple(crop)), generator=VOLUMES)


def test_options_by_axis_are_checked():
    with pytest.raises(ValueError, match=r"generator.downsamplings must be one number, or 2"):
        RunConfig(generator=GeneratorConfig(downsamplings=(2, 2, 1)))
    with pytest.raises(ValueError, match=r"first_kernel must be odd, 1 or more, not \[7, 4\]"):
        GeneratorConfig(first_kernel=(7, 4))
    with pytest.raises(ValueError, match="from 0 to 3 with form patch70, not 4"):
        DiscriminatorConfig(downsamplings=4)
    smaller = DiscriminatorConfig(downsamplings=1)
    assert RunConfig(data=DataConfig(crop=8), discriminator=smaller).min_size == 8


UNEVEN = {"downsamplings": (2, 2, 1), "first_kernel": (7, 7, 3), "last_kernel": (3, 3, 1)}
KINDS = [
    {},
    {"norm": "none", "downsampling": "subpixel", "upsampling": "subpixel"},
    {"norm": "none", "upsampling": "bilinear", "downsampling_padding": "zeros"},
    {"upsampling": "nearest"},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_parts_and_slabs_give_what_one_pass_gives(kind):
    config = GeneratorConfig(width=4, depth=1, memory="naive", init="kaiming", **UNEVEN | kind)
    generator = build_generator(config, 3, 1, 1).eval()
    x = torch.rand(1, 1, 18, 27, 7) * 2 - 1
    at_once = translate_padded(generator, x, "AtoB")
    parts = translate_padded(generator, x, "AtoB", windows=Windows(12))
    assert (parts - at_once).abs().max() < 4e-4  # the core's grid rounds to the other side
    low = [8, 6, 4]
    for part, x in ((encoder, torch.rand(1, 2, 32, 24, 8)), (decoder, torch.rand(1, 16, *low))):
        layers = part(config, 3, 2)
        init_weights(layers, "kaiming")
        plain = run(layers.double(), x.double())
        assert distance(run(Slabs(*layers, slabs=3), x.double()), plain) < 1e-12


def test_a_model_folder_keeps_numbers_by_axis(tmp_path):
    config = GeneratorConfig(width=4, depth=1, memory="naive", **UNEVEN)
    generator = build_generator(config, 3, 1, 1)
    save_generator(generator, tmp_path)
    loaded = load_generator(tmp_path)
    assert loaded.config.downsamplings == (2, 2, 1)
    assert hash(loaded.config)
    x = torch.rand(1, 1, 16, 16, 8)
    assert torch.equal(loaded(x), generator(x))


def test_images_are_cropped_to_a_height_and_a_width(tmp_path):
    rows, columns = np.mgrid[0:40, 0:60].astype(np.uint8)
    for domain in "AB":
        (tmp_path / f"train{domain}").mkdir()
        Image.fromarray(np.stack([rows, columns, columns], 2)).save(
            tmp_path / f"train{domain}" / "1.png"
        )
    config = DataConfig(path=str(tmp_path), crop=(32, 48), flip=False)
    samples = TrainingSamples(open_data_set(config, paired=True), config, paired=True, seed=0)
    for number in range(4):
        image, _ = samples[number]
        assert image.shape == (3, 32, 48)
        pixels = ((image + 1) * 127.5).round()
        assert pixels[0, -1, 0] - pixels[0, 0, 0] == 31
        assert pixels[1, 0, -1] - pixels[1, 0, 0] == 47


def test_the_planner_enlarges_thin_crops_in_their_plane():
    config = RunConfig(data=DataConfig(spatial_dims=3, crop=(48, 32, 12)), generator=VOLUMES)
    workload = planned_workload(config, Domains(3, (1, 1)), None)
    assert workload.crop_of(96) == (96, 64, 12)
    assert workload.images(2)[0].shape == (2, 1, 48, 32, 12)
    assert Workload(RunConfig(), 64).crop_of(128) == 128


@known_kernels
@pytest.mark.parametrize("size", [(64, 64, 12), (12, 64, 64)])
def test_the_planner_knows_what_a_judge_of_thin_volumes_takes(size):
    """oneDNN's kernels for volumes need room along the first axis alone."""
    halvings = DiscriminatorConfig().fitted(size).downsamplings

    def step():
        judge = PatchDiscriminator(3, 1, 16, downsamplings=halvings)
        x = torch.zeros(1, 1, *size)
        return judge, lambda: judge(x).square().mean().backward()

    judge, once = step()
    once()
    for weight in judge.parameters():
        weight.grad = None
    measured = measure_step(once).peak
    predicted = predict_step(lambda: step()[1], cpu_kernels=True).peak
    assert predicted == pytest.approx(measured, rel=TOLERANCE)


def test_a_thin_volume_trains_resumes_plans_and_translates(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    draws = np.random.default_rng(0)
    for domain in "AB":
        volume = draws.integers(0, 1000, (26, 30, 5)).astype(np.int16)
        save(tmp_path / "data" / f"train{domain}" / "1.nii.gz", volume)
    root, options = tmp_path / "run", ["--preset", "volumes", "--data.crop", "[24, 24, 6]"]
    options += ["--generator.width", "4", "--generator.depth", "1", "--discriminator.width", "2"]
    options += ["--training.steps", "1", "--runtime.device", "cpu", "--generator.memory", "lean"]
    assert main(["train", str(tmp_path / "data"), "--run", str(root), *options]) == 0
    said = capsys.readouterr().out
    assert (
        "For crops of [24, 24, 6], the networks have discriminator.downsamplings [3, 3, 1]" in said
    )
    stored = yaml.safe_load((root / "config.yaml").read_text())
    assert stored["data"]["crop"] == [24, 24, 6]
    assert stored["discriminator"]["downsamplings"] == [3, 3, 1]
    assert main(["train", "--resume", str(root), "--training.steps", "2"]) == 0
    source, target = tmp_path / "data" / "trainA" / "1.nii.gz", tmp_path / "b.nii.gz"
    assert main(["translate", str(root), str(source), str(target)]) == 0
    assert target.exists()
    capsys.readouterr()
    assert main(["plan", str(root), "--json", "--memory-budget", "1MiB"]) == 0
    assert json.loads(capsys.readouterr().out)["size"] == [24, 24, 6]
