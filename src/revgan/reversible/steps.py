"""A chain of couplings as one list of equal steps, which serves both directions.

Write the halves of the channels as (target, source). A step replaces the target by
``couple(target, net(source))`` and swaps the roles. A coupling is two steps, with f and with g; a
chain of couplings is a longer list. Its inverse is the list reversed, with `uncouple` for `couple`
and the halves given in the other order. Forward, inverse and both backward passes walk such a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from revgan.reversible.grid import grid_spacing, round_to_grid

if TYPE_CHECKING:
    from revgan.reversible.couplings import Coupling


@dataclass(frozen=True)
class Step:
    """Half a coupling: the target half meets the features that `net` computes of the source."""

    coupling: Coupling
    net: nn.Module
    inverse: bool = False

    def combine(self, target: Tensor, features: Tensor) -> Tensor:
        """The target after this step."""
        couple = self.coupling.uncouple if self.inverse else self.coupling.couple
        return couple(target, features)

    def recover(self, target: Tensor, features: Tensor) -> Tensor:
        """The target before this step, from the target after it."""
        return replace(self, inverse=not self.inverse).combine(target, features)

    def vjp(self, target: Tensor, features: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of the target before this step and of the features."""
        return self.coupling.couple_vjp(target, features, grad, self.inverse)


def coupling_steps(couplings: Iterable[Coupling]) -> list[Step]:
    """The forward steps of a chain of couplings."""
    return [Step(c, net) for c in couplings for net in (c.f, c.g)]


def inverted(steps: Sequence[Step]) -> list[Step]:
    """The steps that undo `steps`; they take and return (target, source) in swapped order."""
    return [replace(step, inverse=not step.inverse) for step in reversed(steps)]


def run(steps: Iterable[Step], target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """Walks the steps under whatever gradient mode is on."""
    for step in steps:
        target, source = source, step.combine(target, step.net(source))
    return target, source


def split(x: Tensor, *, exact: bool) -> tuple[Tensor, Tensor]:
    """The halves of the channels of (B, C, *spatial), put on the grid where `exact`.

    16-bit floating point has no useful grid: such an input, as it comes under autocast, becomes
    float32, and the residual stream stays so while f and g run in 16 bits.

    Raises:
        ValueError: C is odd.
    """
    if x.ndim < 2 or x.shape[1] % 2:
        raise ValueError(
            f"a reversible block splits its channels into halves, so it needs (batch, channels, "
            f"...) with an even number of channels, not shape {tuple(x.shape)}"
        )
    if exact and grid_spacing(x.dtype) is None:
        x = x.float()
    x1, x2 = x.chunk(2, dim=1)
    return (round_to_grid(x1), round_to_grid(x2)) if exact else (x1, x2)
