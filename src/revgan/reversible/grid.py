"""Fixed-point arithmetic inside floating point: sums that can be undone bit for bit.

In floating point ``(x + h) - h`` is not ``x``: the sum is rounded, and a reversible network that
recomputes its activations this way drifts away from them block by block. Multiples of ``2**-k``,
however, add without rounding as long as the sums stay below ``2**(p - k)``, where ``p`` is the
number of significand bits (24 for float32, 53 for float64). So everything that enters a residual
stream is rounded to such a grid first; inside, addition and subtraction are exact inverses.
"""

import torch
from torch import Tensor
from torch.autograd import forward_ad

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
    dual = forward_ad.unpack_dual(x).tangent is not None
    if dual or torch._C._are_functorch_transforms_active():
        # The same in plain operations, for derivatives that a compilable Function can't have.
        return x + (_rounded(x, spacing) - x).detach()
    if not torch.is_grad_enabled():
        return _rounded(x, spacing)
    # Function.apply has no types in PyTorch.
    rounded: Tensor = _StraightThroughRound.apply(x, spacing)  # type: ignore[no-untyped-call]
    return rounded


def _rounded(x: Tensor, spacing: float) -> Tensor:
    # The spacing is a power of two, so both products are exact.
    return (x * (1 / spacing)).round_().mul_(spacing)


class _StraightThroughRound(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor, spacing: float) -> Tensor:
        return _rounded(x, spacing)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None
