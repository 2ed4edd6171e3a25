"""Other people's ways to train the same networks, to measure ours beside them.

The joint step is that of the paper's released code. The cores save the reversible core's memory in
other ways, each as a `ReversibleSequential` with the same f and g under the same names.
"""

import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Adam
from torch.utils.checkpoint import checkpoint

from revgan.directions import DOMAINS
from revgan.networks.layers import InstanceNorm, PaddedConv
from revgan.reversible import Coupling, ReversibleSequential
from revgan.reversible.steps import Conditions, Step, Walk, run
from revgan.training import Batch, Players, RunConfig, build_objective
from revgan.training.losses import total
from revgan.training.step import frozen


def make_joint_step(
    players: Players, config: RunConfig, accelerator: Accelerator, batch: Batch
) -> Callable[[], None]:
    """A training step as in the paper's released code, which extends CycleGAN's and pix2pix's.

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
            pad: Any = nn.ReflectionPad2d if len(layer.padding) == 4 else nn.ReflectionPad3d
            named: OrderedDict[str, nn.Module] = OrderedDict(
                pad=pad(tuple(layer.padding)), conv=layer.conv
            )
            setattr(network, name, nn.Sequential(named))
        elif isinstance(layer, InstanceNorm):
            setattr(network, name, _PlainInstanceNorm())
        else:
            _use_plain_layers(layer)


class _PlainInstanceNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.instance_norm(x)


class CheckpointCore(ReversibleSequential):
    """Each block recomputed from its stored input (Chen et al., 2016)."""

    def _walk(self, behind: int, blocks: int) -> Walk:
        return _run_checkpointed


def _run_checkpointed(
    steps: Sequence[Step], halves: list[Tensor], conditions: Conditions
) -> tuple[Tensor, Tensor]:
    source, target = halves.pop(), halves.pop()
    for first in range(0, len(steps), 2):
        target, source = checkpoint(
            _run_block,
            steps[first : first + 2],
            target,
            source,
            conditions,
            use_reentrant=False,
            preserve_rng_state=False,
        )
    return target, source


def _run_block(
    steps: Sequence[Step], target: Tensor, source: Tensor, conditions: Conditions
) -> tuple[Tensor, Tensor]:
    """`run`, which empties its list, for a checkpoint, which runs twice."""
    return run(steps, [target, source], conditions)


class MemcnnCore(ReversibleSequential):
    """Blocks of MemCNN (van de Leemput et al., 2019)."""

    def __init__(self, *blocks: Coupling) -> None:
        super().__init__(*blocks)
        with warnings.catch_warnings(action="ignore"):  # MemCNN uses what PyTorch is going to drop
            from memcnn import AdditiveCoupling, InvertibleModuleWrapper

            torch.empty(0).storage()  # PyTorch warns of this once, at its first use
        # In a list, where PyTorch doesn't look for weights: these have their names already.
        self._wrapped = [InvertibleModuleWrapper(AdditiveCoupling(b.f, b.g)) for b in blocks]

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # it takes no conditions
        x = x.clone()  # MemCNN empties its input, which the ReLU before it needs
        for block in self._wrapped:
            x = block(x)
        return x

    def inverse(self, y: Tensor) -> Tensor:  # type: ignore[override]  # no conditions
        y = y.clone()
        for block in reversed(self._wrapped):
            y = block.inverse(y)
        return y


class RevtorchCore(ReversibleSequential):
    """A sequence of RevTorch, and a second one as its inverse, which RevTorch doesn't have."""

    def __init__(self, *blocks: Coupling) -> None:
        super().__init__(*blocks)
        from revtorch import ReversibleBlock, ReversibleSequence

        there = [ReversibleBlock(b.f, b.g) for b in blocks]
        # x2 = y2 + (-g)(y1), x1 = y1 + (-f)(x2): a block too, on halves in the other order.
        back = [ReversibleBlock(_Negated(b.g), _Negated(b.f)) for b in reversed(blocks)]
        self._sequences = [ReversibleSequence(nn.ModuleList(way)) for way in (there, back)]

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # it takes no conditions
        return self._sequences[0](x)

    def inverse(self, y: Tensor) -> Tensor:  # type: ignore[override]  # no conditions
        return _swapped(self._sequences[1](_swapped(y)))


class _Negated(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return -self.net(x)


def _swapped(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=1)
    return torch.cat((second, first), dim=1)
