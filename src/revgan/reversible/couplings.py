"""Coupling layers: the invertible blocks of a reversible network.

A coupling splits the channels of its input into halves and changes each by a function of the other
(Dinh et al., NICE, 2014; Gomez et al., RevNet, 2017; the paper's Figure 2 shows f and g):

    y1 = couple(x1, f(x2))        x2 = uncouple(y2, g(y1))
    y2 = couple(x2, g(y1))        x1 = uncouple(y1, f(x2))

f and g need not be invertible. Kinds of couplings differ only in how they combine a half with the
features of the other, which is `couple`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revgan.reversible.grid import add_on_grid
from revgan.reversible.steps import Step, Walk, inverted, run, split


class Coupling(nn.Module, ABC):
    """One reversible block: `forward` and `inverse` over (B, C, *spatial), C even.

    Args:
        f: maps the second half of the channels to features for the first.
        g: maps the (new) first half to features for the second.

    f and g keep the spatial shape. They may be any modules that leave their input as it is. They
    draw random numbers from PyTorch's global generators, or from `torch.Generator`s that are
    attributes of their modules. All else that they use and that requires a gradient must be among
    their parameters, or come as a condition. With 16-bit weights they get 16-bit inputs.
    """

    exact: bool = False
    """Whether `uncouple` undoes `couple` bit for bit on inputs that lie on the grid."""

    def __init__(self, f: nn.Module, g: nn.Module) -> None:
        super().__init__()
        self.f = f
        self.g = g

    @abstractmethod
    def couple(self, target: Tensor, features: Tensor) -> Tensor:
        """The new half, from the old half and features of the other half."""

    @abstractmethod
    def uncouple(self, target: Tensor, features: Tensor) -> Tensor:
        """The old half again: the inverse of `couple` at fixed features."""

    def couple_vjp(
        self, target: Tensor, features: Tensor, grad: Tensor, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        """Pulls a gradient back through `couple` (or `uncouple`) to the target and the features."""
        combine = self.uncouple if inverse else self.couple
        with torch.enable_grad():
            inputs = target.detach().requires_grad_(), features.detach().requires_grad_()
            out = combine(*inputs)
        grad_target, grad_features = torch.autograd.grad(out, inputs, grad)
        return grad_target, grad_features

    def forward(self, x: Tensor, *conditions: Tensor, walk: Walk = run) -> Tensor:
        """Maps x to y of the same shape, storing activations like any other module.

        Args:
            x: (B, C, *spatial).
            *conditions: handed on to f and g, which are called as ``f(half, *conditions)``.
            walk: runs the block's two steps; a core that the block is part of has its own way.
        """
        halves = list(split(x, conditions, exact=self.exact))
        return torch.cat(walk(coupling_steps([self]), halves, conditions), dim=1)

    def inverse(self, y: Tensor, *conditions: Tensor, walk: Walk = run) -> Tensor:
        """Maps y back to x; for the arguments see `forward`."""
        y1, y2 = split(y, conditions, exact=self.exact)
        x2, x1 = walk(inverted(coupling_steps([self])), [y2, y1], conditions)
        return torch.cat((x1, x2), dim=1)


def coupling_steps(couplings: Iterable[Coupling]) -> list[Step]:
    """The forward steps of a chain of couplings: of each, one with f and one with g."""
    return [Step(coupling, net) for coupling in couplings for net in (coupling.f, coupling.g)]


class AdditiveCoupling(Coupling):
    """Additive coupling, the paper's choice: y1 = x1 + f(x2), y2 = x2 + g(y1).

    Args:
        f, g: see `Coupling`; their outputs have the shape of their inputs.
        exact: rounds what is added to a fixed grid (`revgan.reversible.grid`), so that in float32
            and float64 the inverse returns the block's rounded input bit for bit and gradients
            recomputed through it equal stored ones.

    Example:
        >>> import torch
        >>> from revgan.reversible import AdditiveCoupling, round_to_grid
        >>> f, g = (torch.nn.Conv2d(4, 4, 3, padding=1) for _ in "fg")
        >>> block = AdditiveCoupling(f, g)
        >>> x = round_to_grid(torch.randn(1, 8, 5, 5))
        >>> torch.equal(block.inverse(block(x)), x)
        True
    """

    def __init__(self, f: nn.Module, g: nn.Module, *, exact: bool = True) -> None:
        super().__init__(f, g)
        self.exact = exact

    def extra_repr(self) -> str:
        return f"exact={self.exact}"

    def couple(self, target: Tensor, features: Tensor) -> Tensor:
        return self._sum(target, features, 1)

    def uncouple(self, target: Tensor, features: Tensor) -> Tensor:
        return self._sum(target, features, -1)

    def _sum(self, target: Tensor, features: Tensor, sign: int) -> Tensor:
        if features.shape != target.shape:
            raise ValueError(
                f"f and g of an AdditiveCoupling must return the shape of their input, "
                f"{tuple(target.shape)}, not {tuple(features.shape)}"
            )
        addend = features.to(target.dtype)
        if self.exact:
            return add_on_grid(target, addend, sign, may_change=addend is not features)
        return torch.add(target, addend, alpha=sign)

    def couple_vjp(
        self, target: Tensor, features: Tensor, grad: Tensor, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        # A sum passes its gradient on unchanged; there is no need to differentiate it. PyTorch has
        # no public name for what is negative once it is read, so that no second copy exists.
        return grad, (torch._neg_view(grad) if inverse else grad).to(features.dtype)


class AffineCoupling(Coupling):
    """Affine coupling (Dinh et al., RealNVP, 2017; the paper's Section 3): y1 = s * x1 + t.

    The scale s = sigmoid(a + 2) lies between 0 and 1, as in Glow (Kingma and Dhariwal, 2018), so
    that a fresh block is near the identity and its forward direction can't overflow.

    The inverse divides by s, 0.88 in a fresh block, and so amplifies rounding errors: this coupling
    isn't exact. Fresh blocks of small convolutions, with standard normal inputs of 20 seeds, were
    inverted with errors below 64 eps / 0.88**depth: in float32 2e-6 at depth 6, 4e-6 at 12, 7e-5 at
    30 and 1e-2 at 60; in float64 4e-15, 8e-15, 1e-13 and 2e-11. Memory-saving gradients then differ
    from naive ones: in float32 by 5e-7 at depth 12, 2e-3 at 30 and 4e-2 at 60. And the `inverse` of
    something that no `forward` made grows by 1 / s with each block: from depth 12 on, it overflowed
    for all seeds.

    Args:
        f, g: see `Coupling`; they return twice the channels of their input: first a, then t.

    Example:
        >>> import torch
        >>> from revgan.reversible import AffineCoupling
        >>> f, g = (torch.nn.Conv2d(4, 8, 3, padding=1) for _ in "fg")
        >>> block = AffineCoupling(f, g)
        >>> x = torch.randn(1, 8, 5, 5)
        >>> torch.allclose(block.inverse(block(x)), x, atol=1e-5)
        True
    """

    @staticmethod
    def _scale_and_shift(target: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        if features.shape[1] != 2 * target.shape[1]:
            raise ValueError(
                f"f and g of an AffineCoupling must return {2 * target.shape[1]} channels (scale "
                f"and shift) for {target.shape[1]}, not {features.shape[1]}"
            )
        raw_scale, shift = features.to(target.dtype).chunk(2, dim=1)
        return F.sigmoid(raw_scale + 2), shift

    def couple(self, target: Tensor, features: Tensor) -> Tensor:
        scale, shift = self._scale_and_shift(target, features)
        return target * scale + shift

    def uncouple(self, target: Tensor, features: Tensor) -> Tensor:
        scale, shift = self._scale_and_shift(target, features)
        return (target - shift) / scale
