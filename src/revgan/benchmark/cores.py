"""Other people's ways to save the core's memory, around the blocks of our own.

Each is a `ReversibleSequential` with the same f and g under the same names.
"""

import warnings

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from revgan.reversible import Coupling, ReversibleSequential
from revgan.reversible.steps import Step, run


class CheckpointCore(ReversibleSequential):
    """Each block recomputed from its stored input (Chen et al., 2016)."""

    def _run(self, steps: list[Step], target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        for first in range(0, len(steps), 2):
            target, source = checkpoint(
                run,
                steps[first : first + 2],
                target,
                source,
                use_reentrant=False,
                preserve_rng_state=False,
            )
        return target, source


class MemcnnCore(ReversibleSequential):
    """Blocks of MemCNN (van de Leemput et al., 2019)."""

    def __init__(self, *blocks: Coupling) -> None:
        super().__init__(*blocks)
        with warnings.catch_warnings(action="ignore"):  # MemCNN uses what PyTorch means to drop
            from memcnn import AdditiveCoupling, InvertibleModuleWrapper

            torch.empty(0).storage()  # PyTorch warns of this one once, at its first use
        # In a list, where PyTorch doesn't look for weights: these have their names already.
        self._wrapped = [InvertibleModuleWrapper(AdditiveCoupling(b.f, b.g)) for b in blocks]

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()  # MemCNN empties its input, which the ReLU before it keeps for itself
        for block in self._wrapped:
            x = block(x)
        return x

    def inverse(self, y: Tensor) -> Tensor:
        y = y.clone()
        for block in reversed(self._wrapped):
            y = block.inverse(y)
        return y


class RevtorchCore(ReversibleSequential):
    """A sequence of RevTorch, and a second one that is its inverse, which RevTorch leaves out."""

    def __init__(self, *blocks: Coupling) -> None:
        super().__init__(*blocks)
        from revtorch import ReversibleBlock, ReversibleSequence

        there = [ReversibleBlock(b.f, b.g) for b in blocks]
        # x2 = y2 + (-g)(y1), x1 = y1 + (-f)(x2): a block too, on halves in the other order.
        back = [ReversibleBlock(_Negated(b.g), _Negated(b.f)) for b in reversed(blocks)]
        self._sequences = [ReversibleSequence(nn.ModuleList(way)) for way in (there, back)]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self._sequences[0](x)
        return y

    def inverse(self, y: Tensor) -> Tensor:
        return _swapped(self._sequences[1](_swapped(y)))


class _Negated(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = -self.net(x)
        return y


def _swapped(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=1)
    return torch.cat((second, first), dim=1)
