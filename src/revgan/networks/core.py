"""The core between encoder and decoder: a chain of couplings, or a differential equation."""

from torch import nn

from revgan.errors import require_package
from revgan.networks.config import GeneratorConfig
from revgan.networks.field import TimeField
from revgan.networks.layers import Keep
from revgan.networks.parts import residual_function
from revgan.networks.slabs import Slabs
from revgan.reversible import (
    AdditiveCoupling,
    AffineCoupling,
    Coupling,
    OdeCore,
    ReversibleSequential,
)


def reversible_core(config: GeneratorConfig, spatial_dims: int) -> ReversibleSequential:
    """The paper's core: R couplings over `config.core_channels` channels."""
    return ReversibleSequential(
        *(_coupling(config, spatial_dims, number) for number in range(config.depth)),
        memory_saving=config.memory != "naive",
        stored_blocks=config.stored_blocks,
    )


def _coupling(config: GeneratorConfig, spatial_dims: int, number: int) -> Coupling:
    half = config.core_channels // 2
    # Recomputed activations are dropped at once. Each direction stores those of its last blocks.
    from_the_ends = min(number, config.depth - 1 - number)
    stored = config.memory == "naive" or from_the_ends < config.stored_blocks
    keep: Keep = "input" if stored else "padded"
    out = half if config.coupling == "additive" else 2 * half
    f, g = (residual_function(config, spatial_dims, half, out, keep) for _ in "fg")
    # Norms would take more passes over the slabs, and random numbers would differ between passes.
    if config.slabs and config.slabs > 1 and config.norm == "none" and not config.dropout:
        slabs = -(-config.slabs // config.size_multiple)  # as thick as those of full resolution
        f, g = (Slabs(*net, slabs=slabs) for net in (f, g))
    if config.coupling == "affine":
        return AffineCoupling(f, g)
    return AdditiveCoupling(f, g, exact=config.exact)


def ode_core(config: GeneratorConfig, spatial_dims: int) -> OdeCore:
    """A core of continuous depth, integrated from time 0 to R.

    Raises:
        UserError: torchdiffeq isn't installed.
    """
    require_package("torchdiffeq", "ode", "generator.core ode")
    return OdeCore(
        TimeField(config, spatial_dims, config.core_channels),
        config.depth,
        solver=config.ode_solver,
        rtol=config.ode_rtol,
        atol=config.ode_atol,
        step=config.ode_step,
        memory_saving=config.memory != "naive",
    )


def residual_functions(core: ReversibleSequential | OdeCore) -> list[nn.Module]:
    """The f and g of every coupling, or the field of the equation."""
    if isinstance(core, OdeCore):
        return [core.field]
    return [function for block in core for function in (block.f, block.g)]
