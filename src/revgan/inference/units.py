"""Between the values of files and those of a model's networks, from -1 to 1."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from revgan.data.channels import convert_channels
from revgan.data.formats import Values
from revgan.data.intensity import IntensityMapping
from revgan.data.mappings import TypeRange
from revgan.data.missing import missing_in
from revgan.data.preparation import PREPARATION, Grid, Preparation, fill_in_unit
from revgan.directions import Direction, ends
from revgan.errors import UserError
from revgan.networks import TwoWayGenerator


class UnpreparedError(UserError, ValueError):
    """A model doesn't say how scans are prepared for it."""

    def __init__(self) -> None:
        super().__init__(
            f"the model has no {PREPARATION}, which says how volumes are prepared for the "
            "networks, so it takes only tensors; restore the file that came with the model"
        )


class Units:
    """What a model's networks see of files, and what files get of theirs.

    Attributes:
        generator: the networks.
        preparation: how scans are prepared for them, if that is known.
    """

    generator: TwoWayGenerator
    preparation: Preparation | None

    def channels(self, direction: Direction) -> tuple[int, int]:
        """The channels of inputs and of translations in a direction."""
        return self.generator.channels(direction)

    def input_mapping(self, direction: Direction, dtype: np.dtype[Any]) -> IntensityMapping:
        """How values from files of a type become the networks'.

        Raises:
            ValueError: the type has no full range, but the model takes that.
        """
        before, _ = self.intensities(direction)
        if not isinstance(before, TypeRange):
            return before
        if dtype.kind not in "bui":
            raise ValueError(
                "an image for this model is of a type of integers, such as uint8 from 0 to 255, "
                f"not {dtype}; scale fractions to integers, or give a tensor from -1 to 1"
            )
        return TypeRange(dtype.name)

    def to_unit(
        self, values: Values, nodata: float | None, mapping: IntensityMapping, direction: Direction
    ) -> NDArray[np.float32]:
        """What the networks see of values, or of a window of them.

        Args:
            values: (C, *spatial), in the units of files.
            nodata: see `missing_in`; the networks see `Preparation.fill` there.
            mapping: of the scan, see `input_mapping`.
            direction: "AtoB" or "BtoA".
        """
        channels = self.channels(direction)[0]
        if isinstance(mapping, TypeRange) and len(values) != channels:
            values = convert_channels(values, channels)
        missing = missing_in(values, nodata)
        unit = np.ascontiguousarray(mapping.to_unit(values))
        if missing is not None:
            assert self.preparation is not None
            fill = fill_in_unit(mapping, self.preparation.fill, len(values), values.ndim - 1)
            np.copyto(unit, fill, where=missing)
        return unit

    def from_unit(
        self,
        translated: Tensor,
        direction: Direction,
        source: np.dtype[Any],
        wanted: np.dtype[Any] | None,
    ) -> Values:
        """What files of the other domain have for translations, or for a window of them.

        It isn't rounded yet to what a type of integers has.

        Args:
            translated: (C, *spatial), on the CPU.
            direction: "AtoB" or "BtoA".
            source: the type of the file that is translated.
            wanted: the type of the file that is written; if the model translates by the full range
                of types, it is that of this type, or of the usual one if this has fractions.

        Raises:
            UserError: the translations are NaN or infinite.
        """
        _require_numbers(translated)
        if wanted is None or wanted.kind == "f":
            wanted = self.output_type(direction, source)
        return self.intensities(direction)[1].from_unit(translated.numpy(), wanted)

    def intensities(self, direction: Direction) -> tuple[IntensityMapping, IntensityMapping]:
        """The mappings of inputs and of translations in a direction."""
        if self.preparation is None:
            raise UnpreparedError
        before, after = ends(direction)
        return self.preparation.of(before), self.preparation.of(after)

    @property
    def file_dims(self) -> int:
        """Spatial axes of the scans in files: volumes, if the images are their slices."""
        sliced = self.preparation is not None and self.preparation.slices is not None
        return 3 if sliced else self.generator.spatial_dims

    @property
    def grid(self) -> Grid:
        """The grid that volumes are brought to."""
        if self.preparation is None:
            raise UnpreparedError
        return self.preparation.grid

    def output_type(self, direction: Direction, source: np.dtype[Any]) -> np.dtype[Any] | None:
        """The type of the file that a translation is written to; None where no one has said it.

        Args:
            direction: "AtoB" or "BtoA".
            source: the type of the file that is translated.
        """
        before, after = self.intensities(direction)
        return after.output_type(source if isinstance(before, TypeRange) else None)


def _require_numbers(translated: Tensor) -> None:
    """Refuses values that a file would silently store as black, or as nothing."""
    if not translated.isfinite().all():
        raise UserError(
            "the model produces NaN or infinite values, as its training failed; use an earlier "
            "model, such as the run's best/, or train again with a lower optimizer.lr"
        )
