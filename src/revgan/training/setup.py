"""Sets up a run: device, networks, and the state of an earlier checkpoint."""

import os
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import ProjectConfiguration
from torch import nn

from revgan.environment import require_device
from revgan.errors import UserError, notice, one_line, out_of_memory, short
from revgan.networks import PatchDiscriminator, build_generator
from revgan.training.average import WeightAverage
from revgan.training.checkpoint import load_checkpoint
from revgan.training.config import Precision, RunConfig, RuntimeConfig
from revgan.training.features import load_features
from revgan.training.objectives import Objective, Players, build_objective
from revgan.training.runs import RunFolder
from revgan.training.skips import Skips
from revgan.training.step import Trainer
from revgan.training.trackers import make_trackers


def make_accelerator(runtime: RuntimeConfig, run: RunFolder | None = None) -> Accelerator:
    """Device, precision, processes and trackers.

    Raises:
        UserError: the device or a tracker's package isn't available, or variables of the
            environment, which accelerate and PyTorch read, aren't usable.
    """
    require_device(runtime.device, "runtime.device")
    cpu = runtime.device == "cpu"
    cuda = not cpu and torch.cuda.is_available()
    precision = mixed_precision(runtime.precision, cuda=cuda)
    if precision == "bf16" and not cuda and torch.backends.cpu.get_cpu_capability() == "AVX2":
        notice(
            "this CPU has no AVX-512, and computes many convolutions in bf16 far more slowly than "
            "in float32; runtime.precision float32 is faster here"
        )
    # It would refuse a precision that differs from an earlier call's, and has no public reset.
    AcceleratorState._reset_state()
    kept: dict[str, Any] = {}
    if run is not None:
        folders = ProjectConfiguration(project_dir=str(run.root), logging_dir=str(run.tensorboard))
        kept = {"log_with": make_trackers(runtime, run), "project_config": folders}
    before = dict(os.environ)
    try:
        return Accelerator(cpu=cpu, mixed_precision=precision, **kept)
    except (ValueError, TypeError, KeyError, ImportError, RuntimeError) as error:
        # Both raise whatever Python does where they read a variable, and are left half-made; so are
        # variables that accelerate sets.
        AcceleratorState._reset_state(reset_partial_state=True)
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
        if out_of_memory(error) or not (given := _of_processes()):
            raise
        raise UserError(
            f"training can't begin with the environment variables {' '.join(given)} "
            f"({one_line(error, 200)}); unset them, or start it with accelerate launch"
        ) from error


def _of_processes() -> list[str]:
    """The variables that say how processes train together, and what they hold."""
    said = ("ACCELERATE_", "MASTER_", "LOCAL_", "RANK", "WORLD_SIZE", "PMI_", "OMPI_", "MV2_")
    return [
        f"{name}={short(value)}"
        for name, value in sorted(os.environ.items())
        if name.startswith(said)
    ]


def mixed_precision(precision: Precision, *, cuda: bool) -> str:
    """The precision's name in accelerate: no, bf16 or fp16.

    Raises:
        UserError: fp16 without CUDA.
    """
    if precision == "fp16" and not cuda:
        raise UserError(
            "runtime.precision fp16 needs a CUDA device; use float32 or bf16 on this one"
        )
    if precision == "auto":
        # Without a GPU to ask, plan for one with bf16, which all have had since 2020.
        modern = not torch.cuda.is_available() or torch.cuda.is_bf16_supported()
        return "bf16" if cuda and modern else "no"
    return "no" if precision == "float32" else precision


def make_trainer(
    config: RunConfig,
    spatial_dims: Literal[2, 3],
    channels: tuple[int, int],
    accelerator: Accelerator,
    total: int,
    *,
    load: bool = True,
) -> Trainer:
    """New networks on the device, with their optimizers.

    Args:
        config: the run's; `generator.memory` must not be "auto".
        spatial_dims: 2 for images, 3 for volumes.
        channels: of A and B.
        accelerator: device, precision and processes.
        total: steps of the whole training.
        load: whether to read the weights of the network of `losses.feature_network`, if there is
            one; not for fake tensors.

    Raises:
        UserError: A and B differ in channels, and the identity loss has a weight; or the network
            of the feature loss can't be loaded.
    """
    seen = channels["ab".index(config.losses.feature_domain)], *config.data.crop_sizes
    features = load_features(config.losses, seen, accelerator.device, weights=load)
    torch.manual_seed(config.training.seed)
    objective = build_objective(config.objective, config.losses, features)
    channels_a, channels_b = channels
    if config.generator.skip and channels_a != channels_b:
        raise UserError(
            f"A and B have {channels_a} and {channels_b} channels, so an image can't be added to "
            "its translation; set --generator.skip false"
        )
    if config.objective == "unpaired" and channels_a != channels_b:
        _refuse_identity_loss(config, channels_a, channels_b)
    players = Players(
        generator=build_generator(config.generator, spatial_dims, channels_a, channels_b),
        judge_a=_judge(config, objective, spatial_dims, channels_a, channels_b),
        judge_b=_judge(config, objective, spatial_dims, channels_b, channels_a),
    )
    networks: list[nn.Module] = [players.generator, players.judge_a, players.judge_b]
    average = None
    if config.training.ema is not None:  # last, so that the others' weights don't depend on it
        follower = build_generator(config.generator, spatial_dims, channels_a, channels_b)
        networks.append(follower)
        average = WeightAverage(follower, config.training.ema)
    if (
        accelerator.device.type != "cpu"
    ):  # they are on the CPU already, and fake ones can't be moved
        for network in networks:
            network.to(accelerator.device)
    return Trainer(
        players,
        objective,
        config.optimizer,
        total,
        config.training.seed,
        accelerator,
        average,
        Skips(config.training.skips),
        config.training.accumulate,
    )


def _refuse_identity_loss(config: RunConfig, channels_a: int, channels_b: int) -> None:
    if config.losses.identity_weight > 0:
        raise UserError(
            f"A and B have {channels_a} and {channels_b} channels, so an image can't be its own "
            "translation; set --losses.identity_weight 0"
        )


def _judge(
    config: RunConfig, objective: Objective, spatial_dims: Literal[2, 3], own: int, other: int
) -> PatchDiscriminator:
    channels = objective.judged_channels(own, other)
    # The R1 penalty takes second derivatives.
    slabs = 0 if config.losses.r1_weight else config.generator.slabs or 0
    return PatchDiscriminator.from_config(config.discriminator, spatial_dims, channels, slabs)


def load_resumed(trainer: Trainer, config: RunConfig, run: RunFolder) -> int:
    """Loads the latest checkpoint into the trainer; returns its step.

    Raises:
        UserError: there is none, it can't be read, or it belongs to different networks.
    """
    step, tensors, counts = load_checkpoint(run.checkpoints)
    try:
        trainer.load_state(tensors)
    except ValueError as error:
        raise UserError(
            f"the checkpoint of step {step} in {run.root} is damaged: {error}; remove it to resume "
            "from the one before"
        ) from error
    except (RuntimeError, KeyError) as error:
        raise UserError(
            f"the checkpoint of step {step} in {run.root} belongs to different networks than the "
            "configuration describes; resume without changing architecture or objective"
        ) from error
    for pool in trainer.objective.pools.values():  # images of another crop don't fit
        shape = config.data.crop_sizes
        pool.images = [image for image in pool.images if image.shape[1:] == shape]
    trainer.load_counts(counts)
    if not trainer.norm().isfinite():
        raise UserError(
            f"the checkpoint of step {step} in {run.root} holds numbers that aren't finite; remove "
            "it to resume from the one before"
        )
    return step
