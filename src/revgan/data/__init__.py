"""Scans in and out of files, and how training draws from them; images and volumes alike.

A training sample comes by `sets.open_data_set` -> `folders.open_folder` -> `checking.inspect_all`
-> `store.Store` -> `recipe.Recipe` -> `formats.read`, and is cut by `sampling.cut`.
"""

from typing import TYPE_CHECKING

from revgan.faces import face

if TYPE_CHECKING:
    from revgan.data.config import DataConfig
    from revgan.data.domains import DataSet, Domain
    from revgan.data.labels import LabelClass, Palette
    from revgan.data.mappings import Intensity, TypeRange
    from revgan.data.preparation import Grid, Preparation
    from revgan.data.sampling import Steps, TrainingSamples
    from revgan.data.sets import open_data_set

__all__ = [
    "DataConfig",
    "DataSet",
    "Domain",
    "Grid",
    "Intensity",
    "LabelClass",
    "Palette",
    "Preparation",
    "Steps",
    "TrainingSamples",
    "TypeRange",
    "open_data_set",
]

_HOMES = {
    "DataConfig": "config",
    "DataSet": "domains",
    "Domain": "domains",
    "Grid": "preparation",
    "Intensity": "mappings",
    "LabelClass": "labels",
    "Palette": "labels",
    "Preparation": "preparation",
    "Steps": "sampling",
    "TrainingSamples": "sampling",
    "TypeRange": "mappings",
    "open_data_set": "sets",
}

if not TYPE_CHECKING:
    # Imported on first use: a configuration needs no PyTorch.
    __getattr__ = face(__name__, _HOMES)
