"""Checks of the options for data, on their own and together."""

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Literal, get_args

from revgan.data.intensity import Choice
from revgan.data.views import View
from revgan.directions import DOMAINS, DomainName
from revgan.networks.axes import require_axes

if TYPE_CHECKING:
    from revgan.data.config import DataConfig

Cache = Literal["none", "memory", "disk"]

INTENSITY_CHANGES = "contrast", "brightness", "noise"
"""Options of augmentation that end in _a or _b."""

FOR_IMAGES = (
    *("slices", "resize", "channels_a", "channels_b", "cache"),
    *("pixel_size_a", "pixel_size_b", "z_a", "z_b"),
)

FOR_VOLUMES = ("orientation", "spacing")


def check_options(config: "DataConfig") -> None:
    """Refuses values out of range, and options that would do nothing.

    Raises:
        ValueError: names the option.
    """
    if config.spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims must be 2 or 3, not {config.spatial_dims}")
    require_axes("crop", config.crop, config.spatial_dims)
    if min(config.crop_sizes) < 1:
        raise ValueError(f"crop must be 1 or more, not {min(config.crop_sizes)}")
    _check_patterns(config)
    _check_folds(config)
    _refuse_idle_options(config)
    if config.spatial_dims == 2:
        _check_images(config)
    else:
        _ = config.grid  # checks its own values
    _check_crops(config)
    _check_augmentation(config)
    _check_intensities(config)
    _check_parts(config)


def _check_patterns(config: "DataConfig") -> None:
    for prefix in ("", "test_", "val_"):
        a, b = getattr(config, f"{prefix}a"), getattr(config, f"{prefix}b")
        if (a is None) != (b is None):
            missing = f"{prefix}{'a' if a is None else 'b'}"
            raise ValueError(f"{missing} must be given with its counterpart, or neither")
        if prefix and a is not None and config.a is None:
            raise ValueError(f"{prefix}a and {prefix}b do nothing without a and b")
        if () in (a, b) or "" in (a, b):
            raise ValueError(f"{prefix}a and {prefix}b must not be empty")
    for name in ("test_share", "val_share"):
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(f"{name} must be from 0 to below 1, not {getattr(config, name)}")


def _check_folds(config: "DataConfig") -> None:
    if config.folds is None:
        if config.fold is not None:
            raise ValueError(f"fold {config.fold} does nothing without folds; give both")
        return
    if config.folds < 2:
        raise ValueError(f"folds must be null or at least 2, not {config.folds}")
    if config.fold is None or not 1 <= config.fold <= config.folds:
        raise ValueError(
            f"fold must be from 1 to folds ({config.folds}), not {config.fold}; revgan train "
            f"--folds {config.folds} trains them all"
        )
    if config.test_share:
        raise ValueError("folds says what is held out for the test; leave out test_share")


def _refuse_idle_options(config: "DataConfig") -> None:
    idle, kind = (FOR_VOLUMES, "images") if config.spatial_dims == 2 else (FOR_IMAGES, "volumes")
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in idle and value != field.default:
            raise ValueError(
                f"{field.name} does nothing for {kind}; leave it out, or set data.spatial_dims "
                f"{5 - config.spatial_dims}"
            )


def _refuse_idle_limits(config: "DataConfig", domain: DomainName) -> None:
    if config.choice(domain) != "type":
        return
    given = {"low": None, "high": None, "per_channel": False}
    for name, default in given.items():
        if getattr(config, f"{name}_{domain}") != default:
            raise ValueError(
                f"{name}_{domain} does nothing with intensity_{domain} type; leave it out"
            )


def _check_images(config: "DataConfig") -> None:
    if config.resize is not None and config.resize < min(config.crop_sizes):
        raise ValueError(
            f"resize must be null or at least crop ({config.crop_text}), not {config.resize}"
        )
    for name in ("channels_a", "channels_b"):
        if getattr(config, name) not in (None, 1, 2, 3, 4):
            raise ValueError(f"{name} must be null or 1 to 4, not {getattr(config, name)}")
    if config.slices not in (None, *get_args(View)):
        known = ", ".join(get_args(View))
        raise ValueError(f"slices must be null or one of {known}, not {config.slices!r}")
    if config.cache not in get_args(Cache):
        known = ", ".join(get_args(Cache))
        raise ValueError(f"cache must be one of {known}, not {config.cache!r}")


def _check_crops(config: "DataConfig") -> None:
    if config.crops_per_volume < 1:
        raise ValueError(f"crops_per_volume must be 1 or more, not {config.crops_per_volume}")
    if config.blocks is not None:
        _check_blocks(config, config.blocks)
    if not 0 <= config.foreground <= 1:
        raise ValueError(f"foreground must be from 0 to 1, not {config.foreground}")
    given = config.foreground_from
    if given not in ("otsu", "mask") and (isinstance(given, str) or not math.isfinite(given)):
        raise ValueError(f"foreground_from must be otsu, mask or a number, not {given!r}")
    if given != "otsu" and not config.foreground:
        raise ValueError("foreground_from does nothing with foreground 0; leave it out")


def _check_augmentation(config: "DataConfig") -> None:
    sizes = config.crop_sizes
    flips = config.flip_axes
    if any(axis not in range(len(sizes)) for axis in flips) or len(set(flips)) < len(flips):
        raise ValueError(
            f"flip_axes must be from 0 to {len(sizes) - 1}, each once, not {list(flips)}"
        )
    if config.rotate and len(set(sizes)) == len(sizes):
        raise ValueError(
            f"rotate turns crops in planes with equal sides, but crop is {config.crop_text}"
        )
    if not 0 <= config.elastic <= 1:
        raise ValueError(f"elastic must be from 0 to 1, not {config.elastic}")
    for name in ("elastic_shift", *(f"{n}_{d}" for n in INTENSITY_CHANGES for d in DOMAINS)):
        if not 0 <= getattr(config, name) < math.inf:
            raise ValueError(f"{name} must be 0 or more, not {getattr(config, name)}")


def _check_blocks(config: "DataConfig", side: int) -> None:
    times = 3 if config.test_share or config.val_share else 1
    if side < times * max(config.crop_sizes):
        raise ValueError(
            f"blocks must be null or at least {times} times crop ({config.crop_text}), not {side}"
        )
    for name in ("resize", "spacing", "slices"):
        if getattr(config, name) is not None:
            raise ValueError(f"blocks and {name} don't go together; leave out one of them")


def _check_parts(config: "DataConfig") -> None:
    for domain in DOMAINS:
        for name in (f"level_{domain}", f"z_{domain}", f"t_{domain}"):
            if (getattr(config, name) or 0) < 0:
                raise ValueError(f"{name} must be null or at least 0, not {getattr(config, name)}")
        size = getattr(config, f"pixel_size_{domain}")
        if size is not None and not 0 < size < math.inf:
            raise ValueError(f"pixel_size_{domain} must be null or above 0, not {size:g}")
        if size is not None and getattr(config, f"level_{domain}") is not None:
            raise ValueError(
                f"pixel_size_{domain} finds the level itconfig; leave out level_{domain}"
            )
        if getattr(config, f"select_{domain}") == ():
            raise ValueError(f"select_{domain} must be null or name a channel, not []")


def _check_intensities(config: "DataConfig") -> None:
    if config.fill != "low" and not (
        isinstance(config.fill, int | float) and math.isfinite(config.fill)
    ):
        raise ValueError(f"fill must be low or a number, not {config.fill!r}")
    for domain in DOMAINS:
        if config.choice(domain) not in get_args(Choice):
            known = ", ".join(get_args(Choice))
            raise ValueError(
                f"intensity_{domain} must be one of {known}, not {config.choice(domain)!r}"
            )
        _refuse_idle_limits(config, domain)
        try:
            config.intensity(domain)
        except ValueError as error:
            raise ValueError(
                f"intensity_{domain}, low_{domain} and high_{domain} don't go together: {error}"
            ) from error
