"""Reads every scan of a data set once before training, so that no bad file stops it midway."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from nibabel.orientations import aff2axcodes

from revgan.data.aligning import apart, have_places
from revgan.data.channels import COLOURS
from revgan.data.config import DataConfig
from revgan.data.folders import Split
from revgan.data.formats import KINDS
from revgan.data.formats.ground import same_crs
from revgan.data.recipe import Found
from revgan.data.refs import ScanRef
from revgan.data.store import Store
from revgan.directions import DomainName
from revgan.errors import UserError, notice

READERS = {2: None, 3: 4}
"""Scans read at a time, one per core by default: each volume may take some gigabytes while it is
read."""

MISPLACED = 0.1
"""How far voxels of aligned scans may be apart, as a share of the smallest voxel's side."""

FoundScans = dict[ScanRef, Found]


def inspect_all(
    store: Store,
    refs: Sequence[ScanRef],
    training: int,
    progress: Callable[[int], None] | None = None,
    by_type: bool = False,
) -> list[Found]:
    """Reads and prepares every scan of a domain.

    Args:
        store: the domain's; it may keep what it reads.
        refs: the scans, at least one.
        training: how many of them, counted from the first, are for training.
        progress: called after each scan with the number of scans done.
        by_type: all need the same type of integers, as that decides what becomes -1 and 1.

    Raises:
        UserError: names the first scan that can't be read, has another type or other channels than
            the first, or is too small for training.
    """
    if not refs:
        raise ValueError("inspect_all needs at least one scan")
    recipe = store.recipe
    most, cores = READERS[recipe.config.spatial_dims], os.cpu_count() or 1
    threads = torch.get_num_threads()
    # Otherwise each thread would resize with its own team of threads: cores squared in total.
    pool = ThreadPoolExecutor(
        min(most or cores, cores), initializer=torch.set_num_threads, initargs=(1,)
    )
    found: list[Found] = []
    try:
        # In order, whichever is read first, so that a folder always gives the same error.
        for ref, scan in zip(refs, pool.map(store.inspect, refs), strict=True):
            found.append(scan)
            if by_type and _unlike_type(scan.dtype, found[0].dtype):
                raise UserError(
                    f"{ref} has {_bits(scan)} per sample, but {refs[0]} has {_bits(found[0])}; "
                    "save all images of a domain with the same bit depth, or set "
                    "data.intensity_a (or _b) percentiles or range"
                )
            if recipe.channels is None and scan.channels != found[0].channels:
                raise UserError(_unlike(ref, scan, refs[0], found[0]))
            if len(found) <= training:
                _require_room(ref, scan, recipe.config)
            if progress is not None:
                progress(len(found))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # for threads to come
    return found


def common_channels(
    refs: Sequence[ScanRef], training: int, spatial_dims: int, domain: DomainName
) -> int | None:
    """The channels that images of unlike ones are converted to: those of most training images.

    The user is told. Headers alone are read; files without a good one are left to `inspect_all`.

    Args:
        refs: of a domain, those for training first.
        training: how many these are.
        spatial_dims: of all.
        domain: which one.

    Returns:
        None where all have the same number, or where more than colours are among them.
    """
    if not KINDS[spatial_dims].photos:
        return None
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(partial(_channels_in, spatial_dims), refs))
    counts = Counter(count for count in found if count is not None)
    trained = Counter(count for count in found[:training] if count is not None)
    if len(counts) < 2 or max(counts) > COLOURS or not trained:
        return None
    most = max(trained, key=lambda count: (trained[count], count))
    held = ", ".join(f"{number:,} with {count}" for count, number in sorted(counts.items()))
    notice(
        f"images of {domain.upper()} have unlike numbers of channels ({held}); all are converted "
        f"to {most}, and --data.channels_{domain} says otherwise"
    )
    return most


def _channels_in(spatial_dims: int, ref: ScanRef) -> int | None:
    try:
        return ref.header(spatial_dims).channels
    except UserError:
        return None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s'[: number != 1]}"


def require_one_orientation(found: FoundScans) -> None:
    """Refuses scans whose axes point to different sides of the patient.

    Raises:
        UserError: names two of them.
    """
    placed = [
        (ref, scan.affine)
        for ref, scan in found.items()
        if scan.affine is not None and len(scan.shape) > 2  # images have no patient
    ]
    runs = [(ref, "".join(map(str, aff2axcodes(affine)))) for ref, affine in placed]
    for ref, letters in runs:
        if letters != runs[0][1]:
            raise UserError(
                f"the axes of {runs[0][0]} point to {runs[0][1]}, but those of {ref} to {letters}; "
                "set data.orientation, such as RAS, to bring all volumes to one orientation"
            )


def misplaced_pair(split: Split, found: FoundScans, config: DataConfig) -> str | None:
    """What is wrong with the first aligned pair whose scans are on different grids, if any."""
    kind = KINDS[config.spatial_dims]
    remedy = "set data.align true to resample B onto A's grid"
    for a, b in zip(split.a, split.b, strict=True) if split.aligned else ():
        one, other = found[a], found[b]
        if one.shape != other.shape:
            placed = have_places(*(ref.header(config.file_dims) for ref in (a, b)))
            how = remedy if placed else "resample one onto the other's grid"
            return (
                f"{a} is {kind.size(one.shape)} and {b} {kind.size(other.shape)}; paired scans "
                f"must have the same size, so {how}"
            )
        if one.ground is not None and other.ground is not None:
            if not same_crs(one.ground.crs, other.ground.crs):
                return f"{a} and {b} are in different CRSs; {remedy}"
            place, moved, by = one.ground.affine, other.ground.affine, "CRS"
        elif one.affine is not None and other.affine is not None:
            place, moved, by = one.affine, other.affine, "affines"
        else:
            continue
        distance = apart(place, moved, one.shape)
        if distance > MISPLACED:
            side = np.linalg.norm(place[:-1, :-1], axis=0).min()
            far = f"{distance:.3g} pixels" if by == "CRS" else f"{distance * side:.3g} mm"
            return (
                f"{a} and {b} are up to {far} apart according to their {by}; "
                f"paired scans must be in the same place, so {remedy}"
            )
    return None


def _unlike(ref: ScanRef, scan: Found, first_ref: ScanRef, first: Found) -> str:
    found = _count(scan.channels, "channel")
    remedy = "set data.channels_a (or data.channels_b) to convert all"
    if len(scan.shape) == 3 or max(scan.channels, first.channels) > COLOURS:
        # These channels aren't colours, so nothing converts them.
        remedy = "all scans of a domain must have the same number"
    return f"{ref} has {found}, but {first_ref} has {first.channels}; {remedy}"


def _require_room(ref: ScanRef, scan: Found, config: DataConfig) -> None:
    room = [side >= size for side, size in zip(scan.shape, config.crop_sizes, strict=True)]
    if not all(room):
        kind = KINDS[config.spatial_dims]
        if kind.thin and any(room):
            notice(
                f"{kind.many} with fewer {kind.elements} along an axis than data.crop "
                f"({config.crop_text}) are mirrored at their ends, in training as in translation"
            )
            return
        changed = " after resampling" if config.spacing is not None else ""
        raise UserError(
            f"{ref} has {kind.size(scan.shape)}{changed}, too few for data.crop "
            f"{config.crop_text}; lower data.crop, set {kind.scale}, or leave the {kind.one} out"
        )


def _unlike_type(one: np.dtype[Any], other: np.dtype[Any]) -> bool:
    return one != other and "f" not in (one.kind, other.kind)


def _bits(scan: Found) -> str:
    if scan.dtype.kind in "bf":
        return f"values of {scan.dtype}"
    return f"{8 * scan.dtype.itemsize} bits{'' if scan.dtype.kind == 'u' else ' with a sign'}"
