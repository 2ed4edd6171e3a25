"""Cuts scans into blocks, and holds some of them out: for sets of one huge scan, or of few."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from revgan.data.checking import FoundScans
from revgan.data.config import SplitName
from revgan.data.folders import Folder, Split
from revgan.data.refs import Block, ScanRef
from revgan.errors import UserError, notice

Place = tuple[int, ...]
"""Of a block among a scan's, along each axis."""

RANKS: tuple[SplitName, ...] = ("train", "test", "val")
"""Blocks of later ones make room for those of earlier ones."""


@dataclass(frozen=True)
class Cutting:
    """How scans are cut into blocks.

    Attributes:
        side: of a block, at least, but where the scan is smaller; it is less than twice that.
        gap: elements between a block that is held out and others.
        spatial_dims: of the scans.
        shares: of each scan's blocks, to hold out.
    """

    side: int
    gap: int
    spatial_dims: int
    shares: Mapping[SplitName, float]

    def blocks(self, ref: ScanRef) -> dict[SplitName, list[ScanRef]]:
        """The blocks of a scan.

        Which ones are held out depends only on their places, so that it is the same for the two
        scans of a pair, and of domains that show the same region.

        Raises:
            UserError: the scan can't be read.
        """
        shape = ref.header(self.spatial_dims).shape
        counts = tuple(max(1, size // self.side) for size in shape)
        purposes = self._purposes(counts)
        found: dict[SplitName, list[ScanRef]] = {name: [] for name in RANKS}
        for place, purpose in purposes.items():
            starts, stops = [], []
            for axis, (size, count) in enumerate(zip(shape, counts, strict=True)):
                before, behind = (
                    self.gap * _crowded(place, axis, step, purposes) for step in (-1, 1)
                )
                starts.append(size * place[axis] // count + before)
                stops.append(size * (place[axis] + 1) // count - behind)
            block = Block(place, tuple(starts), tuple(stops))
            found[purpose].append(replace(ref, block=block))
        return found

    def _purposes(self, counts: Sequence[int]) -> dict[Place, SplitName]:
        places = list(product(*map(range, counts)))
        left = sorted(places, key=_shuffled)
        purposes: dict[Place, SplitName] = dict.fromkeys(places, "train")
        for name, share in self.shares.items():
            few = len(places) <= len(self.shares)
            taken = 0 if not share or few else max(1, round(share * len(places)))
            purposes |= dict.fromkeys(left[:taken], name)
            left = left[taken:]
        return purposes


def in_blocks(folder: Folder, cutting: Cutting, *, paired: bool) -> Folder:
    """Cuts all scans into blocks, and holds a share out from training.

    Args:
        folder: of whole scans; those that it has for the test and for validation are cut without
            gaps.
        cutting: how to cut those for training.
        paired: whether scans of A and B are pairs.

    Raises:
        UserError: a pair isn't on one grid, or nothing would be left for one of the purposes.
    """
    train = _cut(folder.train, cutting, paired=paired)
    evenly = replace(cutting, shares={})
    test, val = (
        split and _cut(split, evenly, paired=paired)["train"] for split in (folder.test, folder.val)
    )
    for name in ("train", *cutting.shares):
        if cutting.shares.get(name, 1) and not (train[name].a and train[name].b):
            raise UserError(
                f"{folder.root} has too few blocks of data.blocks {cutting.side} to hold out "
                f"data.test_share and data.val_share of them; lower one of the three"
            )
    return Folder(
        folder.root,
        train["train"],
        test or (train["test"] if cutting.shares.get("test") else None),
        val or (train["val"] if cutting.shares.get("val") else None),
    )


def _cut(split: Split, cutting: Cutting, *, paired: bool) -> dict[SplitName, Split]:
    a, b = ([cutting.blocks(ref) for ref in refs] for refs in (split.a, split.b))
    aligned = split.aligned
    for own, other in zip(a, b, strict=True) if aligned else ():
        if all(len(own[name]) == len(other[name]) for name in RANKS):
            continue
        aligned = False
        if paired:
            raise UserError(
                f"{_whole(own)} and {_whole(other)} have other sizes; paired scans must have the "
                "same size, so resample one onto the other's grid, as data.align true does with "
                "files that say where they lie"
            )
    return {
        name: Split(
            tuple(ref for blocks in a for ref in blocks[name]),
            tuple(ref for blocks in b for ref in blocks[name]),
            aligned=aligned,
        )
        for name in RANKS
    }


def _whole(blocks: Mapping[SplitName, Sequence[ScanRef]]) -> ScanRef:
    return replace(next(ref for refs in blocks.values() for ref in refs), block=None)


def measured_blocks(split: Split, found: FoundScans) -> Split:
    """A split without blocks in which nothing was measured, and without their partners.

    The user is told.
    """

    def empty(ref: ScanRef) -> bool:
        return ref.block is not None and found[ref].missing == 1

    if split.aligned:
        kept = [(a, b) for a, b in zip(split.a, split.b, strict=True) if not empty(a) | empty(b)]
        made = replace(split, a=tuple(a for a, _ in kept), b=tuple(b for _, b in kept))
    else:
        a, b = (tuple(ref for ref in refs if not empty(ref)) for refs in (split.a, split.b))
        made = replace(split, a=a, b=b)
    count = len(split.a + split.b) - len(made.a + made.b)
    if count:
        notice(f"{count} blocks of data.blocks are left out, as nothing in them was measured")
    return made


def _crowded(place: Place, axis: int, step: int, purposes: Mapping[Place, SplitName]) -> bool:
    """Whether a block has to keep its distance from one of those beyond one of its sides."""
    own = RANKS.index(purposes[place])
    around = [[number - 1, number, number + 1] for number in place]
    around[axis] = [place[axis] + step]
    beyond = (purposes.get(other) for other in product(*around))
    return any(other is not None and RANKS.index(other) < own for other in beyond)


def _shuffled(place: Place) -> str:
    return hashlib.sha256(repr(place).encode()).hexdigest()
