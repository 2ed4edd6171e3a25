"""Ways to train the same RevGAN, for `revgan benchmark` to measure side by side.

All start from the same weights under the same names, and minimise the same losses on the same
images. Variants are the memory modes of `RevGenerator`, and other people's cores in place of its
own: they make blocks reversible, or checkpoint them, in other ways, around the same f and g.
One is another model, CycleGAN's two ResNet generators of the same width and depth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import yaml
from accelerate import Accelerator

from revgan.benchmark.cases import PACKAGES, Case, VariantName
from revgan.benchmark.peers import CheckpointCore, MemcnnCore, RevtorchCore, make_joint_step
from revgan.directions import DOMAINS
from revgan.networks import DiscriminatorConfig, GeneratorConfig, RevGenerator
from revgan.reversible import ReversibleSequential
from revgan.training import Batch, LossConfig, Players, RunConfig, make_trainer, preset_path

CORES: dict[VariantName, type[ReversibleSequential]] = {
    "checkpoint": CheckpointCore,
    "memcnn": MemcnnCore,
    "revtorch": RevtorchCore,
}
"""Variants with another core."""

OFF_GRID = ("joint", *PACKAGES)
"""Variants whose residual stream is ordinary floating point, not on our grid."""

SLABS = 8
"""Of the variant slabs."""


@dataclass(frozen=True)
class Variant:
    """One way to train: the networks, and a step that takes them further.

    Attributes:
        players: the networks; their weights' names are the same in each variant, except cyclegan.
        step: trains on the same images each time; between steps, no gradients are held.
    """

    players: Players
    step: Callable[[], object]


def build_variant(
    name: VariantName,
    case: Case,
    accelerator: Accelerator,
    *,
    dtype: torch.dtype = torch.float32,
    exact: bool = True,
) -> Variant:
    """A variant with fresh weights, the same for all variants of a case, and its images.

    Args:
        name: which.
        case: what is trained.
        accelerator: device and precision.
        dtype: of weights and images.
        exact: whether our own core keeps its residual stream on the grid.
    """
    config = variant_config(name, case, exact=exact)
    channels = case.channels, case.channels
    trainer = make_trainer(config, case.spatial_dims, channels, accelerator, total=1)
    players = trainer.players
    for network in (players.generator, players.judge_a, players.judge_b):
        network.to(dtype)
    shape = (1, case.channels, *[case.size] * case.spatial_dims)
    batch = random_batch(shape, accelerator.device, dtype)
    if name in CORES:
        generator = players.generator
        assert isinstance(generator, RevGenerator)
        assert isinstance(generator.core, ReversibleSequential)
        generator.core = CORES[name](*generator.core)
    if name == "joint":
        return Variant(players, make_joint_step(players, config, accelerator, batch))
    return Variant(players, lambda: trainer.step(batch, 0))


def variant_config(name: VariantName, case: Case, *, exact: bool = True) -> RunConfig:
    """The run that a variant trains; see `build_variant`."""
    preset: dict[str, Any] = yaml.safe_load(preset_path(case.preset).read_text(encoding="utf-8"))
    generator = {"width": case.width, "depth": case.depth} | _how(name)
    generator["exact"] = exact and name not in OFF_GRID
    networks: dict[str, Any] = {
        "generator": GeneratorConfig(**preset.get("generator", {}) | generator)
    }
    judge = DiscriminatorConfig(**preset.get("discriminator", {}))
    if judge != DiscriminatorConfig():
        networks["discriminator"] = judge
    # The image pool stays empty, so that each step is the same.
    return RunConfig(objective=case.objective, losses=LossConfig(pool_size=0), **networks)


def _how(name: VariantName) -> dict[str, Any]:
    match name:
        case "joint" | "naive":
            return {"memory": "naive"}
        case "cyclegan":
            return {"model": "resnet", "memory": "naive"}
        case "lean":
            return {"memory": "lean", "slabs": 0}
        case "slabs":
            return {"memory": "lean", "slabs": SLABS}
        case _:
            # Other people's cores recompute too, and get the f and g that are made for it.
            return {"memory": "reversible"}


def random_batch(
    shape: tuple[int, ...], device: torch.device, dtype: torch.dtype = torch.float32
) -> Batch:
    """Images (B, C, *spatial) of both domains, evenly drawn from [-1, 1]; always the same."""
    draws = torch.Generator().manual_seed(0)
    images = [torch.rand(shape, generator=draws) * 2 - 1 for _ in DOMAINS]
    return Batch(*(image.to(device, dtype) for image in images))
