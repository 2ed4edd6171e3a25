"""Translating with a trained model: tensors, arrays and files of any size."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from revgan.data.formats import KINDS, WHOLE, Scan, Selection, Values, understood
from revgan.data.intensity import IntensityMapping, PerScan
from revgan.data.mappings import TypeRange
from revgan.data.missing import mark, missing_in, nodata_for, with_nan
from revgan.data.number_types import in_type
from revgan.data.preparation import WITHOUT_FILE, Grid, Preparation
from revgan.data.refs import ScanRef
from revgan.directions import DOMAINS, Direction, ends
from revgan.environment import bound_kernel_caches
from revgan.inference.exported import is_exported, load_exported
from revgan.inference.mirrored import Mirror
from revgan.inference.padded import translate_padded
from revgan.inference.restoring import restore
from revgan.inference.slicewise import file_job
from revgan.inference.units import Units, UnpreparedError
from revgan.inference.windows import Cutting, Progress
from revgan.load import heed
from revgan.networks import TwoWayGenerator
from revgan.networks.places import StoredModel

CHANNEL_AXIS = {2: -1, 3: 0}
"""The channel axis of arrays that users give: last for pixels, as is usual, first for volumes."""


class Translator(Units):
    """A trained generator that takes images, or volumes, as they are.

    Args:
        generator: the networks, on the device and in the precision to use.
        preparation: how scans are prepared for the networks; without it, a generator for images
            uses the full range of their type, and one for volumes takes only tensors.
        windows: how to cut what is too large for one pass; None translates everything in one pass.

    Attributes:
        mirrored: spatial axes of the model's grid, from 0, along which images are mirrored before
            the generator takes them, and translations after it.
    """

    def __init__(
        self,
        generator: TwoWayGenerator,
        preparation: Preparation | None = None,
        windows: Cutting | None = None,
    ) -> None:
        bound_kernel_caches()  # images have as many sizes as they like
        self.generator = generator.eval()
        self.preparation = preparation or WITHOUT_FILE.get(generator.spatial_dims)
        self.windows = windows
        self.mirrored: tuple[int, ...] = ()
        self.device = generator.device

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        device: str | torch.device | None = None,
        windows: Cutting | None = None,
    ) -> "Translator":
        """Loads a trained model.

        Args:
            folder: a model folder, which has model.safetensors, config.yaml and intensity.yaml; a
                run folder, whose model/ is taken; a run's checkpoints/step-N; what `revgan export`
                made, an ONNX file or a folder with AtoB.onnx and BtoA.onnx, which onnxruntime runs;
                the name of a model that comes with the package, or of one on the Hugging Face hub,
                such as `user/name` or `user/name@version`, unless there is a folder of this name.
            device: where to run; by default a GPU, if there is one.
            windows: see `Translator`.

        Raises:
            UserError: there is no model, or it can't be loaded.
        """
        if is_exported(Path(folder)):
            on = None if device is None else str(device)
            return cls(*load_exported(Path(folder), on), windows)
        stored = StoredModel.find(folder)
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(stored.load().to(device), Preparation.read(stored.folder), windows)

    def __repr__(self) -> str:
        generator = self.generator
        domains = ", ".join(
            f"{name.upper()} with {count} {'channel' if count == 1 else 'channels'}"
            f"{'' if self.preparation is None else f' of {_in_words(self.preparation.of(name))}'}"
            for name, count in zip(
                DOMAINS, (generator.in_channels, generator.out_channels), strict=True
            )
        )
        return (
            f"Translator({KINDS[generator.spatial_dims].many}, {' and '.join(generator.directions)}"
            f", {domains}, {type(generator).__name__}({generator.config.summary}), "
            f"device={str(self.device)!r}, windows={self.windows})"
        )

    @overload
    def __call__(
        self, image: Sequence[Any], direction: Direction = "AtoB", progress: Progress | None = None
    ) -> list[Any]: ...

    @overload
    def __call__(
        self, image: str | Path, direction: Direction = "AtoB", progress: Progress | None = None
    ) -> NDArray[Any]: ...

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
        image: Tensor | NDArray[Any] | str | Path | Sequence[Any],
        direction: Direction = "AtoB",
        progress: Progress | None = None,
    ) -> Tensor | NDArray[Any] | list[Any]:
        """Translates an image or volume, or several; size and kind stay the same.

        Args:
            image: a tensor (C, *spatial) or a batch (B, C, *spatial) in [-1, 1]. For a model of
                images also pixels (H, W) or (H, W, C) in the units of the training images' files,
                as an array or anything NumPy takes for one, such as a PIL image; of photos, whose
                type's range counts, in any type of integers, and other channels than the model's
                are converted. For a model of volumes also an array (X, Y, Z) or (C, X, Y, Z) in the
                units of the training volumes' files, at their orientation and spacing. Of arrays,
                also a batch of equal ones, along a further first axis. Or the path of a file. Or a
                list or tuple of any of these.
            direction: "AtoB" or "BtoA".
            progress: called after each window, if there are several.

        Returns:
            A tensor for a tensor, of float64 for one of float64 and else of float32; pixels
            (H, W, C) for pixels, an array (C, X, Y, Z) for a volume, in the units of the other
            domain's files: of photos integers, in the type of what was given, else fractions. Of a
            file, what `translate_file` writes, as such an array. A list for a list.

        Raises:
            ValueError: the direction, shape or type isn't one of these.
            UserError: a file can't be read or doesn't suit the model; the translated pixels or
                values are NaN or infinite.
        """
        if isinstance(image, Tensor):
            return self._translate_tensor(image, direction, progress)
        if isinstance(image, list | tuple):
            return [self(each, direction, progress) for each in image]
        if self.preparation is None:
            raise UnpreparedError
        dims = self.generator.spatial_dims
        axis = CHANNEL_AXIS[dims]
        if isinstance(image, str | Path):
            translated = self._translate_path(Path(image), direction, progress)
            return np.ascontiguousarray(np.moveaxis(translated, 0, axis))
        array = np.asarray(image)
        more = array.ndim - dims
        if more == 2:
            return np.stack([self(each, direction, progress) for each in array])
        if more == 0:
            array = np.expand_dims(array, axis)
        elif more != 1:
            names = "H, W" if axis else "X, Y, Z"
            raise ValueError(
                f"{KINDS[dims].article} has shape ({names}), one with channels or a batch of such, "
                f"not {array.shape}"
            )
        values = np.moveaxis(array, axis, 0)
        translated = self._translate_values(values, array.dtype, None, direction, progress, None)
        if isinstance(self.intensities(direction)[1], TypeRange):
            translated = in_type(translated, self.output_type(direction, array.dtype))
        return np.ascontiguousarray(np.moveaxis(translated, 0, axis))

    def _translate_path(
        self, path: Path, direction: Direction, progress: Progress | None
    ) -> Values:
        """A file's translation (C, *spatial), as `translate_file` writes it."""
        if self.preparation is not None and self.preparation.slices is not None:
            raise ValueError(
                "this model translates volumes slice by slice, and only from file to file: call "
                "translate_file"
            )
        scan = self.as_trained(ScanRef(path), direction).read(self.file_dims)
        return self.translate_scan(scan, direction, progress)

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
        dtype = torch.float64 if image.dtype == torch.float64 else torch.float32
        mirror = Mirror(self.mirrored, batch.shape[2:])
        batch = mirror.values(batch)
        heed()
        translated = translate_padded(
            self.generator, batch, direction, windows=self.windows, progress=progress
        ).to(image.device, dtype)
        translated = mirror.values(translated)
        return translated[0] if single else translated

    def _translate_values(
        self,
        values: Values,
        dtype: np.dtype[Any],
        nodata: float | None,
        direction: Direction,
        progress: Progress | None,
        wanted: np.dtype[Any] | None,
    ) -> Values:
        """Translates values (C, *spatial) on the model's grid, in files' units on both sides.

        What comes out is not rounded yet to what a type of integers has.

        Args:
            values: what is translated.
            dtype: of the file that they come from.
            nodata: see `missing_in`.
            direction: "AtoB" or "BtoA".
            progress: called after each part, if there are several.
            wanted: see `from_unit`.
        """
        mapping = self.input_mapping(direction, dtype)
        if isinstance(mapping, PerScan):
            mapping = mapping.of_scan([with_nan(values, missing_in(values, nodata))])
        unit = torch.from_numpy(self.to_unit(values, nodata, mapping, direction))
        translated = self._translate_tensor(unit, direction, progress)
        del unit  # it is large, and so are the values to come
        return self.from_unit(translated, direction, dtype, wanted)

    def translate_scan(
        self,
        scan: Scan,
        direction: Direction,
        progress: Progress | None = None,
        dtype: np.dtype[Any] | None = None,
    ) -> Values:
        """Translates an image, or a volume with any orientation and spacing.

        Args:
            scan: as read from a file, in the units of the training data's files.
            direction: "AtoB" or "BtoA".
            progress: called after each part, if there are several.
            dtype: of the result.

        Returns:
            (C, *spatial) on the scan's own grid, in the units of the other domain's files and in
            `dtype`; by default in their type, if that is known, else float32. Where no channel of
            the scan was measured, it is what `nodata_for` says, or NaN.

        Raises:
            ValueError: the scan's channels aren't the model's.
        """
        if self.preparation is None:
            raise UnpreparedError
        missing = missing_in(scan.values, scan.nodata)
        prepared = scan
        if self.preparation.grid != Grid():
            known = replace(scan, values=with_nan(scan.values, missing))
            prepared = self.preparation.grid.bring(known)
        values = self._translate_values(
            prepared.values, scan.dtype, scan.nodata, direction, progress, dtype
        )
        if prepared is not scan:
            values = restore(replace(prepared, values=values), scan.header)
        values = in_type(values, dtype or self.output_type(direction, scan.dtype))
        if missing is None and scan.nodata is None:
            return values
        nowhere = None if missing is None else np.logical_and.reduce(missing, axis=0)
        nodata, named = nodata_for(values.dtype, scan.nodata), scan.nodata is not None
        return mark(values, nowhere, nodata, named=named or not scan.masked)

    def as_trained(self, ref: ScanRef, direction: Direction) -> ScanRef:
        """A scan, of whose files what training read is read, but for what the user says.

        What training read doesn't count where a file's format doesn't have it; nor are the channels
        where a file has only as many as the model takes.

        Args:
            ref: the scan; its selection is what the user says.
            direction: "AtoB" or "BtoA".

        Raises:
            UserError: a file is missing, damaged or of another kind.
        """
        selection = ref.selection
        part = WHOLE if self.preparation is None else self.preparation.part(ends(direction)[0])
        if not part.given:
            return ref
        dims = self.generator.spatial_dims
        known = understood(ref.path, dims) - set(selection.given)
        if {"level", "pixel_size"} & set(selection.given):
            known -= {"level", "pixel_size"}
        idle = {name for name in part.given if name not in known} | {"channels"}
        found = replace(ref, selection=selection.over(replace(part, **dict.fromkeys(idle))))
        if part.channels is None or "channels" not in known:
            return found
        if found.header(dims).channels == self.channels(direction)[0]:
            return found
        return replace(found, selection=replace(found.selection, channels=part.channels))

    def translate_file(
        self,
        source: Path | Sequence[Path],
        target: Path,
        direction: Direction,
        progress: Progress | None = None,
        selection: Selection = WHOLE,
    ) -> None:
        """Translates a file into another of the same size, at the same place in space.

        For the type of its values see `FileJob`.

        Args:
            source: a file, or a folder that is a scan; or several on one grid, whose channels are
                stacked.
            target: the file to write, or a folder for a DICOM series.
            direction: "AtoB" or "BtoA".
            progress: called after each window, if there are several.
            selection: which part of the source is meant.

        Raises:
            UserError: the source can't be read or doesn't suit the model, or the target's format
                can't hold the result.
        """
        first, *more = [source] if isinstance(source, Path) else source
        ref = ScanRef(first, selection=selection, more=tuple(more))
        job = file_job(self, ref, target, direction)
        job.read()
        job.translate(progress)
        job.write()


def _in_words(mapping: IntensityMapping) -> str:
    """The values of a domain, in a few words."""
    if isinstance(mapping, TypeRange):
        return mapping.dtype or "uint8 or uint16"
    if isinstance(mapping, PerScan):
        return f"{mapping.config.method} {mapping.config.limits}"
    return f"{mapping.low} to {mapping.high}"
