"""What training and evaluation draw from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from revgan.data.formats import Affine, Kind, Values
from revgan.data.intensity import IntensityMapping
from revgan.data.labels import Palette
from revgan.data.preparation import Preparation
from revgan.data.recipe import Found, Prepared
from revgan.data.refs import ScanRef
from revgan.data.store import Store
from revgan.directions import Direction, DomainName, ends

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
        store: where the scans come from.
        found: what was found when each scan was first read.
    """

    train: tuple[ScanRef, ...]
    test: tuple[ScanRef, ...]
    val: tuple[ScanRef, ...] = field(kw_only=True)
    channels: int = field(kw_only=True)
    dtype: np.dtype[Any] = field(kw_only=True)
    intensity: IntensityMapping = field(kw_only=True)
    store: Store = field(kw_only=True)
    found: Mapping[ScanRef, Found] = field(kw_only=True, repr=False)

    def prepared(self, ref: ScanRef) -> Prepared:
        """A scan, brought to grid and size; cut out what you need, then call `in_unit`."""
        return self.store.get(ref)

    def in_unit(self, values: Values) -> Tensor:
        """Maps values (C, *spatial) of a scan to [-1, 1], or beyond that without `clip`."""
        return torch.from_numpy(np.ascontiguousarray(self.intensity.to_unit(values)))

    def load(self, ref: ScanRef) -> Tensor:
        """A scan as the networks take it, (channels, *spatial) in [-1, 1]."""
        return self.in_unit(self.prepared(ref).values)

    def load_middle(self, ref: ScanRef, largest: int) -> Tensor:
        """The middle of a scan, cropped so that no side exceeds `largest`."""
        values = self.prepared(ref).values
        starts = [max(0, (side - largest) // 2) for side in values.shape[1:]]
        middle = [slice(start, start + largest) for start in starts]
        return self.in_unit(values[:, *middle])

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


def spread(items: Sequence[_T], count: int) -> list[_T]:
    """Up to `count` items, evenly spread over all."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]
