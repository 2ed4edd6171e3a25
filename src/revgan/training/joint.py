"""Training as the paper's released code does it: the sum of all losses at once, plain layers."""

from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Adam

from revgan.networks.layers import InstanceNorm, ReflectConv
from revgan.training.config import RunConfig
from revgan.training.losses import adversarial_loss
from revgan.training.objectives import Batch, Players
from revgan.training.step import frozen


def make_joint_step(
    players: Players, config: RunConfig, accelerator: Accelerator, batch: Batch
) -> Callable[[], None]:
    """A training step as in the paper's released code, which is CycleGAN's and pix2pix's.

    The sum of all of the generator's losses is backpropagated at once; the judges see real and
    generated images one after the other, and share an optimizer. Layers are PyTorch's own.
    """
    generator, judges = players.generator, (players.judge_a, players.judge_b)
    for network in (generator, *judges):
        _use_plain_layers(network)
    lr, betas = config.optimizer.lr, (config.optimizer.beta1, config.optimizer.beta2)
    judges_weights = [weight for judge in judges for weight in judge.parameters()]
    optimizers = Adam(generator.parameters(), lr, betas), Adam(judges_weights, lr, betas)

    def step() -> None:
        with frozen(judges_weights):
            with accelerator.autocast():
                loss, fakes = _joint_loss(players, config, batch)
            loss.backward()
        optimizers[0].step()
        optimizers[0].zero_grad()
        for judge, real, fake in zip(judges, _shown(config, batch, batch), fakes, strict=True):
            with accelerator.autocast():
                loss = _adversarial(judge, real, config, real=True)
                loss = loss + _adversarial(judge, fake.detach(), config, real=False)
            (0.5 * loss).backward()
        optimizers[1].step()
        optimizers[1].zero_grad()

    return step


def _joint_loss(
    players: Players, config: RunConfig, batch: Batch
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """All of the generator's losses in one sum; and what each judge is shown of its fakes."""
    net, losses = players.generator, config.losses
    fakes = Batch(a=net(batch.b, "BtoA"), b=net(batch.a, "AtoB"))
    if config.paired:
        loss = losses.l1_weight * _distance(fakes, batch)
    else:
        same = Batch(a=net(batch.a, "BtoA"), b=net(batch.b, "AtoB"))
        cycled = Batch(a=net(fakes.b, "BtoA"), b=net(fakes.a, "AtoB"))
        identity = losses.identity_weight * _distance(same, batch)
        loss = losses.cycle_weight * (identity + _distance(cycled, batch))
    shown = _shown(config, fakes, batch)
    for judge, fake in zip((players.judge_a, players.judge_b), shown, strict=True):
        loss = loss + _adversarial(judge, fake, config, real=True)
    return loss, shown


def _distance(images: Batch, truth: Batch) -> Tensor:
    return F.l1_loss(images.a, truth.a) + F.l1_loss(images.b, truth.b)


def _shown(config: RunConfig, judged: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
    """What the judges of A and B see: the images, beside what they were made from if paired."""
    if not config.paired:
        return judged.a, judged.b
    return torch.cat((batch.b, judged.a), dim=1), torch.cat((batch.a, judged.b), dim=1)


def _adversarial(judge: nn.Module, x: Tensor, config: RunConfig, *, real: bool) -> Tensor:
    return adversarial_loss(judge(x), real=real, form=config.losses.adversarial)


def _use_plain_layers(network: nn.Module) -> None:
    """PyTorch's own layers, channels first, in place of ours; weights keep values and names."""
    # PyTorch types `to` without this argument alone.
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for name, layer in network.named_children():
        if isinstance(layer, ReflectConv):
            pad = nn.ReflectionPad2d if len(layer.padding) == 4 else nn.ReflectionPad3d
            named: OrderedDict[str, nn.Module] = OrderedDict(
                pad=pad(layer.padding[0]), conv=layer.conv
            )
            setattr(network, name, nn.Sequential(named))
        elif isinstance(layer, InstanceNorm):
            setattr(network, name, _PlainInstanceNorm())
        else:
            _use_plain_layers(layer)


class _PlainInstanceNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.instance_norm(x)
