"""The discriminators' configuration."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

from revgan.errors import check_numbers, check_types
from revgan.networks.axes import PerAxis, fitted, largest, numbers, per_axis, require_axes, shown
from revgan.networks.config import LARGEST_WIDTH, Init, Norm

DiscriminatorForm = Literal["paper", "patch70"]


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminators' architecture.

    Attributes:
        form: "paper" is what Section 1.2 says: four 4x4 convolutions of stride 2, then a 1x1
            convolution. "patch70" is the 70x70 PatchGAN of the CycleGAN and RevGAN code: three 4x4
            convolutions of stride 2, two of stride 1; its grid of judgements is twice as fine.
        width: channels of the first layer; each further one doubles them, up to 8 * width.
        norm: see the generator's.
        init: see the generator's.
        downsamplings: how many of its convolutions of stride 2 halve an axis, the last ones; the
            others have stride 1 and kernels of 3 along it. One number, or one per axis, such as
            [3, 3, 1]; null: all of them, but no more than fit the shorter axes of `data.crop`.
        spectral_norm: divide the convolutions' weights by their largest singular value, so that no
            layer amplifies more than once (Miyato et al., 2018).
    """

    form: DiscriminatorForm = "patch70"
    width: int = 64
    norm: Norm = "instance"
    init: Init = "normal"
    downsamplings: PerAxis | None = None
    spectral_norm: bool = False

    @property
    def levels(self) -> int:
        """How many convolutions of stride 2 the form has."""
        return 4 if self.form == "paper" else 3

    @property
    def halvings(self) -> PerAxis:
        """How often each axis is halved."""
        return self.levels if self.downsamplings is None else self.downsamplings

    @property
    def min_size(self) -> int:
        """The smallest size that fits any axis, see `min_sizes`."""
        return self._least << largest(self.halvings)

    def min_sizes(self, spatial_dims: int) -> tuple[int, ...]:
        """By axis, the smallest size to judge: below it, the last normalised layer has one
        position.
        """
        return tuple(self._least << count for count in per_axis(self.halvings, spatial_dims))

    def require_dims(self, spatial_dims: int) -> None:
        """As `GeneratorConfig.require_dims`."""
        require_axes("downsamplings", self.halvings, spatial_dims)

    @property
    def _least(self) -> int:
        """The smallest size that isn't halved; patch70's last kernels of 4 each take off one."""
        return 2 if self.form == "paper" else 3

    def fitted(self, sizes: Sequence[int]) -> Self:
        """The same discriminator, which halves axes that are shorter than others less often."""
        if self.downsamplings is not None:
            return self
        counts = tuple(max(0, (size // self._least).bit_length() - 1) for size in sizes)
        chosen = fitted(self.levels, tuple(sizes), counts)
        return self if chosen == self.levels else replace(self, downsamplings=chosen)

    def __post_init__(self) -> None:
        check_types(self)
        check_numbers(self, width=(1, LARGEST_WIDTH))
        if not all(0 <= count <= self.levels for count in numbers(self.halvings)):
            raise ValueError(
                f"downsamplings must be null, or from 0 to {self.levels} with form {self.form}, "
                f"not {shown(self.halvings)}"
            )
