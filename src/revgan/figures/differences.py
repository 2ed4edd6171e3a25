"""Difference maps: a translation minus its truth, in colours that survive print."""

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.colors import Colormap, to_hex
from torch import Tensor

COLOURS: Colormap = mpl.colormaps["RdBu_r"].with_extremes(bad="#808080")
"""ColorBrewer's blue, almost white, red: apart for the colour-blind, and light where nothing
differs, so that a printed page spends its ink on errors."""


def difference_map(difference: Tensor, limit: float) -> Tensor:
    """A signed difference in colours: red where it is above 0, blue where it is below.

    Args:
        difference: (*spatial), on the CPU.
        limit: the difference, in the same unit, shown by the darkest red or blue. No difference is
            nearly white; what isn't a number is grey.

    Returns:
        (3, *spatial) in [-1, 1].
    """
    colours = COLOURS((difference / (2 * limit) + 0.5).numpy())[..., :3]
    return torch.from_numpy(colours).movedim(-1, 0).float() * 2 - 1


def most_different(difference: Tensor) -> float:
    """The size that all but one in a hundred differences stay below; 0 if none is a number."""
    sizes = difference[difference.isfinite()].abs().float().numpy()
    return float(np.quantile(sizes, 0.99)) if sizes.size else 0.0


def round_limit(most: float) -> float:
    """The least of 1, 1.5, 2, 3, 4, 6, 8, and ten times these and so on, that isn't below `most`.

    Limits are few, so that figures can be compared. It is 1 for 0.
    """
    if not most > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    # A quotient of powers of ten may be off by a rounding error.
    return next(
        step * power for step in (1, 1.5, 2, 3, 4, 6, 8, 10) if most <= step * power * (1 + 1e-9)
    )


def common_limit(most: Sequence[float]) -> float:
    """One limit for the difference maps of several scans, by what `most_different` says of each.

    One failed scan in ten doesn't make all others look perfect: its map is cut off at the limit.
    """
    return round_limit(float(np.quantile(most, 0.9, method="lower")) if len(most) else 0.0)


def scale_colours(count: int = 9) -> list[str]:
    """The colours of the scale from -limit to +limit, as #rrggbb."""
    return [to_hex(COLOURS(position)) for position in np.linspace(0, 1, count)]
