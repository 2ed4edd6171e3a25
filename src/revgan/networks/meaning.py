"""Which of a generator's options mean something beside which others."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

AdaptiveSolver = Literal["dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"]
FixedStepSolver = Literal["euler", "midpoint", "rk4"]

ADAPTIVE, FIXED_STEP = get_args(AdaptiveSolver), get_args(FixedStepSolver)

WITH_BLOCKS = "revgan", "resnet"
"""Models that have a chain of blocks between encoder and decoder."""

_ONLY_WITH: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "core": [("model", ("revgan",))],
    "coupling": [("model", ("revgan",)), ("core", ("reversible",))],
    "identity_start": [("model", WITH_BLOCKS), ("coupling", ("additive",))],
    "depth": [("model", WITH_BLOCKS)],
    "first_kernel": [("model", WITH_BLOCKS)],
    "last_kernel": [("model", WITH_BLOCKS)],
    "downsampling": [("model", WITH_BLOCKS)],
    "downsampling_padding": [("model", WITH_BLOCKS)],
    "upsampling": [("model", WITH_BLOCKS)],
    "exact": [("model", ("revgan",)), ("core", ("reversible",)), ("coupling", ("additive",))],
    "ode_solver": [("core", ("ode",))],
    "ode_rtol": [("core", ("ode",)), ("ode_solver", ADAPTIVE)],
    "ode_atol": [("core", ("ode",)), ("ode_solver", ADAPTIVE)],
    "ode_step": [("core", ("ode",)), ("ode_solver", FIXED_STEP)],
    "stored_blocks": [("core", ("reversible",))],
}
"""Fields that only mean something where other fields have one of these values."""


def without_meaning(
    values: Mapping[str, Any], usual: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Fields that differ from their default, but mean nothing beside others.

    Args:
        values: of all fields of a `GeneratorConfig`.
        usual: their defaults.

    Yields:
        name, and a message that says beside what it means something.
    """
    for name, conditions in _ONLY_WITH.items():
        value = values[name]
        for other, allowed in conditions:
            if value != usual[name] and values[other] not in allowed:
                yield (
                    name,
                    f"{name} can't be {value} with {other} {values[other]}, only with "
                    f"{' or '.join(allowed)}",
                )
