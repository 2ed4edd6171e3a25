"""Random changes of training samples besides crops and mirrors.

Whatever moves pixels moves them alike in all scans of a sample and in their masks, so that pairs
stay pairs; whatever changes intensities belongs to one domain. MONAI does what is more than turning
an array, and is imported only where it is asked for.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from revgan.data.config import DataConfig
from revgan.data.option_checks import INTENSITY_CHANGES
from revgan.directions import DOMAINS

ELASTIC_SPACING = 24
"""Pixels from one random displacement to the next; of volumes, four deviations of what smooths
displacements."""


def turning_planes(config: DataConfig) -> list[tuple[int, int]]:
    """The pairs of axes in which a crop can turn by 90 degrees and keep its shape."""
    sizes = config.crop_sizes
    return [(i, j) for i, j in combinations(range(len(sizes)), 2) if sizes[i] == sizes[j]]


def augmented(
    sample: Mapping[str, Tensor],
    config: DataConfig,
    random: np.random.Generator,
    discrete: frozenset[str],
) -> dict[str, Tensor]:
    """A sample after the changes that the configuration asks for.

    Args:
        sample: (C, *crop) by domain, in [-1, 1] and NaN where missing, and masks by other names.
        config: of the data.
        random: draws everything, in the same order whatever the values.
        discrete: the names of masks and label maps, whose values must not be mixed.
    """
    changed = dict(sample)
    for axis in config.flip_axes:
        if random.random() < 0.5:
            changed = {name: x.flip(1 + axis) for name, x in changed.items()}
    if config.rotate:
        planes = turning_planes(config)
        first, second = planes[random.integers(len(planes))]
        times = int(random.integers(4))
        plane = [1 + first, 1 + second]
        changed = {name: torch.rot90(x, times, plane) for name, x in changed.items()}
    if config.elastic and random.random() < config.elastic:
        seed = int(random.integers(2**32))
        changed = {
            name: _deformed(x, config, seed, nearest=name in discrete)
            for name, x in changed.items()
        }
    for domain in DOMAINS:
        if domain in changed:
            for change in _intensity_changes(config, domain):
                change.set_random_state(int(random.integers(2**32)))
                changed[domain] = _plain(change(changed[domain]))
                if config.clip:
                    changed[domain] = changed[domain].clamp(-1, 1)
    return changed


def _deformed(x: Tensor, config: DataConfig, seed: int, *, nearest: bool) -> Tensor:
    """An elastic deformation (Simard et al., 2003) of (C, *crop), the same for the same seed."""
    mode = "nearest" if nearest else "bilinear"
    transform = _ELASTIC[x.ndim - 1](
        config.elastic_shift, prob=1.0, mode=mode, padding_mode="reflection"
    )
    transform.set_random_state(seed)
    moved = _plain(transform(x.float()))
    return moved > 0.5 if x.dtype == torch.bool else moved.to(x.dtype)


def _elastic_images(shift: float, **how: Any) -> Any:
    from monai.transforms import Rand2DElastic

    return Rand2DElastic((ELASTIC_SPACING, ELASTIC_SPACING), (0, shift), **how)


def _elastic_volumes(shift: float, **how: Any) -> Any:
    from monai.transforms import Rand3DElastic

    sigma = ELASTIC_SPACING / 4
    # Smoothing by a Gaussian leaves this share of independent displacements.
    left = (2 * np.sqrt(np.pi) * sigma) ** -1.5
    return Rand3DElastic((sigma, sigma), (0, shift / left), **how)


_ELASTIC = {2: _elastic_images, 3: _elastic_volumes}
"""MONAI's transforms by spatial axes, of a displacement in pixels or voxels."""


def _intensity_changes(config: DataConfig, domain: str) -> Iterator[Any]:
    """MONAI's transforms of a domain's intensities, in [-1, 1]."""
    amounts = {name: getattr(config, f"{name}_{domain}") for name in INTENSITY_CHANGES}
    if not any(amounts.values()):
        return
    from monai.transforms import RandGaussianNoise, RandScaleIntensity, RandShiftIntensity

    if amounts["contrast"]:
        yield RandScaleIntensity(amounts["contrast"], prob=1.0)
    if amounts["brightness"]:
        yield RandShiftIntensity(amounts["brightness"], prob=1.0)
    if amounts["noise"]:
        yield RandGaussianNoise(prob=1.0, std=amounts["noise"])


def _plain(x: Any) -> Tensor:
    """A tensor without MONAI's metadata."""
    tensor: Tensor = x.as_tensor() if hasattr(x, "as_tensor") else x
    return tensor
