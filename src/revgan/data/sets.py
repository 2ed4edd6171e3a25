"""Finds, checks and opens the data set of a configuration."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from revgan.data import contents
from revgan.data.blocks import Cutting, in_blocks, measured_blocks
from revgan.data.checking import (
    FoundScans,
    common_channels,
    inspect_all,
    misplaced_pair,
    require_one_orientation,
)
from revgan.data.choosing import choose_intensity, is_photo, said
from revgan.data.config import DataConfig, SplitName
from revgan.data.datasets.brain import write_brain
from revgan.data.datasets.earth import LARGE, SMALL, write_earth
from revgan.data.datasets.earth_labels import write_earth_labels
from revgan.data.datasets.earth_map import write_earth_map
from revgan.data.domains import DataSet, Domain, Progress
from revgan.data.folders import (
    Folder,
    Split,
    hold_out,
    hold_out_fold,
    open_folder,
    open_patterns,
    require_aligned,
    require_apart,
    sliced,
)
from revgan.data.formats import KINDS
from revgan.data.intensity import IntensityMapping, PerScan, fit_intensity, of_type
from revgan.data.labels import Palette
from revgan.data.mappings import TypeRange
from revgan.data.preparation import Preparation, learnt_part
from revgan.data.recipe import Found, Recipe
from revgan.data.refs import ScanRef
from revgan.data.store import Room, Store, open_store
from revgan.data.survey import Survey
from revgan.data.training_masks import open_masks
from revgan.directions import DOMAINS, DomainName
from revgan.environment import cache_folder
from revgan.errors import UserError, notice

__all__ = ["BUILT_IN", "DataConfig", "DataSet", "Domain", "Progress", "locate", "open_data_set"]

BUILT_IN = {
    "earth": 2,
    "earth-small": 2,
    "earth-map": 2,
    "earth-labels": 2,
    "earth-labels-small": 2,
    "brain": 3,
    "brain-super-resolution": 3,
}
"""The built-in sets, with their spatial dimensions."""

EARTH = {
    "earth": (write_earth, LARGE),
    "earth-small": (write_earth, SMALL),
    "earth-map": (write_earth_map, LARGE),
    "earth-labels": (write_earth_labels, LARGE),
    "earth-labels-small": (write_earth_labels, SMALL),
}
"""What writes a set of the Earth, and the sizes of its tiles."""

Splits = tuple[Split, Split, Split]
"""For training, testing and validation."""


def locate(config: DataConfig, *, paired: bool) -> Folder:
    """Finds the scans of a configuration without reading them; writes built-in sets if necessary.

    Raises:
        UserError: there is no such folder or set, or its layout can't be understood.
    """
    root = _root(config, paired=paired)
    looking: dict[str, Any] = {
        "paired": paired,
        "recursive": config.recursive,
        "selection": config.selection,
    }
    if patterns := config.patterns:
        folder = open_patterns(root, patterns, config.file_dims, **looking)
    else:
        folder = open_folder(root, config.file_dims, **looking)
    folder = folder.reading(config.part("a"), config.part("b"))
    require_apart(folder)
    if config.folds is not None and config.fold is not None:
        folder = hold_out_fold(folder, config.fold, config.folds)
    if config.blocks is None:
        folder = hold_out(folder, config.test_share, config.val_share)
    folder = _as_told(folder, config, paired=paired)
    if config.align:
        folder = _aligned(folder, config)
    if config.blocks is not None:
        shares: dict[SplitName, float] = {"test": config.test_share, "val": config.val_share}
        cutting = Cutting(config.blocks, max(config.crop_sizes), config.file_dims, shares)
        folder = in_blocks(folder, cutting, paired=paired)
    return folder if config.slices is None else sliced(folder, config.slices)


def open_data_set(
    config: DataConfig,
    *,
    paired: bool,
    progress: Progress | None = None,
    preparation: Preparation | None = None,
    memory: int | None = None,
) -> DataSet:
    """Finds the scans of a configuration and reads every one of them once.

    So a scan that can't be read stops training before the first step. Scans are brought to the
    configured grid and size at the same time and kept where the configuration says
    (`revgan.data.store`); those that are in the cache on disk already aren't read again.

    Args:
        config: which scans, and how they are prepared.
        paired: whether scans of A and B are pairs.
        progress: called after each scan.
        preparation: a trained model's; by default, intensities are fitted to the training scans.
        memory: bytes that `config.cache` "memory" may take; None for no limit.

    Raises:
        UserError: a file or the folder can't be used; the message says which and why.
    """
    folder = locate(config, paired=paired)
    train, test, own_val = folder.train, folder.test or Split(), folder.val or Split()
    palette = Palette.read(folder.root) if config.spatial_dims == 2 else None
    room = Room(memory, sum(len(split.a + split.b) for split in (train, test, own_val)))
    stores = {}
    for name in DOMAINS:
        recipe = _recipe(config, name, palette)
        if recipe.channels is None:
            refs = [ref for split in (train, test, own_val) for ref in split.of(name)]
            channels = common_channels(refs, len(train.of(name)), config.spatial_dims, name)
            recipe = replace(recipe, channels=channels)
        stores[name] = open_store(recipe, room)
    found: FoundScans = {}
    for name, store in stores.items():
        found |= _inspect(name, store, (train, test, own_val), progress)
    contents.keep()
    if config.blocks is not None:
        train, test, own_val = (measured_blocks(split, found) for split in (train, test, own_val))
        if not (train.a and train.b):
            raise UserError(f"nothing in {folder.root} was measured: all of it is NaN or nodata")
    if config.orientation is None:
        require_one_orientation(found)
    wrong = {split: misplaced_pair(split, found, config) for split in (train, test, own_val)}
    told = (train, test, own_val) if paired else (test, own_val) if config.aligned is True else ()
    if problem := next(filter(None, (wrong[split] for split in told)), None):
        if config.spacing is None or config.align:
            raise UserError(problem)
        # They are resampled anyway.
        notice("pairs aren't on one grid, so B is resampled onto that of A before data.spacing")
        aligning = replace(config, align=True)
        return open_data_set(
            aligning, paired=paired, progress=progress, preparation=preparation, memory=memory
        )
    if preparation is None:
        a, b = (_fitted(name, store, train.of(name), found) for name, store in stores.items())
        part_a, part_b = (learnt_part(config.part(name)) for name in DOMAINS)
        preparation = Preparation(a, b, config.grid, config.fill, part_a, part_b, config.slices)
        for name in DOMAINS:
            _tell_of_gaps(name, train.of(name), found, config)
    for name in DOMAINS:
        if preparation.of(name) == TypeRange():  # from an earlier version, which omitted the type
            of_files = TypeRange(found[train.of(name)[0]].dtype.name)
            preparation = preparation.with_intensity(name, of_files)
    val = own_val if folder.val else test
    shapes = {ref: scan.shape for ref, scan in found.items()}
    domains = {
        name: replace(
            _domain(name, store, (train, test, val), found, preparation),
            masks=open_masks(name, train.of(name), shapes, config, room),
        )
        for name, store in stores.items()
    }
    aligned = {split: split.aligned and wrong[split] is None for split in (test, val)}
    guessed = not paired and _guessed(config, test)
    if guessed and any(aligned.values()):
        notice(
            f"test {KINDS[config.spatial_dims].many} of A and B with the same name are taken for "
            "pairs, as their names and sizes match; data.aligned true says that they are (so that "
            "best/ can be chosen by them), false that they aren't"
        )
    return DataSet(
        **domains,
        test_aligned=aligned[test],
        val_aligned=aligned[val],
        guessed=guessed,
        preparation=preparation,
        kind=KINDS[config.spatial_dims],
        palette=palette,
        kept=room.taken,
    )


def _as_told(folder: Folder, config: DataConfig, *, paired: bool) -> Folder:
    """The folder, of unpaired training with held-out pairs only if `data.aligned` allows them."""
    if paired:
        if config.aligned is False:
            raise UserError("objective paired trains on pairs, so leave data.aligned false out")
        return folder
    held_out = [split for split in (folder.test, folder.val) if split is not None]
    if config.aligned is True:
        for split in held_out:
            require_aligned(split, KINDS[config.file_dims].many)
    if config.aligned is not False:
        return folder
    test, val = (split and replace(split, aligned=False) for split in (folder.test, folder.val))
    return replace(folder, test=test, val=val)


def _guessed(config: DataConfig, test: Split) -> bool:
    """Whether nobody has said that held-out scans of one name are pairs."""
    side_by_side = any(ref.half is not None for ref in test.a)
    return config.aligned == "auto" and config.path not in BUILT_IN and not side_by_side


def _aligned(folder: Folder, config: DataConfig) -> Folder:
    splits = [split for split in (folder.train, folder.test, folder.val) if split is not None]
    if not any(split.aligned for split in splits):
        raise UserError(
            f"data.align brings scans of B onto the grid of their partners in A, but {folder.root} "
            "has no pairs; name partners alike, or leave data.align out"
        )
    palette = Palette.read(folder.root) if config.spatial_dims == 2 else None
    nearest = palette is not None and palette.domain == "B"
    test, val = (split and split.onto_a(nearest) for split in (folder.test, folder.val))
    return replace(folder, train=folder.train.onto_a(nearest), test=test, val=val)


def _recipe(config: DataConfig, domain: DomainName, palette: Palette | None) -> Recipe:
    own = config.intensity(domain)
    return Recipe(
        config,
        channels=config.channels_a if domain == "a" else config.channels_b,
        intensity=own if own is not None and own.per_scan else None,
        flat=palette is not None and palette.domain.lower() == domain,
    )


def _inspect(
    name: DomainName, store: Store, splits: Splits, progress: Progress | None
) -> FoundScans:
    refs = [ref for split in splits for ref in split.of(name)]
    what = f"preparing {KINDS[store.recipe.config.spatial_dims].many} of {name.upper()}"
    told = None if progress is None else partial(_tell, progress, what, len(refs))
    training = len(splits[0].of(name))
    config = store.recipe.config
    by_type = KINDS[config.spatial_dims].photos and config.intensity(name) is None
    found = inspect_all(store, refs, training, told, by_type)
    if config.choice(name) == "type":
        _require_integers(name, refs, found)
    return dict(zip(refs, found, strict=True))


def _require_integers(name: DomainName, refs: Sequence[ScanRef], found: Sequence[Found]) -> None:
    for ref, scan in zip(refs, found, strict=True):
        if scan.dtype.kind == "f":
            raise UserError(
                f"{ref} has values of {scan.dtype}, whose full range doesn't make a useful scale; "
                f"set data.intensity_{name} to percentiles, or to range with low and high"
            )


def _tell(progress: Progress, what: str, total: int, done: int) -> None:
    progress(what, done, total)


def _fitted(
    domain: DomainName, store: Store, train: tuple[ScanRef, ...], found: FoundScans
) -> IntensityMapping:
    """The mapping of a domain's intensities: configured, or chosen and reported."""
    data, dtypes = store.recipe.config, [found[ref].dtype for ref in train]
    config, dtype = data.intensity(domain), _common_type(dtypes)
    if config is None and (
        data.choice(domain) == "type" or _by_type(data, domain, store.recipe, dtype)
    ):
        return TypeRange(dtype.name)
    scans = (store.get(ref) for ref in train)
    try:
        if config is not None and config.per_scan:
            limits = [scan.limits for scan in scans if scan.limits is not None]
            mapping: IntensityMapping = PerScan.from_limits(config, limits)
        elif config is not None:
            mapping = fit_intensity(config, (scan.measured for scan in scans), len(train))
        else:
            survey = Survey.of((scan.measured for scan in scans), len(train))
            mapping = _chosen(domain, survey, dtype, data)
    except UserError as error:
        raise UserError(f"in domain {domain.upper()}, {error}") from error
    return of_type(mapping, dtype)


def _tell_of_gaps(
    domain: DomainName, train: tuple[ScanRef, ...], found: FoundScans, config: DataConfig
) -> None:
    """Says how much of a domain's training scans stands for nothing measured."""
    shares = [found[ref].missing for ref in train]
    if count := sum(share > 0 for share in shares):
        kind = KINDS[config.spatial_dims]
        notice(
            f"{count} of {len(train)} {kind.many} of {domain.upper()} have gaps (NaN or nodata), "
            f"{np.mean(shares):.1%} of all {kind.elements}: they count in no statistics and no "
            f"loss, and the networks see data.fill {config.fill}"
        )


def _by_type(config: DataConfig, domain: DomainName, recipe: Recipe, dtype: np.dtype[Any]) -> bool:
    """Whether scans are mapped by their type's range, without looking at their values."""
    photo = is_photo(dtype, KINDS[config.spatial_dims]) and not config.per_channel(domain)
    return photo or (recipe.flat and dtype.kind != "f")


def _chosen(
    domain: DomainName, survey: Survey, dtype: np.dtype[Any], config: DataConfig
) -> IntensityMapping:
    kind, per_channel = KINDS[config.spatial_dims], config.per_channel(domain)
    chosen = choose_intensity(survey, dtype, kind, clip=config.clip, per_channel=per_channel)
    if not chosen.plain:
        notice(
            f"the networks' -1 to 1 are, of {kind.many} of {domain.upper()} ({dtype}), "
            f"{said(chosen)}; data.intensity_{domain} sets it otherwise"
        )
    return chosen.mapping


def _common_type(dtypes: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """The type that can hold the values of all these types, or comes closest."""
    return np.dtype(np.result_type(*dtypes))


def _domain(
    name: DomainName, store: Store, splits: Splits, found: FoundScans, preparation: Preparation
) -> Domain:
    train, test, val = (split.of(name) for split in splits)
    first = found[train[0]]
    return Domain(
        train,
        test,
        val=val,
        channels=store.recipe.channels or first.channels,
        dtype=first.dtype,
        intensity=preparation.of(name),
        fill=preparation.fill,
        store=store,
        found={ref: found[ref] for ref in train + test + val},
    )


def _root(config: DataConfig, *, paired: bool) -> Path:
    kind = KINDS[config.file_dims]
    dims = BUILT_IN.get(config.path)
    if dims is None:
        if not Path(config.path).exists():
            fitting = [name for name, dims in BUILT_IN.items() if dims == config.file_dims]
            raise UserError(
                f"{config.path} does not exist; give a folder of {kind.many} or one of the "
                f"built-in sets: {', '.join(fitting)}"
            )
        return Path(config.path)
    if dims != config.file_dims:
        other = KINDS[dims]
        raise UserError(
            f"{config.path} is a set of {other.many}; set data.spatial_dims {dims}, for example "
            f"with --preset {other.preset}"
        )
    if config.path in EARTH:
        write, layout = EARTH[config.path]
        return write(cache_folder(), paired=paired, layout=layout)
    super_resolution = config.path == "brain-super-resolution"
    return write_brain(
        cache_folder(), task="super-resolution" if super_resolution else "gray-matter"
    )
