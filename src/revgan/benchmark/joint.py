"""Training as the paper's released code does it: the sum of all losses at once, plain layers."""

from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Adam

from revgan.directions import DOMAINS
from revgan.networks.layers import InstanceNorm, PaddedConv
from revgan.training.config import RunConfig
from revgan.training.objectives import Batch, Players, build_objective, total
from revgan.training.step import frozen


def make_joint_step(
    players: Players, config: RunConfig, accelerator: Accelerator, batch: Batch
) -> Callable[[], None]:
    """A training step as in the paper's released code, which is CycleGAN's and pix2pix's.

    The sum of all of the generator's losses is backpropagated at once; the judges see real and
    generated images one after the other, and share an optimizer. Layers are PyTorch's own.
    """
    objective = build_objective(config.objective, config.losses)
    generator, judges = players.generator, (players.judge_a, players.judge_b)
    for network in (generator, *judges):
        _use_plain_layers(network)
    lr, betas = config.optimizer.lr, (config.optimizer.beta1, config.optimizer.beta2)
    judges_weights = [weight for judge in judges for weight in judge.parameters()]
    optimizers = Adam(generator.parameters(), lr, betas), Adam(judges_weights, lr, betas)

    def step() -> None:
        with frozen(judges_weights):
            with accelerator.autocast():
                terms, fakes = objective.joint_terms(players, batch)
            total(terms).backward()
        optimizers[0].step()
        optimizers[0].zero_grad()
        for domain in DOMAINS:
            fake = fakes.of(domain).detach()
            with accelerator.autocast():
                terms = objective.tell_apart(domain, players, batch, fake, together=False)
            total(terms).backward()
        optimizers[1].step()
        optimizers[1].zero_grad()

    return step


def _use_plain_layers(network: nn.Module) -> None:
    """PyTorch's own layers, channels first, in place of ours; weights keep values and names."""
    # PyTorch types `to` without this argument alone.
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for name, layer in network.named_children():
        if isinstance(layer, PaddedConv) and layer.reflects:
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
