"""Translating with a trained model: tensors, arrays and files of any size."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from revgan.data.channels import convert_channels
from revgan.data.formats import KINDS, WHOLE, Header, Scan, Selection, Values
from revgan.data.formats.contract import require_photo
from revgan.data.formats.files import MIN_STEPS
from revgan.data.intensity import IntensityMapping, TypeRange
from revgan.data.preparation import PREPARATION, WITHOUT_FILE, Grid, Preparation
from revgan.data.scratch import Scratch, Window
from revgan.directions import Direction, ends
from revgan.errors import UserError
from revgan.inference.jobs import FileJob
from revgan.inference.parts import padding_for, translate_parts
from revgan.inference.restoring import restore
from revgan.inference.windows import Progress, Windows
from revgan.networks import TwoWayGenerator
from revgan.networks.pretrained import load_generator


class UnpreparedError(UserError, ValueError):
    """A model can't tell what becomes of a scan."""

    def __init__(self) -> None:
        super().__init__(
            f"the model has no {PREPARATION}, which tells what volumes go through on their way to "
            "the networks, and so takes tensors only; restore the file that came with the model"
        )


CHANNEL_AXIS = {2: -1, 3: 0}
"""Where arrays that users give have their channels: pixels last, as everywhere, volumes first."""


class Translator:
    """A trained generator that takes images, or volumes, as they are.

    Args:
        generator: the networks, in the device and precision to run in.
        preparation: what scans go through on their way to the networks; without it, a generator of
            images takes the full range of their type, and one of volumes tensors only.
        windows: how what is too large for one pass is cut; None translates all in one pass.
    """

    def __init__(
        self,
        generator: TwoWayGenerator,
        preparation: Preparation | None = None,
        windows: Windows | None = None,
    ) -> None:
        self.generator = generator.eval()
        self.preparation = preparation or WITHOUT_FILE.get(generator.spatial_dims)
        self.windows = windows
        self.device = next(generator.parameters()).device

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        device: str | torch.device | None = None,
        windows: Windows | None = None,
    ) -> "Translator":
        """Loads a model folder, or the model of a run folder.

        Args:
            folder: with model.safetensors, config.yaml and intensity.yaml, or with a model/ that
                has them.
            device: where to run; by default a GPU if there is one.
            windows: see `Translator`.

        Raises:
            UserError: no model is there, or it can't be loaded.
        """
        folder = Path(folder)
        if (folder / "model").is_dir():
            folder = folder / "model"
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        generator = load_generator(folder)
        return cls(generator.to(device), Preparation.read(folder), windows)

    @overload
    def __call__(
        self, image: Tensor, direction: Direction = "AtoB", progress: Progress | None = None
    ) -> Tensor: ...

    @overload
    def __call__(
        self, image: NDArray[Any], direction: Direction = "AtoB", progress: Progress | None = None
    ) -> NDArray[Any]: ...

    def __call__(
        self,
        image: Tensor | NDArray[Any],
        direction: Direction = "AtoB",
        progress: Progress | None = None,
    ) -> Tensor | NDArray[Any]:
        """Translates one image or volume; its size and kind stay as they are.

        Args:
            image: a tensor (C, *spatial) or a batch (B, C, *spatial) in [-1, 1]. For a model of
                images also pixels (H, W) or (H, W, C) in uint8 or uint16, as an array or anything
                NumPy takes for one, such as a PIL image; images whose channels differ from the
                model's are converted. For a model of volumes also an array (X, Y, Z) or
                (C, X, Y, Z) in the units of the training volumes' files, at their orientation and
                spacing.
            direction: "AtoB" or "BtoA".
            progress: told about each window, where there are several.

        Returns:
            A tensor for a tensor, pixels (H, W, C) of the same bit depth for pixels, and an array
            (C, X, Y, Z) of float32, in the units of the other domain's files, for a volume.

        Raises:
            ValueError: the direction, shape or type is none of these.
            UserError: what comes of pixels or of a volume's values is no numbers.
        """
        if isinstance(image, Tensor):
            return self._translate_tensor(image, direction, progress)
        if self.preparation is None:
            raise UnpreparedError
        array = np.asarray(image)
        dims = self.generator.spatial_dims
        axis = CHANNEL_AXIS[dims]
        if array.ndim == dims:
            array = np.expand_dims(array, axis)
        if array.ndim != dims + 1:
            names = "H, W" if axis else "X, Y, Z"
            raise ValueError(
                f"{KINDS[dims].article} has shape ({names}) or one with channels, not {array.shape}"
            )
        values = np.moveaxis(array, axis, 0)
        translated = self._translate_values(values, direction, progress)
        return np.ascontiguousarray(np.moveaxis(translated, 0, axis))

    def channels(self, direction: Direction) -> tuple[int, int]:
        """Channels of what is translated in a direction, and of the translations."""
        of = {"a": self.generator.in_channels, "b": self.generator.out_channels}
        before, after = ends(direction)
        return of[before], of[after]

    def _translate_tensor(
        self, image: Tensor, direction: Direction, progress: Progress | None
    ) -> Tensor:
        single_ndim = self.generator.spatial_dims + 1
        if image.ndim not in (single_ndim, single_ndim + 1):
            raise ValueError(
                f"a tensor for this model has shape (C, *spatial) or (B, C, *spatial) with "
                f"{single_ndim - 1} spatial sizes, not {tuple(image.shape)}"
            )
        single = image.ndim == single_ndim
        batch = image[None] if single else image
        translated = translate_padded(
            self.generator, batch, direction, windows=self.windows, progress=progress
        ).to(image.device, torch.float32)
        return translated[0] if single else translated

    def _translate_values(
        self, values: Values, direction: Direction, progress: Progress | None
    ) -> Values:
        """Values (C, *spatial) on the model's grid, in the units of files, there and there."""
        unit = torch.from_numpy(self.to_unit(values, direction))
        translated = self._translate_tensor(unit, direction, progress)
        del unit  # large, as are the values to be made
        return self.to_file(translated, direction, values.dtype)

    def to_unit(self, values: Values, direction: Direction) -> NDArray[np.float32]:
        """What networks take for values (C, *spatial) in the units of files, or for a window."""
        before, _ = self.intensities(direction)
        if isinstance(before, TypeRange):
            require_photo(Header(len(values), values.shape[1:], values.dtype))
            values = convert_channels(values, self.channels(direction)[0])
        return np.ascontiguousarray(before.to_unit(values))

    def to_file(self, translated: Tensor, direction: Direction, dtype: np.dtype[Any]) -> Values:
        """What files of the other domain have for translations (C, *spatial), or for a window.

        Args:
            translated: on the CPU, float32.
            direction: of the translation.
            dtype: of the values that were translated.

        Raises:
            UserError: they are no numbers.
        """
        _require_numbers(translated)
        return self.intensities(direction)[1].to_file(translated.numpy(), dtype)

    def output_type(self, direction: Direction, sources: Iterable[np.dtype[Any]]) -> np.dtype[Any]:
        """The type that translations are stored in, whatever their values.

        Photos have that of their source. Others have the smallest type of integers among those of
        the sources that has the numbers from `low` to `high` of their domain's intensities, if
        these are so many that rounding changes little; else float32.

        Args:
            direction: of the translation.
            sources: types of the files to translate.
        """
        after, found = self.intensities(direction)[1], sorted(set(sources), key=str)
        if isinstance(after, TypeRange):
            return max(found, key=lambda dtype: dtype.itemsize)
        spread = after.high - after.low
        if spread >= MIN_STEPS and all(dtype.kind in "iu" for dtype in found):
            for dtype in sorted(found, key=lambda dtype: dtype.itemsize):
                limits = np.iinfo(dtype)
                if limits.min <= after.low and after.high <= limits.max:
                    return dtype
        return np.dtype(np.float32)

    def intensities(self, direction: Direction) -> tuple[IntensityMapping, IntensityMapping]:
        """Those of what is translated in a direction, and of the translations."""
        if self.preparation is None:
            raise UnpreparedError
        before, after = ends(direction)
        return self.preparation.of(before), self.preparation.of(after)

    @property
    def grid(self) -> Grid:
        """Where the networks want voxels to lie."""
        if self.preparation is None:
            raise UnpreparedError
        return self.preparation.grid

    def translate_scan(
        self, scan: Scan, direction: Direction, progress: Progress | None = None
    ) -> Values:
        """Translates an image, or a volume at any orientation and spacing.

        Args:
            scan: as read from a file, in the units of the training data's files.
            direction: "AtoB" or "BtoA".
            progress: told about each window, where there are several.

        Returns:
            (C, *spatial) on the scan's own grid, in the units of the other domain's files.

        Raises:
            ValueError: the scan's channels are not the model's.
        """
        if self.preparation is None:
            raise UnpreparedError
        prepared = self.preparation.grid.bring(scan)
        values = self._translate_values(prepared.values, direction, progress)
        if prepared is scan:
            return values
        return restore(replace(prepared, values=values), scan.header)

    def translate_file(
        self,
        source: Path,
        target: Path,
        direction: Direction,
        progress: Progress | None = None,
        selection: Selection = WHOLE,
    ) -> None:
        """Translates a file into another of the same size, at the same place in space.

        An image keeps its bit depth; for the data type of a volume see `output_type`.

        Args:
            source: a file, or a folder that is a scan.
            target: likewise.
            direction: "AtoB" or "BtoA".
            progress: told about each window, where there are several.
            selection: which part of the source is meant.

        Raises:
            UserError: the source can't be read or doesn't suit the model, or the target's format
                can't hold the result.
        """
        job = FileJob(self, source, target, direction, selection=selection)
        job.read()
        job.translate(progress)
        job.write()


def _require_numbers(translated: Tensor) -> None:
    """Refuses what a file would hold as black, or as nothing, without a word."""
    if not translated.isfinite().all():
        raise UserError(
            "the model makes values that are no numbers (NaN or infinite), as its training has "
            "failed; take an earlier one, such as the run's best/, or train anew with a lower "
            "optimizer.lr"
        )


@torch.inference_mode()
def translate_padded(
    generator: TwoWayGenerator,
    batch: Tensor,
    direction: Direction,
    *,
    windows: Windows | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Translates (B, C, *spatial) of any size: pads to a size that fits, and crops the result.

    Borders are mirrored, so that the networks see a plausible continuation.

    Args:
        generator: the networks; they run where they are.
        batch: on any device.
        direction: "AtoB" or "BtoA".
        windows: how what is too large for one pass is cut: then only windows go to the networks'
            device, and the result is on that of `batch`. None translates all in one pass.
        progress: told about each part, where there are several.
    """
    sizes, padding = batch.shape[2:], padding_for(generator.config, batch.shape[2:])
    padded = [size + sum(both) for size, both in zip(sizes, padding, strict=True)]
    if windows is not None and windows.needed_for(padded):
        samples = [_in_parts(generator, x, direction, windows, progress) for x in batch]
        return torch.stack(samples)
    if any(map(sum, padding)):
        # F.pad counts from the last axis, and mirrors at most size - 1 positions.
        can_mirror = all(max(pad) < size for pad, size in zip(padding, sizes, strict=True))
        amounts = [amount for both in reversed(padding) for amount in both]
        batch = F.pad(batch, amounts, mode="reflect" if can_mirror else "replicate")
    translated = _on_device(generator, direction, batch)
    inside = [
        slice(before, before + size) for size, (before, _) in zip(sizes, padding, strict=True)
    ]
    return translated[(slice(None), slice(None), *inside)]


def _in_parts(
    generator: TwoWayGenerator,
    x: Tensor,
    direction: Direction,
    windows: Windows,
    progress: Progress | None,
) -> Tensor:
    """As `translate_padded`, of one sample, and always in parts."""
    channels = generator.out_channels if direction == "AtoB" else generator.in_channels
    result = x.new_empty(channels, *x.shape[1:], dtype=torch.float32)

    def read(window: Window) -> Tensor:
        return x[(slice(None), *window)]

    def take(window: Window, part: Tensor) -> None:
        result[(slice(None), *window)] = part.to(result.device)

    with Scratch() as scratch:
        translate_parts(generator, direction, read, x.shape[1:], windows, scratch, take, progress)
    return result


def _on_device(generator: TwoWayGenerator, direction: Direction, batch: Tensor) -> Tensor:
    weight = next(generator.parameters())
    translated: Tensor = generator(batch.to(weight.device, weight.dtype), direction)
    return translated
