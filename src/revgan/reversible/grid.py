"""Fixed-point arithmetic inside floating point: sums that can be undone bit for bit.

In floating point ``(x + h) - h`` is not ``x``: the sum is rounded, and a reversible network that
recomputes its activations this way drifts away from them block by block. Multiples of ``2**-k``,
however, add without any rounding as long as the sums stay below ``2**(p - k)``, where ``p`` is the
number of significand bits (24 for float32, 53 for float64). So everything that enters a residual
stream is rounded to such a grid first; inside, addition and subtraction are exact inverses.
"""

import torch
from torch import Tensor

RANGE_BITS = 10
"""The residual stream adds exactly while its values stay below ``2**RANGE_BITS`` = 1024.

Instance-normalised functions over N positions are bounded by sqrt(N) each; a trained network's
stream stays below 100. Past the range the sums are rounded as in ordinary floating point: the
result is as good as without the grid, but no longer bit-exact.
"""


def grid_spacing(dtype: torch.dtype) -> float | None:
    """The distance between two grid points: 2**-14 in float32, 2**-43 in float64.

    None for the 16-bit types, whose significands are too short for a useful grid: an exact residual
    stream is kept in float32 instead.
    """
    if dtype not in (torch.float32, torch.float64):
        return None
    half_ulp_of_one: float = torch.finfo(dtype).eps / 2
    return half_ulp_of_one * float(2**RANGE_BITS)


def round_to_grid(x: Tensor) -> Tensor:
    """Rounds to the nearest grid point (ties to even); the gradient passes straight through.

    Args:
        x: any shape. 16-bit floating point comes back as it is (see `grid_spacing`).
    """
    spacing = grid_spacing(x.dtype)
    if spacing is None:
        return x
    # PyTorch leaves Function.apply without types.
    rounded: Tensor = _StraightThroughRound.apply(x, spacing)  # type: ignore[no-untyped-call]
    return rounded


class _StraightThroughRound(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor, spacing: float) -> Tensor:
        # The spacing is a power of two, so both products are exact.
        return (x * (1 / spacing)).round_().mul_(spacing)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None
