"""What training and evaluation draw from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from revgan.data.formats import Affine, Kind, Values
from revgan.data.intensity import IntensityMapping, PerScan
from revgan.data.labels import Palette
from revgan.data.preparation import Fill, Preparation, fill_in_unit
from revgan.data.recipe import Found, Prepared
from revgan.data.refs import ScanRef
from revgan.data.store import Store
from revgan.data.training_masks import Masks
from revgan.directions import Direction, DomainName, ends
from revgan.networks.axes import PerAxis, per_axis

_T = TypeVar("_T")

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and the total."""


@dataclass(frozen=True)
class Domain:
    """One side of a data set.

    Attributes:
        train: the scans for training, at least one.
        test: the scans for testing.
        val: the scans that are scored during training; those for testing if there are no others.
        channels: of every scan, as the networks take them.
        dtype: the data type in the first scan's file.
        intensity: the mapping from the files' units to [-1, 1].
        fill: what the networks see where nothing was measured, see `Preparation.fill`.
        store: where the scans come from.
        found: what was found when each scan was first read.
        masks: of the training scans, if the configuration asks for them.
    """

    train: tuple[ScanRef, ...]
    test: tuple[ScanRef, ...]
    val: tuple[ScanRef, ...] = field(kw_only=True)
    channels: int = field(kw_only=True)
    dtype: np.dtype[Any] = field(kw_only=True)
    intensity: IntensityMapping = field(kw_only=True)
    store: Store = field(kw_only=True)
    found: Mapping[ScanRef, Found] = field(kw_only=True, repr=False)
    fill: Fill = field(default="low", kw_only=True)
    masks: Masks | None = field(default=None, kw_only=True)

    def prepared(self, ref: ScanRef) -> Prepared:
        """A scan, brought to grid and size; cut out what you need, then call `in_unit`."""
        return self.store.get(ref)

    def in_unit(self, scan: Prepared) -> Tensor:
        """A scan, or what is cut of it, in [-1, 1], beyond that without `clip`: (C, *spatial).

        It is NaN where nothing was measured.
        """
        unit = self._mapping(scan).to_unit(np.asarray(scan.values))
        missing = scan.missing
        if missing is not None:
            unit[missing] = np.nan
        return torch.from_numpy(np.ascontiguousarray(unit))

    def values(self, ref: ScanRef) -> Tensor:
        """A scan in its file's units, (channels, *spatial) with NaN where nothing was measured."""
        return as_floats(np.asarray(self.prepared(ref).measured))

    def from_unit(self, unit: Tensor, ref: ScanRef | None = None) -> Tensor:
        """What the networks see or make as values in the files' units, (channels, *spatial).

        Args:
            unit: (channels, *spatial), in [-1, 1] or beyond.
            ref: the scan that it is, where each has its own scale; None for a translation.
        """
        mapping = self.intensity if ref is None else self._mapping(self.prepared(ref))
        return as_floats(mapping.from_unit(unit.numpy(), self.dtype))

    def load(self, ref: ScanRef) -> Tensor:
        """A scan as the networks take it, (channels, *spatial) in [-1, 1]."""
        return self._filled(self.prepared(ref))

    def load_middle(self, ref: ScanRef, largest: PerAxis) -> Tensor:
        """The middle of a scan, cropped so that no side exceeds `largest`."""
        return self._filled(self._middle(ref, largest))

    def missing(self, ref: ScanRef, largest: PerAxis | None = None) -> Tensor | None:
        """Where nothing was measured in a scan, or in its middle: (C, *spatial) of bool.

        None where everything was measured.
        """
        scan = self.prepared(ref) if largest is None else self._middle(ref, largest)
        missing = scan.missing
        return None if missing is None else torch.from_numpy(missing)

    def measured(self, ref: ScanRef, largest: PerAxis | None = None) -> Tensor | None:
        """Where every channel of a scan, or of its middle, was measured: (*spatial) of bool.

        None where everything was.
        """
        missing = self.missing(ref, largest)
        return None if missing is None else ~missing.any(dim=0)

    @property
    def gaps(self) -> bool:
        """Whether nothing was measured at some place of some scan for training."""
        return any(self.found[ref].missing for ref in self.train)

    @property
    def fill_in_unit(self) -> Tensor:
        """What the networks see where nothing was measured, see `fill_in_unit`."""
        return self._fill_of(self.intensity)

    def _middle(self, ref: ScanRef, largest: PerAxis) -> Prepared:
        scan = self.prepared(ref)
        sizes = list(zip(scan.shape, per_axis(largest, len(scan.shape)), strict=True))
        starts = [max(0, (side - most) // 2) for side, most in sizes]
        return scan.cut(
            [slice(start, start + most) for start, (_, most) in zip(starts, sizes, strict=True)]
        )

    def _filled(self, scan: Prepared) -> Tensor:
        unit = self.in_unit(scan)
        if not scan.found.missing:
            return unit
        return fill_gaps(unit, self._fill_of(self._mapping(scan)))

    def _fill_of(self, mapping: IntensityMapping) -> Tensor:
        dims = len(self.shape(self.train[0]))
        return torch.from_numpy(fill_in_unit(mapping, self.fill, self.channels, dims))

    def _mapping(self, scan: Prepared) -> IntensityMapping:
        """That of the domain, or the scan's own."""
        if scan.limits is None or not isinstance(self.intensity, PerScan):
            return self.intensity
        return self.intensity.by_limits(scan.limits)

    def affine(self, ref: ScanRef) -> Affine | None:
        """Where the voxels of a prepared volume are, see `Header.affine`; None for images."""
        affine = self.found[ref].affine
        return affine if len(self.shape(ref)) > 2 else None

    def shape(self, ref: ScanRef) -> tuple[int, ...]:
        """Sizes of the spatial axes of a prepared scan."""
        return self.found[ref].shape


@dataclass(frozen=True)
class DataSet:
    """The scans of both domains, read once and found usable.

    Attributes:
        a: domain A.
        b: domain B.
        test_aligned: a.test[i] and b.test[i] show the same thing.
        val_aligned: a.val[i] and b.val[i] show the same thing.
        guessed: the two before are assumed, because names and sizes match.
        preparation: how scans are prepared, for the model folder.
        kind: images or volumes, in words.
        palette: what the colours of label maps mean, where one of the domains has them.
        kept: bytes of main memory that the scans take.
    """

    a: Domain
    b: Domain
    test_aligned: bool
    val_aligned: bool
    preparation: Preparation
    kind: Kind
    palette: Palette | None = None
    kept: int = 0
    guessed: bool = False

    def of(self, domain: DomainName) -> Domain:
        """One of its domains."""
        return self.a if domain == "a" else self.b

    def sides(self, direction: Direction) -> tuple[Domain, Domain]:
        """The domains translated from and to."""
        source, target = ends(direction)
        return self.of(source), self.of(target)

    @property
    def channels(self) -> tuple[int, int]:
        """The channels of A and of B."""
        return self.a.channels, self.b.channels


def as_floats(values: Values) -> Tensor:
    """Values as float32 where that has them exactly, else as float64."""
    narrow = values.dtype.itemsize <= 2 or values.dtype == np.float32
    return torch.from_numpy(values.astype(np.float32 if narrow else np.float64))


def both(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Where two masks are true; None, which is true everywhere, if both are that."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


def fill_gaps(unit: Tensor, fill: Tensor) -> Tensor:
    """Values in [-1, 1] without NaN.

    Args:
        unit: (C, *spatial) or (B, C, *spatial).
        fill: (1 or C, *1), what takes the place of NaN.
    """
    return torch.where(unit.isnan(), fill.to(unit), unit)


def spread(items: Sequence[_T], count: int) -> list[_T]:
    """Up to `count` items, evenly spread over all."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]
