"""What training and evaluation draw from, whether images or volumes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torch import Tensor

from revgan.data.labels import Palette
from revgan.data.preparation import Preparation
from revgan.directions import Direction, DomainName, ends

Ref = TypeVar("Ref")
"""One image or volume that can be loaded."""

_T = TypeVar("_T")

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Domain(ABC, Generic[Ref]):
    """One side of a data set.

    Attributes:
        train: the images or volumes for training, at least one.
        test: those for the test.
        val: those that are scored while training goes on; the test's, where there are no others.
    """

    train: tuple[Ref, ...]
    test: tuple[Ref, ...]
    val: tuple[Ref, ...] = field(kw_only=True)

    @property
    @abstractmethod
    def channels(self) -> int:
        """What all of them have in common."""

    @abstractmethod
    def load(self, ref: Ref) -> Tensor:
        """One of them as the networks take it, (channels, *spatial) in [-1, 1]."""

    @abstractmethod
    def load_middle(self, ref: Ref, largest: int) -> Tensor:
        """The middle of one of them, no side of it above `largest`."""


@dataclass(frozen=True)
class DataSet:
    """Images or volumes of both domains, decoded once and found good.

    Attributes:
        a: domain A.
        b: domain B.
        test_aligned: a.test[i] and b.test[i] show the same.
        val_aligned: a.val[i] and b.val[i] show the same.
        preparation: what volumes go through, for the model folder; None for images.
        palette: what the colours of label maps mean, where one of the domains has them.
        kept: bytes of main memory that decoded images take.
    """

    a: Domain[Any]
    b: Domain[Any]
    test_aligned: bool
    val_aligned: bool
    preparation: Preparation | None = None
    palette: Palette | None = None
    kept: int = 0

    def of(self, domain: DomainName) -> Domain[Any]:
        """One of its domains."""
        return self.a if domain == "a" else self.b

    def sides(self, direction: Direction) -> tuple[Domain[Any], Domain[Any]]:
        """The domains translated from and to."""
        source, target = ends(direction)
        return self.of(source), self.of(target)

    @property
    def channels(self) -> tuple[int, int]:
        """Of A and of B."""
        return self.a.channels, self.b.channels


def spread(items: Sequence[_T], count: int) -> list[_T]:
    """Up to `count` items, evenly spread over all."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]
