"""Every model and variant of the paper trains, is saved and loaded, and translates."""

import itertools
import math

import pytest
import torch
from accelerate import Accelerator

from revgan import Translator
from revgan.networks import DiscriminatorConfig, GeneratorConfig
from revgan.networks.pretrained import save_generator
from revgan.training.config import RunConfig
from revgan.training.objectives import Batch
from revgan.training.setup import make_trainer

SIZE, STEPS = 32, 10

CORES = {
    "additive": {"coupling": "additive"},
    "affine": {"coupling": "affine"},
    "ode": {"core": "ode", "ode_step": 0.5},
    "resnet": {"model": "resnet", "memory": "naive"},
}
RESAMPLINGS = {
    "transposed": {},
    "subpixel": {"downsampling": "subpixel", "upsampling": "subpixel"},
    "nearest": {"upsampling": "nearest"},
    "bilinear": {"upsampling": "bilinear"},
}


def batches(spatial_dims):
    draws = torch.Generator().manual_seed(0)
    shape = (1, 1, *[SIZE] * spatial_dims)
    while True:
        yield Batch(*(torch.rand(shape, generator=draws) * 2 - 1 for _ in "ab"))


def train(trainer, spatial_dims):
    """The losses of each step."""
    steps = itertools.islice(batches(spatial_dims), STEPS)
    return [trainer.step(batch, number) for number, batch in enumerate(steps)]


@pytest.mark.parametrize("memory", ["naive", "lean"])
@pytest.mark.parametrize("core", ["additive", "affine", "ode"])
def test_every_core_trains_in_every_memory_mode(core, memory):
    config = RunConfig(
        generator=GeneratorConfig(width=2, depth=2, memory=memory, **CORES[core]),
        discriminator=DiscriminatorConfig(width=2),
    )
    trainer = make_trainer(config, 2, (1, 1), Accelerator(cpu=True), total=STEPS)
    assert all(math.isfinite(loss) for step in train(trainer, 2) for loss in step.values())


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("resampling", RESAMPLINGS)
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("objective", ["paired", "unpaired"])
def test_every_combination_trains_and_translates(
    tmp_path, objective, core, resampling, spatial_dims
):
    variant = {"memory": "reversible"} | CORES[core] | RESAMPLINGS[resampling]
    config = RunConfig(
        objective=objective,
        generator=GeneratorConfig(width=2, depth=2, **variant),
        discriminator=DiscriminatorConfig(width=2),
    )
    trainer = make_trainer(config, spatial_dims, (1, 1), Accelerator(cpu=True), total=STEPS)
    generator = trainer.players.generator
    before = {name: weight.clone() for name, weight in generator.named_parameters()}

    losses = train(trainer, spatial_dims)
    assert all(math.isfinite(loss) for step in losses for loss in step.values())
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
