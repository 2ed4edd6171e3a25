"""One direction of a generator as a graph of plain operators, for images or volumes of any size."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from revgan.data.mappings import Intensity
from revgan.directions import Direction
from revgan.networks import TwoWayGenerator

LARGEST_SIZE = 2**20
"""What exported sizes are bounded by; PyTorch wants a bound."""

AXES = {2: ("height", "width"), 3: ("x", "y", "z")}
"""The names of spatial axes in a graph."""


class OneWay(nn.Module):
    """A generator in one direction, from float32 to float32.

    Args:
        generator: in evaluation mode, of any type of numbers.
        direction: "AtoB" or "BtoA".
        scaling: the intensities of inputs and outputs, if these are values of files; None if they
            lie in [-1, 1].
        fill: what the networks see where a value of a file is NaN: (1, *1) or (C, *1), in [-1, 1].

    Shapes: (B, C, *spatial) to (B, C', *spatial), sizes multiples of the generator's.
    """

    def __init__(
        self,
        generator: TwoWayGenerator,
        direction: Direction,
        scaling: tuple[Intensity, Intensity] | None = None,
        fill: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.generator, self.direction = generator, direction
        self.before: nn.Module = nn.Identity()
        self.after: nn.Module = nn.Identity()
        if scaling is not None:
            assert fill is not None
            before, after = scaling
            self.before = ToUnit(before, generator.spatial_dims, fill)
            self.after = FromUnit(after, generator.spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x).to(self.generator.dtype)
        return self.after(self.generator(x, self.direction).float())


class _Linear(nn.Module):
    """Holds the middle and half the width of a range of intensities, per channel if they differ."""

    middle: Tensor
    reach: Tensor

    def __init__(self, intensity: Intensity, spatial_dims: int) -> None:
        super().__init__()
        limits = torch.tensor([intensity.low, intensity.high], dtype=torch.float64)
        low, high = limits.reshape(2, -1, *[1] * spatial_dims)
        self.register_buffer("middle", ((low + high) / 2).float())
        self.register_buffer("reach", ((high - low) / 2).float())
        self.clip = intensity.clip


class ToUnit(_Linear):
    """Maps values of files to [-1, 1]; NaN becomes what the networks see where nothing was."""

    fill: Tensor

    def __init__(self, intensity: Intensity, spatial_dims: int, fill: Tensor) -> None:
        super().__init__(intensity, spatial_dims)
        self.register_buffer("fill", fill)

    def forward(self, x: Tensor) -> Tensor:
        unit = (x - self.middle) / self.reach
        if self.clip:
            unit = unit.clamp(-1, 1)
        return torch.where(x.isnan(), self.fill, unit)


class FromUnit(_Linear):
    """Maps [-1, 1] to values of files, which aren't rounded."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.reach + self.middle


def program(one_way: OneWay) -> ExportedProgram:
    """The graph, with batch and sizes left open.

    Raises:
        RuntimeError: the generator can't be written as a graph.
    """
    generator = one_way.generator
    config, dims = generator.config, generator.spatial_dims
    limits = list(zip(config.size_multiples(dims), config.min_sizes(dims), strict=True))
    # Two samples, and sizes that differ: PyTorch takes 1 for a constant.
    sizes = [least + (2 + axis) * multiple for axis, (multiple, least) in enumerate(limits)]
    example = torch.zeros(2, generator.channels(one_way.direction)[0], *sizes)
    shape: dict[int, Any] = {0: Dim("batch", min=1, max=LARGEST_SIZE)}
    for axis, (name, (multiple, least)) in enumerate(zip(AXES[dims], limits, strict=True), start=2):
        cells = Dim(f"{name}_cells", min=least // multiple, max=LARGEST_SIZE)
        shape[axis] = multiple * cells if multiple > 1 else cells
    with torch.no_grad(), quiet():
        return torch.export.export(one_way, (example,), dynamic_shapes=(shape,))


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps away what PyTorch's exporters say of themselves, and of packages they don't need."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
