"""Every model and variant of the paper trains, is saved and loaded, and translates."""

import itertools
import math

import pytest
import torch
from accelerate import Accelerator

from revgan import Translator
from revgan.networks import DiscriminatorConfig, GeneratorConfig
from revgan.networks.pretrained import save_generator
from revgan.training.batch import Batch
from revgan.training.config import RunConfig
from revgan.training.setup import make_trainer

SIZE, STEPS = 24, 2
"""The smallest images that both networks take; the second step meets weights that have moved."""

CORES = {
    "additive": {"coupling": "additive"},
    "affine": {"coupling": "affine"},
    "ode": {"core": "ode", "ode_step": 0.5},
    "resnet": {"model": "resnet"},
    "unet": {"model": "unet", "downsamplings": 3},
}
RESAMPLINGS = {
    "transposed": {},
    "subpixel": {"downsampling": "subpixel", "upsampling": "subpixel"},
    "nearest": {"upsampling": "nearest"},
    "bilinear": {"upsampling": "bilinear"},
}


MEMORY = ["naive", "reversible", "lean"]
TRAININGS = list(itertools.product(["paired", "unpaired"], [2, 3]))

# Every core with every resampling once; and each of either in every training, and in every mode.
COMBINATIONS = [
    (core, resampling, MEMORY[(i + 2 * j) % 3], *TRAININGS[(i + j) % 4])
    for i, core in enumerate(CORES)
    for j, resampling in enumerate(RESAMPLINGS)
    if core != "unet" or resampling == "transposed"  # the only one that it has
] + [("unet", "transposed", "naive", "unpaired", 3)]


def batches(spatial_dims):
    draws = torch.Generator().manual_seed(0)
    shape = (1, 1, *[SIZE] * spatial_dims)
    while True:
        yield Batch(*(torch.rand(shape, generator=draws) * 2 - 1 for _ in "ab"))


@pytest.mark.parametrize(
    ("core", "resampling", "memory", "objective", "spatial_dims"), COMBINATIONS
)
def test_every_core_and_resampling_trains_is_saved_and_translates(
    tmp_path, core, resampling, memory, objective, spatial_dims
):
    variant = {"memory": "naive" if core in ("resnet", "unet") else memory}
    variant |= {} if core == "unet" else {"depth": 2}
    config = RunConfig(
        objective=objective,
        generator=GeneratorConfig(width=2, **variant, **CORES[core], **RESAMPLINGS[resampling]),
        discriminator=DiscriminatorConfig(width=2),
    )
    trainer = make_trainer(config, spatial_dims, (1, 1), Accelerator(cpu=True), total=STEPS)
    generator = trainer.players.generator
    before = {name: weight.clone() for name, weight in generator.named_parameters()}

    for number, batch in enumerate(itertools.islice(batches(spatial_dims), STEPS)):
        losses = trainer.step(batch, number)
        assert all(math.isfinite(loss) for loss in losses.values())
    # Not so the biases before a norm, which takes them out again.
    assert all(
        not torch.equal(weight, before[name])
        for name, weight in generator.named_parameters()
        if weight.ndim > 1
    )

    save_generator(generator, tmp_path / "model")
    translator = Translator.from_pretrained(tmp_path / "model", "cpu")
    image = next(batches(spatial_dims)).a
    generator.eval()
    for direction in ("AtoB", "BtoA"):
        translated = translator(image, direction)
        assert translated.abs().max() <= 1
        assert torch.equal(translated, generator(image, direction).detach())
