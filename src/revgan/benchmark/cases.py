"""What `revgan benchmark` can measure: the names of the variants, and the sizes of a step."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

from revgan.training.config import ObjectiveKind

VariantName = Literal[
    "joint",
    "cyclegan",
    "naive",
    "checkpoint",
    "memcnn",
    "revtorch",
    "reversible",
    "lean",
    "slabs",
]
PACKAGES = ("memcnn", "revtorch")
"""Variants that need the package of the same name, which may be missing."""


@dataclass(frozen=True)
class Case:
    """What is trained: the size of a step.

    Attributes:
        objective: whose losses.
        spatial_dims: 2 for images of 3 channels, 3 for volumes of 1.
        size: positions along each spatial axis.
        width: K, channels after the generator's first convolution.
        depth: R, reversible blocks in the core.
        preset: the one whose networks are trained, but for width and depth.
    """

    objective: ObjectiveKind
    spatial_dims: Literal[2, 3]
    size: int
    width: int
    depth: int
    preset: str = "default"

    @property
    def channels(self) -> int:
        """Channels of either domain."""
        return 3 if self.spatial_dims == 2 else 1

    @property
    def title(self) -> str:
        """All but the depth, in words."""
        shape = " x ".join([str(self.size)] * self.spatial_dims)
        networks = "" if self.preset == "default" else f", preset {self.preset}"
        return f"{self.objective}, {shape}, width {self.width}{networks}"


def installed_variants() -> list[VariantName]:
    """All variants but those whose package is missing."""
    return [v for v in get_args(VariantName) if v not in PACKAGES or find_spec(v)]
