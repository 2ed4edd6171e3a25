"""Where prepared scans come from: read again each time, or kept since the check before training.

All stores give the same bits. The check reads every scan anyway, so keeping the results costs
little time.
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from revgan.data import cache
from revgan.data.formats import Ground, Values
from revgan.data.large import Unread
from revgan.data.recipe import Found, Prepared, Recipe
from revgan.data.refs import ScanRef
from revgan.errors import UserError

_LIBRARIES = [version(name) for name in ("pillow", "imagecodecs", "tifffile", "torch", "monai")]
"""Another version may round differently, so its results are kept separate."""


class Store(ABC):
    """The scans of a domain, prepared.

    Args:
        recipe: how each is prepared.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @abstractmethod
    def inspect(self, ref: ScanRef) -> Found:
        """Reads a scan for the first time; the store may keep it. Thread-safe.

        Raises:
            UserError: it can't be read or kept.
        """

    @abstractmethod
    def get(self, ref: ScanRef) -> Prepared:
        """A scan that has been inspected."""


class FileStore(Store):
    """Keeps no values; of scans that are read window by window, all else that was found."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self._large: dict[ScanRef, Prepared] = {}

    def inspect(self, ref: ScanRef) -> Found:
        prepared = self.recipe.read(ref)
        if isinstance(prepared.values, Unread):
            self._large[ref] = prepared
        return prepared.found

    def get(self, ref: ScanRef) -> Prepared:
        return self._large.get(ref) or self.recipe.read(ref)


class DiskStore(Store):
    """Keeps scans in the cache on disk, where later runs find them."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self._places: dict[ScanRef, Path] = {}

    def inspect(self, ref: ScanRef) -> Found:
        self._places[ref] = cache.entry(ref.files, ref.part, *self.recipe.key, *_LIBRARIES)
        return self.get(ref).found

    def get(self, ref: ScanRef) -> Prepared:
        place = self._places[ref]
        arrays = cache.load(place)
        if arrays is not None and arrays.keys() >= ALWAYS:
            return _from_arrays(arrays)
        if arrays is not None:
            cache.drop(place, "arrays are missing")
        prepared = self.recipe.read(ref)
        cache.save(place, _to_arrays(prepared), ref.path)
        return prepared


ALWAYS = {"values", "file", "missing"}
"""The arrays of every scan in the cache."""


def _to_arrays(prepared: Prepared) -> dict[str, NDArray[Any] | Unread]:
    found = prepared.found
    # An empty array that records the file's channels and type.
    arrays: dict[str, NDArray[Any] | Unread] = {
        "values": prepared.values,
        "file": np.empty((found.channels, 0), found.dtype),
        "missing": np.array([np.nan if found.nodata is None else found.nodata, found.missing]),
    }
    optional: dict[str, NDArray[Any] | None] = {
        "affine": found.affine,
        "foreground": prepared.foreground,
        "limits": prepared.limits,
    }
    if found.ground is not None:
        crs = np.frombuffer(found.ground.crs.encode(), np.uint8)
        optional |= {"ground": found.ground.affine, "crs": crs}
    arrays |= {name: array for name, array in optional.items() if array is not None}
    return {
        name: array if isinstance(array, Unread) else np.ascontiguousarray(array)
        for name, array in arrays.items()
    }


def _from_arrays(arrays: cache.Arrays) -> Prepared:
    values, file = arrays["values"], arrays["file"]
    affine = np.array(arrays["affine"]) if "affine" in arrays else None
    nodata, missing = arrays["missing"].tolist()
    nodata = None if np.isnan(nodata) else nodata
    ground = None
    if "ground" in arrays:
        ground = Ground(np.array(arrays["ground"]), arrays["crs"].tobytes().decode())
    found = Found(len(file), file.dtype, values.shape[1:], affine, nodata, missing, ground)
    return Prepared(values, found, arrays.get("foreground"), arrays.get("limits"))


class Room:
    """The memory that the scans of a data set share.

    Args:
        limit: in bytes; None for no limit.
        scans: how many there will be in total.

    Attributes:
        taken: bytes in use.
    """

    def __init__(self, limit: int | None, scans: int) -> None:
        self.limit, self.scans = limit, scans
        self.taken = self.kept = 0
        self._lock = Lock()

    def take(self, count: int) -> None:
        """Takes bytes for one scan.

        Raises:
            UserError: it doesn't fit; the message says how much all scans would need.
        """
        with self._lock:
            self.taken, self.kept = self.taken + count, self.kept + 1
            if self.limit is not None and self.taken > self.limit:
                needed = self.taken / self.kept * self.scans
                raise UserError(
                    f"data.cache memory needs about {needed / 2**20:,.0f} MiB for {self.scans:,} "
                    f"images, more than the {self.limit / 2**20:,.0f} available; set data.cache to "
                    "disk or none"
                )


class _Place(NamedTuple):
    """An array's place in a block of memory, and its shape and type."""

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def view(self, block: Tensor) -> Values:
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        array = block[self.start : self.start + size].numpy()
        return array.view(self.dtype).reshape(self.shape)


class MemoryStore(Store):
    """Keeps scans in memory.

    Forked loader processes share them without a copy. Others (macOS, Windows, Python 3.14) get the
    values through one block of shared memory, made when the first of them starts.

    Args:
        recipe: how each scan is prepared.
        room: where the memory comes from.
    """

    def __init__(self, recipe: Recipe, room: Room) -> None:
        super().__init__(recipe)
        self._room = room
        self._kept: dict[ScanRef, Prepared] = {}
        self._block: Tensor | None = None

    def inspect(self, ref: ScanRef) -> Found:
        prepared = self.recipe.read(ref)
        # A view of one half would keep the other half too.
        prepared = replace(prepared, values=np.ascontiguousarray(prepared.values))
        self._room.take(prepared.values.nbytes)
        self._kept[ref] = prepared
        return prepared.found

    def get(self, ref: ScanRef) -> Prepared:
        return self._kept[ref]

    def __getstate__(self) -> dict[str, Any]:
        if self._block is None:
            self._share()
        places = {
            ref: replace(prepared, values=np.empty(0)) for ref, prepared in self._kept.items()
        }
        return {
            "recipe": self.recipe,
            "_block": self._block,
            "_kept": places,
            "_places": self._places,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._look_into_block()

    def _share(self) -> None:
        """Moves all values into one block, as every block needs a file descriptor."""
        places, end = {}, 0
        for ref, prepared in self._kept.items():
            values = prepared.values
            places[ref] = _Place(end, values.shape, values.dtype)
            end += -(-values.nbytes // 8) * 8  # so that all arrays are aligned
        self._places = places
        self._block = torch.empty(end, dtype=torch.uint8).share_memory_()
        for ref, place in places.items():
            place.view(self._block)[:] = self._kept[ref].values
        self._look_into_block()

    def _look_into_block(self) -> None:
        assert self._block is not None
        for ref, place in self._places.items():
            self._kept[ref] = replace(self._kept[ref], values=place.view(self._block))


def open_store(recipe: Recipe, room: Room) -> Store:
    """The store that a configuration asks for."""
    match recipe.config.kept:
        case "memory":
            return MemoryStore(recipe, room)
        case "disk":
            return DiskStore(recipe)
        case "none":
            return FileStore(recipe)
