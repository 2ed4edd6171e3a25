"""One file into another: whole where one pass can, else window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import cache, partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from revgan.data import formats
from revgan.data.channels import COLOURS
from revgan.data.config import scaled_sizes
from revgan.data.formats import KINDS, Header, Scan, Values, Window
from revgan.data.intensity import IntensityMapping, PerScan
from revgan.data.large import Unread
from revgan.data.mappings import TypeRange
from revgan.data.missing import mark, missing_in, nodata_for, with_nan
from revgan.data.number_types import in_type
from revgan.data.placing import Lattice, Move, Read
from revgan.data.refs import ScanRef
from revgan.data.scratch import Scratch
from revgan.data.sources import Source, scan_of
from revgan.data.tiling import tiles, whole
from revgan.directions import Direction
from revgan.errors import UserError
from revgan.inference.mirrored import Mirror
from revgan.inference.parts import padding_for, translate_parts
from revgan.inference.windows import Progress
from revgan.memory import format_bytes, free_memory

if TYPE_CHECKING:
    from revgan.inference.translator import Translator

Say = Callable[[str], None]
"""Takes a sentence for the user."""


class Written(Protocol):
    """What translations are written into, such as a new file."""

    def write(self, values: Values, window: Window | None = None) -> None:
        """Takes (C, *window), or everything."""


Create = Callable[[Header], AbstractContextManager[Written]]
"""Makes what translations are written into, from a header."""

WIDER = {"float16": "float32", "bool": "uint8"}
"""Types that many formats don't have, and the next that holds all their values."""

SCANNED = 1024
"""Side of the windows in which a file is searched for NaN."""

STEPS = 255
"""Whole numbers that intensities must span to be rounded to them: no coarser than 8 bits."""


class FileJob:
    """A file to translate into another of the same size, at the same place in space.

    In three steps, so that other files may be read and written meanwhile. A file that is too large
    for one pass is read and written in the second step, window by window.

    Args:
        translator: translates.
        source: the file, or several whose channels are stacked; of what it leaves open, that part
            is meant that training read.
        target: the other one; its suffix tells the format.
        direction: "AtoB" or "BtoA".
        dtype: of the values to write. By default photos keep their depth, and others have the type
            of their domain's training files or, where that isn't known, of `fitting_type`.
        resize: pixels that the shorter side of an image is scaled to first; None leaves it.
        create: makes what is written into, from a header; None for the file.

    Attributes:
        source, target: as given.
        in_parts: whether one pass is too small, once it is read.

    Raises:
        UserError: in any step: the source can't be read or doesn't suit the model, or the target's
            format can't hold the result.
    """

    def __init__(
        self,
        translator: Translator,
        source: ScanRef,
        target: Path,
        direction: Direction,
        dtype: np.dtype[Any] | None = None,
        resize: int | None = None,
        create: Create | None = None,
    ) -> None:
        self._translator, self._direction, self._dtype = translator, direction, dtype
        self._resize, self._own = resize, create
        self.source, self.target = source, target
        self.in_parts = False
        self._files = ExitStack()
        self._scan: Scan | None = None

    def read(self) -> None:
        """Opens the source, checks it, and reads it if one pass is enough or it is to be scaled."""
        translator = self._translator
        generator, grid = translator.generator, translator.grid
        with ExitStack() as stack:
            ref = translator.as_trained(self.source, self._direction)
            file = stack.enter_context(ref.open(generator.spatial_dims))
            self._check(file)
            self._lattice = Lattice.of(file.header, grid)
            padding = padding_for(generator.config, self._lattice.shape)
            sizes = [
                size + sum(both) for size, both in zip(self._lattice.shape, padding, strict=True)
            ]
            windows = translator.windows
            self.in_parts = windows is not None and windows.needed_for(sizes)
            if self.in_parts and self._result.shape == file.header.shape:
                self._file, self._files = file, stack.pop_all()
            else:
                self._scan = scan_of(file)

    def translate(self, progress: Progress | None = None, say: Say = lambda sentence: None) -> None:
        """Translates what was read; what one pass is too small for, from file to file.

        Args:
            progress: called after each part, if there are several.
            say: is told how large scratch files become.
        """
        if self._scan is None:
            with self._files:
                self._translate_parts(progress, say)
        elif self._scan.shape == self._result.shape:
            self._values = self._translator.translate_scan(
                self._scan, self._direction, progress, self._stored
            )
        else:
            self._values = self._translate_scaled(self._scan, progress)

    def write(self) -> None:
        """Writes what was translated, if that isn't done yet."""
        if self._scan is None:
            return
        values = in_type(self._values, self._result.dtype)
        del self._values
        self._scan = None
        with self._create(self._result) as file:
            file.write(values)

    def _create(self, header: Header) -> AbstractContextManager[Written]:
        return formats.create(self.target, header) if self._own is None else self._own(header)

    def close(self) -> None:
        """Lets go of the source, where the job ends early."""
        self._files.close()

    def _check(self, file: Source) -> None:
        """Finds out what is to be written, and refuses what isn't possible before the work."""
        header, lacks = file.header, cache(partial(_lacks, file))
        translator, direction = self._translator, self._direction
        kind = KINDS[translator.generator.spatial_dims]
        before, after = translator.channels(direction)
        photo = isinstance(translator.intensities(direction)[0], TypeRange)
        if header.channels != before and not (photo and max(header.channels, before) <= COLOURS):
            raise UserError(
                f"{self.source} has {_channels(header.channels)}, but for {direction} the model "
                f"takes {kind.many} with {_channels(before)}; give one of these"
            )
        if photo and header.dtype.kind not in "bui":
            raise UserError(
                f"{self.source} has values of {header.dtype}, but the model translates {kind.many} "
                "by the full range of a type of integers; give one of these"
            )
        usual = translator.output_type(direction, header.dtype)
        stored = self._dtype or usual or fitting_type(translator, direction, [header.dtype])
        self._stored = stored
        made = _like(header, after, stored, lacks)
        in_file = self._own is None
        if in_file and stored.name in WIDER and not formats.holds(self.target, made):
            made = _like(header, after, np.dtype(WIDER[stored.name]), lacks)
        if self._resize is not None:
            made = _scaled(made, scaled_sizes(header.shape, self._resize))
            _require_room(self.source, made, max(before, after), self._resize)
        if in_file:
            formats.require_holds(self.target, made)
        self._result = made

    def _translate_scaled(self, scan: Scan, progress: Progress | None) -> Values:
        """An image at another size, by bilinear interpolation as in training."""
        translator, direction, shape = self._translator, self._direction, self._result.shape
        mapping = self._mapping([with_nan(scan.values, missing_in(scan.values, scan.nodata))])
        unit = translator.to_unit(scan.values, scan.nodata, mapping, direction)
        image = torch.from_numpy(unit)[None]
        scaled = F.interpolate(image, shape, mode="bilinear", antialias=True)[0]
        scaled = scaled.clamp_(image.min(), image.max())
        translated = translator(scaled, direction, progress)
        values = translator.from_unit(translated, direction, scan.dtype, self._stored)
        nowhere = _nowhere(scan.values, scan.nodata)
        if nowhere is not None:
            mask = torch.from_numpy(nowhere)[None, None].float()
            nowhere = F.interpolate(mask, shape, mode="nearest-exact")[0, 0].numpy() > 0
        return self._marked(values, nowhere)

    def _translate_parts(self, progress: Progress | None, say: Say) -> None:
        translator, direction, result = self._translator, self._direction, self._result
        assert translator.windows is not None
        windows = translator.windows.windows
        source = self._file.header
        own = Lattice(source.shape, source.affine)
        there, back = Move(own, self._lattice), Move(self._lattice, own)
        scratch = Scratch()
        with self._create(result) as target:
            read = _windowed(self._file, scratch)
            moved = None
            if back.interpolates:
                moved = scratch.array((result.channels, *self._lattice.shape))

            def known(window: Window) -> Values:
                values = read(window)
                return with_nan(values, missing_in(values, source.nodata))

            everything = Unread(known, (source.channels, *own.shape), np.dtype(np.float32))
            mapping = self._mapping([everything])

            mirror = Mirror(translator.mirrored, self._lattice.shape)

            def unit(window: Window) -> Tensor:
                window = mirror.window(window)
                values = there.read(known if there.interpolates else read, window)
                return mirror.values(
                    torch.from_numpy(translator.to_unit(values, source.nodata, mapping, direction))
                )

            may_lack = source.nodata is not None or source.dtype.kind == "f" or source.masked

            def write(values: Values, window: Window) -> None:
                nowhere = None
                if may_lack:
                    nowhere = _nowhere(read(window), source.nodata)
                target.write(self._marked(values, nowhere), window)

            def take(window: Window, x: Tensor) -> None:
                window, x = mirror.window(window), mirror.values(x)
                values = translator.from_unit(x.cpu(), direction, source.dtype, self._stored)
                if moved is not None:
                    moved.write(window, values)
                else:
                    place = there.needed(window)
                    write(back.read(lambda _: values, place), place)

            translate_parts(
                translator.generator,
                direction,
                unit,
                self._lattice.shape,
                windows,
                scratch,
                take,
                progress,
                say,
            )
            if moved is not None:
                for window in tiles(whole(own.shape), windows.size):
                    write(back.read(moved.read, window), window)

    def _mapping(self, values: Iterable[Values | Unread]) -> IntensityMapping:
        """How the source's values become the networks'; some models look at them for it."""
        header = self._scan.header if self._scan is not None else self._file.header
        mapping = self._translator.input_mapping(self._direction, header.dtype)
        return mapping.of_scan(values) if isinstance(mapping, PerScan) else mapping

    def _marked(self, values: Values, nowhere: np.ndarray[Any, Any] | None) -> Values:
        """Values in the result's type, where something was measured, and its nodata elsewhere."""
        dtype = self._result.dtype
        typed = in_type(in_type(values, self._stored), dtype)
        nodata = self._result.nodata
        if nodata is None and (nowhere is None or not nowhere.any()):
            return typed
        return mark(typed, nowhere, nodata_for(dtype, nodata), named=nodata is not None)


def fitting_type(
    translator: Translator, direction: Direction, sources: Iterable[np.dtype[Any]]
) -> np.dtype[Any]:
    """A type for translations, whatever their values, where that of the domain isn't known.

    It is the smallest type of integers among those of the sources that has the numbers from `low`
    to `high` of the domain's intensities, if these are so many that rounding changes little; else
    float32.

    Args:
        translator: of a model whose intensities aren't those of a type.
        direction: of the translation.
        sources: types of the files to translate.
    """
    after = translator.intensities(direction)[1]
    assert not isinstance(after, TypeRange)
    limits = after.typical if isinstance(after, PerScan) else after
    low, high = np.min(limits.low), np.max(limits.high)
    found = sorted(set(sources), key=lambda dtype: (dtype.itemsize, dtype.name))
    if high - low >= STEPS and all(dtype.kind in "iu" for dtype in found):
        for dtype in found:
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return dtype
    return np.dtype(np.float32)


def _like(header: Header, channels: int, dtype: np.dtype[Any], lacks: Callable[[], bool]) -> Header:
    """The header of a file like another, but of its own type."""
    nodata = None
    loses_nan = header.dtype.kind == "f" and dtype.kind != "f"
    if header.nodata is not None or (loses_nan and lacks()):
        nodata = nodata_for(dtype, header.nodata)
    names = header.names if channels == header.channels else ()
    return replace(header, channels=channels, dtype=dtype, nodata=nodata, names=names)


def _require_room(source: ScanRef, scaled: Header, channels: int, resize: int) -> None:
    """Refuses a size at which not even the scaled image and its translation fit into memory."""
    needed, free = 8 * channels * prod(scaled.shape), free_memory(torch.device("cpu"))
    if needed > free:
        raise UserError(
            f"{source} scaled to {KINDS[len(scaled.shape)].size(scaled.shape)} takes "
            f"{format_bytes(needed)} with its translation, but {format_bytes(free)} are free; give "
            f"a --resize below {resize}"
        )


def _scaled(header: Header, shape: tuple[int, ...]) -> Header:
    """The header of an image scaled to other sizes, whose borders stay where they are."""
    factors = [old / new for old, new in zip(header.shape, shape, strict=True)]
    source = header.source
    if shape != header.shape:  # it may number pixels
        source = source.resized(factors) if hasattr(source, "resized") else None
    scale = np.eye(len(shape) + 1)
    for axis, factor in enumerate(factors):
        scale[axis, axis], scale[axis, -1] = factor, (factor - 1) / 2
    affine, ground = header.affine, header.ground
    return replace(
        header,
        shape=shape,
        affine=None if affine is None else affine @ scale,
        ground=None if ground is None else replace(ground, affine=ground.affine @ scale),
        source=source,
    )


def _lacks(file: Source) -> bool:
    """Whether a file has positions where all channels are NaN."""
    everything = whole(file.header.shape)
    side = SCANNED if file.windowed else max(file.header.shape)
    return any(np.isnan(file.read(part)).all(axis=0).any() for part in tiles(everything, side))


def _windowed(file: Source, scratch: Scratch) -> Read:
    """Reads windows of a file; all of it once, if its format can't do better."""
    if file.windowed:
        return file.read
    values = file.read()
    array = scratch.array(values.shape, values.dtype)
    array.write(tuple(slice(0, size) for size in values.shape[1:]), values)
    return array.read


def _nowhere(values: Values, nodata: float | None) -> np.ndarray[Any, Any] | None:
    """Where no channel was measured, (*spatial); None if that is so nowhere."""
    missing = missing_in(values, nodata)
    return None if missing is None else np.logical_and.reduce(missing, axis=0)


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"
