"""The data set of a configuration, found, checked and opened."""

from pathlib import Path

from revgan.data.config import DataConfig
from revgan.data.datasets.brain import write_brain
from revgan.data.datasets.earth import write_earth
from revgan.data.datasets.earth_labels import write_earth_labels
from revgan.data.domains import DataSet, Domain, Progress
from revgan.data.folders import ImageFolder, open_folder
from revgan.data.image_sets import open_images
from revgan.data.preparation import Preparation
from revgan.data.volume_sets import open_volumes
from revgan.environment import cache_folder
from revgan.errors import UserError

__all__ = ["BUILT_IN", "DataConfig", "DataSet", "Domain", "Progress", "locate", "open_data_set"]

BUILT_IN = {"earth": 2, "earth-labels": 2, "brain": 3, "brain-super-resolution": 3}
"""Sets that need no folder, and their spatial dimensions."""

_KINDS = {2: "images", 3: "volumes"}


def locate(config: DataConfig, *, paired: bool) -> ImageFolder:
    """Finds the images of a configuration without decoding them; built-in sets are made.

    Raises:
        UserError: no such folder or set, or its layout is not understood.
    """
    return open_folder(_root(config, paired=paired), paired)


def open_data_set(
    config: DataConfig,
    *,
    paired: bool,
    progress: Progress | None = None,
    preparation: Preparation | None = None,
    memory: int | None = None,
) -> DataSet:
    """Finds the images or volumes of a configuration and decodes every one of them once.

    So that one that can't be read stops training before the first step. Volumes are brought to the
    configuration's grid at the same time and kept in the cache (`revgan.data.volume_cache`), images
    where the configuration says so (`revgan.data.image_sources`), and what is there already is not
    decoded again.

    Args:
        config: which ones, and what is made of them.
        paired: those of A and B are pairs.
        progress: told how far it is.
        preparation: what the volumes of a trained model go through; without one, intensities are
            fitted to the training volumes.
        memory: bytes that `config.cache` "memory" may take; None for no limit.

    Raises:
        UserError: what is wrong with which file, or with the folder.
    """
    if config.spatial_dims == 3:
        root = _root(config, paired=paired)
        return open_volumes(root, config, paired=paired, progress=progress, preparation=preparation)
    folder = locate(config, paired=paired)
    return open_images(folder, config, paired=paired, progress=progress, memory=memory)


def _root(config: DataConfig, *, paired: bool) -> Path:
    dims = BUILT_IN.get(config.path)
    if dims is None:
        if not Path(config.path).exists():
            fitting = [name for name, dims in BUILT_IN.items() if dims == config.spatial_dims]
            raise UserError(
                f"{config.path} does not exist; give a folder of {_KINDS[config.spatial_dims]} or "
                f"one of the built-in sets: {', '.join(fitting)}"
            )
        return Path(config.path)
    if dims != config.spatial_dims:
        preset = "volumes" if dims == 3 else "default"
        raise UserError(
            f"{config.path} is a set of {_KINDS[dims]}; set data.spatial_dims {dims}, for example "
            f"by --preset {preset}"
        )
    if config.path == "earth":
        return write_earth(cache_folder(), paired=paired)
    if config.path == "earth-labels":
        return write_earth_labels(cache_folder(), paired=paired)
    super_resolution = config.path == "brain-super-resolution"
    return write_brain(
        cache_folder(), task="super-resolution" if super_resolution else "gray-matter"
    )
