"""Fixed-point arithmetic inside floating point: sums that can be undone bit for bit.

In floating point ``(x + h) - h`` is not ``x``: the sum is rounded, and a reversible network that
recomputes its activations this way drifts away from them block by block. Multiples of ``2**-k``,
however, add without rounding as long as the sums stay below ``2**(p - k)``, where ``p`` is the
number of significand bits (24 for float32, 53 for float64). So everything that enters a residual
stream is rounded to such a grid first; inside, addition and subtraction are exact inverses.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad

from revgan.reversible.tracing import exporting, plain_only, traced

RANGE_BITS = 8
"""The residual stream adds exactly while its values stay below ``2**RANGE_BITS`` = 256.

The finer the grid, the closer gradients are to those of real numbers; the coarser, the larger the
range. At 128 pixels, a generator's gradients on 2**-16 are about twice as far from float64 as plain
float32's, on 2**-14 four times; at 64 pixels plain float32 is far nearer (benchmarks/grid.py).
Streams of fresh networks stay below 30 at depth 30.

Beyond the range, a sum has no bit left for the grid's last one. It is rounded as in ordinary
floating point, by up to half a unit in its last place: the result is finite and as good as without
the grid, and an inverse returns the input to within those roundings, but no longer bit for bit.
"""


def grid_spacing(dtype: torch.dtype) -> float | None:
    """The distance between two grid points: 2**-16 in float32, 2**-45 in float64.

    None for the 16-bit types, whose significands are too short for a useful grid: an exact residual
    stream is kept in float32 instead.
    """
    return _SPACINGS.get(dtype)


# The half of a unit in the last place of 1, times the range.
_SPACINGS: dict[torch.dtype, float] = {
    dtype: torch.finfo(dtype).eps / 2 * 2**RANGE_BITS for dtype in (torch.float32, torch.float64)
}


def round_to_grid(x: Tensor) -> Tensor:
    """Rounds to the nearest grid point (ties to even); the gradient passes straight through.

    Args:
        x: any shape. 16-bit floating point comes back as it is (see `grid_spacing`), and so do
            values beyond the range, which have no finer digits, infinite ones and NaN.
    """
    return _straight_through(x, _rounded)


def add_on_grid(
    target: Tensor, addend: Tensor, sign: int = 1, *, may_change: bool = False
) -> Tensor:
    """``target + sign * addend``, with the addend rounded to the grid; what it adds, -1 undoes.

    It rounds as `round_to_grid` does, but from 64 up to the nearest multiple of twice the spacing
    or more: that takes fewer passes over memory.

    Args:
        target: on the grid, in float32 or float64; otherwise nothing is rounded.
        addend: of the same shape and type.
        sign: 1 or -1.
        may_change: whether to round the addend itself, where no gradient needs it.
    """
    if grid_spacing(target.dtype) is None:
        return torch.add(target, addend, alpha=sign)
    if not (torch.is_grad_enabled() or plain_only()):
        rounded = _rounded_by_sums(addend, in_place=may_change)
        # Into the rounded copy, if the sum would lie in memory as that does.
        out = rounded if rounded.stride() == target.stride() else None
        return torch.add(target, rounded, alpha=sign, out=out)
    if exporting() and not (torch.is_grad_enabled() or traced()):
        # Three additions in the graph, where nan_to_num would take a dozen operators. A trace is
        # checked against a second one, which has gradients off and must be the same.
        return torch.add(target, _rounded_by_sums(addend), alpha=sign)
    return torch.add(target, _straight_through(addend, _rounded_by_sums), alpha=sign)


def _straight_through(x: Tensor, rounded: Callable[[Tensor], Tensor]) -> Tensor:
    if grid_spacing(x.dtype) is None:
        return x
    dual = forward_ad.unpack_dual(x).tangent is not None
    if dual or plain_only():
        # The same in plain operations, for derivatives that a compilable Function can't have.
        return x + _change(x).detach()
    if not torch.is_grad_enabled():
        return rounded(x)
    # Function.apply has no types in PyTorch.
    return _StraightThrough.apply(x, rounded)  # type: ignore[no-untyped-call]


def _change(x: Tensor) -> Tensor:
    """What rounding to the nearest grid point adds to x."""
    spacing = grid_spacing(x.dtype)
    assert spacing is not None
    # The spacing is a power of two, so both products are exact, until the first is infinite.
    change = (x * (1 / spacing)).round_().mul_(spacing).sub_(x)
    return change.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)


def _rounded(x: Tensor) -> Tensor:
    return _change(x).add_(x)


def _rounded_by_sums(x: Tensor, *, in_place: bool = False) -> Tensor:
    """The same values, rounded to multiples of the spacing; a new tensor, unless in place.

    Numbers from 128 to 256 are multiples of the spacing, so a sum in there is rounded to them.
    That is the first of these for x from -64 to 64, and the second for x from -128 to -64; what
    the others do is exact there. There is no product that could overflow.
    """
    half = float(2 ** (RANGE_BITS - 1))
    first = x.add_(1.5 * half) if in_place else x + 1.5 * half
    return first.sub_(2.5 * half).add_(half)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor, rounded: Callable[[Tensor], Tensor]) -> Tensor:
        return rounded(x)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None
