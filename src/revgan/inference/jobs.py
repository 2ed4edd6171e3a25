"""One file into another: whole where one pass can, else window by window."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from revgan.data import formats
from revgan.data.config import scaled_sizes
from revgan.data.formats import KINDS, WHOLE, Header, Scan, Selection, Values, Window
from revgan.data.formats.files import OpenScan
from revgan.data.intensity import TypeRange
from revgan.data.scratch import Scratch
from revgan.directions import Direction
from revgan.errors import UserError
from revgan.inference.fields import tiles, whole
from revgan.inference.parts import padding_for, translate_parts
from revgan.inference.placing import Lattice, Move, Read
from revgan.inference.windows import Progress

if TYPE_CHECKING:
    from revgan.inference.translator import Translator

Say = Callable[[str], None]
"""Takes a sentence for the user."""


class FileJob:
    """A file to translate into another of the same size, at the same place in space.

    In three steps, so that other files may be read and written meanwhile. A file that is too large
    for one pass is read and written in the second step, window by window.

    Args:
        translator: translates.
        source: the file.
        target: the other one; its suffix tells the format.
        direction: "AtoB" or "BtoA".
        dtype: of the values to write; None for that of `output_type`.
        selection: which part of the source is meant.
        resize: pixels that the shorter side of an image is scaled to first; None leaves it.

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
        source: Path,
        target: Path,
        direction: Direction,
        dtype: np.dtype[Any] | None = None,
        selection: Selection = WHOLE,
        resize: int | None = None,
    ) -> None:
        self._selection, self._resize = selection, resize
        self._translator, self._direction, self._dtype = translator, direction, dtype
        self.source, self.target = source, target
        self.in_parts = False
        self._files = ExitStack()
        self._scan: Scan | None = None

    def read(self) -> None:
        """Opens the source, checks it, and reads it if one pass is enough or it is to be scaled."""
        translator = self._translator
        generator, grid = translator.generator, translator.grid
        with ExitStack() as stack:
            file = stack.enter_context(
                formats.open(self.source, generator.spatial_dims, self._selection)
            )
            self._check(file.header)
            self._lattice = Lattice.of(file.header, grid)
            padding = padding_for(generator.config, self._lattice.shape)
            sizes = [
                size + sum(both) for size, both in zip(self._lattice.shape, padding, strict=True)
            ]
            self.in_parts = translator.windows is not None and translator.windows.needed_for(sizes)
            if self._resize is None and self.in_parts:
                self._file, self._files = file, stack.pop_all()
            else:
                self._scan = file.scan()

    def translate(self, progress: Progress | None = None, say: Say = lambda sentence: None) -> None:
        """Translates what was read; what one pass is too small for, from file to file.

        Args:
            progress: told about each part, where there are several.
            say: is told how large scratch files become.
        """
        if self.in_parts:
            with self._files:
                self._translate_parts(progress, say)
        else:
            assert self._scan is not None
            self._values = self._translated(self._scan, progress)

    def write(self) -> None:
        """Writes what was translated, if that isn't done yet."""
        if self._scan is None:
            return
        values = in_type(self._values, self._header.dtype)
        del self._values
        self._scan = None
        with formats.create(self.target, self._header) as file:
            file.write(values)

    def close(self) -> None:
        """Lets go of the source, where the job ends early."""
        self._files.close()

    def _check(self, header: Header) -> None:
        translator, direction = self._translator, self._direction
        before, after = translator.channels(direction)
        convertible = isinstance(translator.intensities(direction)[0], TypeRange)
        if header.channels != before and not convertible:
            kind = KINDS[translator.generator.spatial_dims]
            raise UserError(
                f"{self.source} has {_channels(header.channels)}, but the model translates "
                f"{kind.many} with {_channels(before)} {direction}; give one of these"
            )
        # Before the work, not after it.
        dtype = self._dtype or translator.output_type(direction, [header.dtype])
        names = header.names if after == header.channels else ()
        self._header = replace(header, channels=after, dtype=dtype, names=names)
        if self._resize is not None:
            self._header = _scaled(self._header, scaled_sizes(header.shape, self._resize))
        formats.require_holds(self.target, self._header)

    def _translated(self, scan: Scan, progress: Progress | None) -> Values:
        translator, direction = self._translator, self._direction
        if self._header.shape == scan.shape:
            return translator.translate_scan(scan, direction, progress)
        unit = torch.from_numpy(translator.to_unit(scan.values, direction))[None]
        scaled = F.interpolate(unit, self._header.shape, mode="bilinear", antialias=True)[0]
        translated = translator(scaled.clamp_(-1, 1), direction, progress)
        return translator.to_file(translated, direction, scan.values.dtype)

    def _translate_parts(self, progress: Progress | None, say: Say) -> None:
        translator, direction = self._translator, self._direction
        assert translator.windows is not None
        source, result = self._file.header, self._header
        own = Lattice(source.shape, source.affine)
        there, back = Move(own, self._lattice), Move(self._lattice, own)
        with Scratch() as scratch, formats.create(self.target, result) as target:
            read = _windowed(self._file, scratch)
            moved = None
            if back.interpolates:
                moved = scratch.array((result.channels, *self._lattice.shape))

            def unit(window: Window) -> Tensor:
                values = translator.to_unit(there.read(read, window), direction)
                return torch.from_numpy(values)

            def take(window: Window, x: Tensor) -> None:
                values = translator.to_file(x.float().cpu(), direction, source.dtype)
                if moved is not None:
                    moved.write(window, values)
                    return
                turned = back.read(lambda _: values, there.needed(window))
                target.write(in_type(turned, result.dtype), there.needed(window))

            translate_parts(
                translator.generator,
                direction,
                unit,
                self._lattice.shape,
                translator.windows,
                scratch,
                take,
                progress,
                say,
            )
            if moved is not None:
                for window in tiles(whole(own.shape), translator.windows.size):
                    values = back.read(moved.read, window)
                    target.write(in_type(values, result.dtype), window)


def _scaled(header: Header, shape: tuple[int, ...]) -> Header:
    """The header of an image scaled to other sizes: pixels keep their places, not their centres."""
    scale = np.eye(len(shape) + 1)
    for axis, (old, new) in enumerate(zip(header.shape, shape, strict=True)):
        scale[axis, axis], scale[axis, -1] = old / new, (old / new - 1) / 2
    affine, ground = header.affine, header.ground
    return replace(
        header,
        shape=shape,
        affine=None if affine is None else affine @ scale,
        ground=None if ground is None else replace(ground, affine=ground.affine @ scale),
        source=None,  # it may tell of pixels by number
    )


def _windowed(file: OpenScan, scratch: Scratch) -> Read:
    """Reads windows of a file; all of it once where its format can't do better."""
    if file.windowed:
        return file.read
    values = file.read()
    array = scratch.array(values.shape, values.dtype)
    array.write(tuple(slice(0, size) for size in values.shape[1:]), values)
    return array.read


def in_type(values: Values, dtype: np.dtype[Any]) -> Values:
    """Values in a type to store them in: the nearest that it has, of integers."""
    if values.dtype == dtype:
        return values
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.rint(values.astype(np.float64 if dtype.itemsize > 2 else np.float32))
        values.clip(limits.min, limits.max, out=values)
    typed: Values = values.astype(dtype)
    return typed


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"
