"""Masks of training scans: where losses count, and where crops are centred."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from revgan.data.aligning import centres_apart
from revgan.data.config import DataConfig
from revgan.data.foreground import foreground_positions
from revgan.data.formats import WHOLE, Header, probe, suffixes
from revgan.data.recipe import Prepared, Recipe
from revgan.data.refs import ScanRef
from revgan.data.store import Room, Store, open_store
from revgan.directions import DomainName
from revgan.errors import UserError, notice

HALF = 0.5
"""A pixel's side: masks farther than this from their scans lie elsewhere, and are resampled."""


@dataclass(frozen=True)
class MaskRecipe(Recipe):
    """How masks are prepared: as their scans, with 1 inside and 0 outside."""

    @classmethod
    def of(cls, config: DataConfig) -> Self:
        """The recipe of masks of scans that are prepared by a configuration."""
        return cls(replace(config, foreground=0.0, foreground_from="otsu"), flat=True)

    @property
    def key(self) -> list[object]:
        return [*super().key, "mask"]

    def read(self, ref: ScanRef) -> Prepared:
        """Reads a mask; its foreground is all that is inside.

        The user is told of a mask of its scan's very shape that lies elsewhere by its header, as
        it does where a tool has lost the affine.

        Raises:
            UserError: it can't be read, doesn't say where it is, or is empty where its scan is.
        """
        dims = self.config.file_dims
        mask = ref.read(self.config.spatial_dims)
        colours = mask.values[:3] if len(mask.values) == 4 else mask.values  # without alpha
        inside = np.logical_or.reduce(np.nan_to_num(colours) > 0, axis=0, keepdims=True)
        ones = np.asarray(inside, np.uint8)
        scan = replace(mask, values=ones, dtype=ones.dtype, nodata=None)
        prepared = self.apply(scan, ref.path)
        values = np.asarray(np.asarray(prepared.values) >= 0.5, np.uint8)
        # Slices and blocks at the ends may be empty.
        if not values.any() and ref.plane is None and ref.block is None:
            apart = _distance(ref, dims)
            where = f" where its scan is{apart}" if apart or inside.any() else ""
            raise UserError(
                f"{ref} is empty{where}; give a mask with values above 0 where losses or scores "
                "count"
            )
        _tell_if_moved(ref, dims)
        return replace(prepared, values=values, foreground=foreground_positions(values, above=0.5))


def mask_ref(scan: ScanRef, path: Path) -> ScanRef:
    """A file as the mask of a scan, on whose grid it is read, whatever its own."""
    grid = scan.onto or replace(scan, plane=None, block=None)
    return replace(scan, path=path, half=None, selection=WHOLE, more=(), onto=grid, nearest=True)


@dataclass(frozen=True)
class Masks:
    """The masks of a domain's training scans.

    Attributes:
        store: where they come from.
        refs: of each scan, the mask's.
    """

    store: Store
    refs: Mapping[ScanRef, ScanRef]

    def of(self, scan: ScanRef) -> Prepared:
        """A scan's mask: uint8 (1, *spatial), with positions inside as foreground."""
        return self.store.get(self.refs[scan])


def open_masks(
    domain: DomainName,
    scans: Sequence[ScanRef],
    shapes: Mapping[ScanRef, tuple[int, ...]],
    config: DataConfig,
    room: Room,
) -> Masks | None:
    """Finds and reads the masks of a domain's training scans; None if the configuration needs none.

    Args:
        domain: which one.
        scans: its training scans.
        shapes: of each, the spatial sizes once it is prepared.
        config: of the data.
        room: the memory that is left.

    Raises:
        UserError: a mask is missing, can't be read, is empty, or isn't where its scan is.
    """
    folder = _folder_of(scans[0], domain)
    if not config.masked:
        if folder.is_dir():
            notice(f"{folder} has masks; data.train_mask true makes losses count only inside them")
        return None
    if not folder.is_dir():
        raise UserError(
            f"there is no folder {folder} with masks of the training scans; make it, or leave out "
            "data.train_mask and data.foreground_from mask"
        )
    store = open_store(MaskRecipe.of(config), room)
    refs = {scan: _mask_of(scan, folder) for scan in scans}
    for scan, mask in refs.items():
        found = store.inspect(mask)
        if found.shape != shapes[scan]:
            raise UserError(
                f"{mask} is {' x '.join(map(str, found.shape))} on the grid of {scan}, which is "
                f"{' x '.join(map(str, shapes[scan]))}; resample it onto its scan's grid"
            )
    return Masks(store, refs)


def _folder_of(scan: ScanRef, domain: DomainName) -> Path:
    """That of the domain, if there is one, else that of both."""
    folder = scan.folder
    split = folder.name if scan.half is not None else folder.name[:-1]  # without A or B
    own = folder.with_name(f"{split}Mask{domain.upper()}")
    return own if own.is_dir() else folder.with_name(f"{split}Mask")


def _mask_of(scan: ScanRef, folder: Path) -> ScanRef:
    """A scan's mask, which may have another format and grid."""
    paths = (folder / f"{scan.whole}{suffix}" for suffix in suffixes())
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise UserError(f"{folder} has no mask for {scan}; put it there under the same name")
    return mask_ref(scan, path)


def _headers(mask: ScanRef, file_dims: int) -> tuple[Header, Header]:
    """The mask's own header, and that of its scan's grid."""
    assert mask.onto is not None
    return probe(mask.path, file_dims), mask.onto.header(file_dims)


def _distance(mask: ScanRef, file_dims: int) -> str:
    """How far a mask lies from its scan, in words; "" if it lies where that does."""
    far = centres_apart(*_headers(mask, file_dims))
    if far is None or far.pixels <= HALF:
        return ""
    return f", as by their headers their centres are {far} apart"


def _tell_if_moved(mask: ScanRef, file_dims: int) -> None:
    own, scan = _headers(mask, file_dims)
    far = centres_apart(own, scan)
    if far is not None and own.shape == scan.shape and far.pixels > HALF:
        notice(
            f"{mask.path} has its scan's shape, but by their headers their centres are {far} "
            "apart; the mask counts where its header says"
        )
