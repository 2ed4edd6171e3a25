"""Runs of a few steps of small networks on a few small images."""

from io import StringIO

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from revgan.data.sets import DataConfig, open_data_set
from revgan.networks import DiscriminatorConfig, GeneratorConfig
from revgan.training.config import RunConfig, RuntimeConfig, TrainingConfig
from revgan.training.loop import train
from revgan.training.runs import RunFolder


def write_images(root):
    draws = np.random.default_rng(0)
    for name in ("trainA", "trainB", "testA", "testB"):
        (root / name).mkdir()
        for number in range(3):
            pixels = draws.integers(0, 256, (36, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def configuration(folder, objective="unpaired", **training) -> RunConfig:
    settings = {"steps": 6, "log_every": 2, "sample_every": 3, "checkpoint_every": 2}
    settings |= {"validate_every": 3}
    return RunConfig(
        objective=objective,
        data=DataConfig(path=str(folder), crop=32),
        generator=GeneratorConfig(width=4, depth=2, memory="reversible"),
        discriminator=DiscriminatorConfig(width=4),
        training=TrainingConfig(**(settings | training)),
        runtime=RuntimeConfig(device="cpu"),
    )


def run(config: RunConfig, root, *, resume=False):
    data = open_data_set(config.data, paired=config.paired)
    output = StringIO()
    root.mkdir(exist_ok=True)
    outcome = train(config, data, RunFolder(root), resume=resume, console=Console(file=output))
    return outcome, output.getvalue()


def weights(root, name="model"):
    return load_file(root / name / "model.safetensors")


def same_weights(one, other, name="model") -> bool:
    ours, theirs = weights(one, name), weights(other, name)
    return all(torch.equal(ours[key], theirs[key]) for key in ours)
