"""Reversible networks whose training stores no activations.

This package stands alone: it knows nothing of images or GANs. A network of your own becomes
reversible by wrapping its residual functions:

    core = ReversibleSequential(*(AdditiveCoupling(f(), g()) for _ in range(depth)))
    y = core(x)
    x = core.inverse(y)

The inverse of additive couplings is exact; that of affine ones and of `OdeCore` is not.
"""

from revgan.reversible.couplings import AdditiveCoupling, AffineCoupling, Coupling
from revgan.reversible.grid import grid_spacing, round_to_grid
from revgan.reversible.ode import OdeCore
from revgan.reversible.sequential import ReversibleSequential

__all__ = [
    "AdditiveCoupling",
    "AffineCoupling",
    "Coupling",
    "OdeCore",
    "ReversibleSequential",
    "grid_spacing",
    "round_to_grid",
]
