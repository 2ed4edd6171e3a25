"""A generator for each direction, as in CycleGAN and pix2pix: RevGAN's baselines."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from revgan.directions import DIRECTIONS, Direction
from revgan.networks.generator import Generator, TwoWayGenerator


class GeneratorPair(TwoWayGenerator):
    """A generator for each direction; the two share nothing.

    Trained with the unpaired objective they are CycleGAN; with the paired one, pix2pix both ways.

    Args:
        *arguments, **fields: see `Generator`.
        directions: the directions to have a generator for; training needs both.

    Shapes: see `TwoWayGenerator`.
    """

    one_way: ClassVar[type[Generator]]
    """What translates in each direction."""

    def __init__(
        self,
        *arguments: Any,
        directions: Sequence[Direction] = DIRECTIONS,
        **fields: Any,
    ) -> None:
        if not directions or not set(directions) <= set(DIRECTIONS):
            known = " and ".join(DIRECTIONS)
            raise ValueError(f"directions must be one or both of {known}, not {list(directions)}")
        self.directions = tuple(directions)
        super().__init__(*arguments, **fields)

    def _add_layers(self) -> None:
        self.generators = nn.ModuleDict()
        for direction in self.directions:
            self.generators[direction] = self.one_way.from_config(
                self.config, self.spatial_dims, *self.channels(direction)
            )

    def forward(self, x: Tensor, direction: Direction = "AtoB") -> Tensor:
        """Translates x by the direction's own generator."""
        self._check(x, direction)
        return self.generators[direction](x)
