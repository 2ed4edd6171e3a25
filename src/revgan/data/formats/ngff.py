"""OME-Zarr's metadata of an image (OME-NGFF 0.1 to 0.5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from revgan.data.formats.physical import millimetres

TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
"""The types of axes by their names, in the format's order."""

MOST_LEVELS = 64
"""As each halves the one before, no image has as many."""

EARLY_AXES = "tczyx"
"""The axes of all images before version 0.3."""


@dataclass(frozen=True)
class Level:
    """A resolution level of an image.

    Attributes:
        path: its array's.
        scale: from index to index along each axis, in the axis's unit.
        translation: of the first index, in the same units.
    """

    path: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]


@dataclass(frozen=True)
class Multiscale:
    """An image at several resolutions.

    Attributes:
        version: the format's.
        axes: one letter per axis, from t, c, z, y and x.
        units: each axis's; "" if none is given.
        levels: the finest first.
        name: the image's.
        channels: OMERO's metadata of each (label, colour and window); () if there is none.
    """

    version: str
    axes: str
    units: tuple[str, ...]
    levels: tuple[Level, ...]
    name: str = ""
    channels: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def read(cls, attributes: Mapping[str, Any]) -> "Multiscale":
        """Reads the attributes of an image's group.

        Raises:
            KeyError, TypeError, ValueError: they don't describe an image.
        """
        ome = attributes.get("ome", attributes)
        content = ome["multiscales"][0]
        version = str(ome.get("version") or content.get("version") or "0.4")
        axes, units = _axes(content.get("axes", EARLY_AXES))
        overall = content.get("coordinateTransformations", ())
        if len(content["datasets"]) > MOST_LEVELS:
            raise ValueError(f"its pyramid has more than {MOST_LEVELS} levels")
        levels = tuple(_level(dataset, overall, len(axes)) for dataset in content["datasets"])
        if not levels:
            raise ValueError("its pyramid has no levels")
        channels = tuple(ome.get("omero", {}).get("channels", ()))
        return cls(version, axes, units, levels, str(content.get("name", "")), channels)

    @property
    def labels(self) -> tuple[str, ...]:
        """The channels' names; () if not all have one."""
        labels = tuple(str(channel.get("label", "")) for channel in self.channels)
        return labels if all(labels) else ()

    def attributes(self) -> dict[str, Any]:
        """The attributes for the image's group, in version 0.4 or 0.5."""
        axes = [
            {"name": name, "type": TYPES[name]} | ({"unit": unit} if unit else {})
            for name, unit in zip(self.axes, self.units, strict=True)
        ]
        datasets = [
            {
                "path": level.path,
                "coordinateTransformations": [
                    {"type": "scale", "scale": list(level.scale)},
                    {"type": "translation", "translation": list(level.translation)},
                ],
            }
            for level in self.levels
        ]
        content: dict[str, Any] = {"axes": axes, "datasets": datasets, "name": self.name}
        ome: dict[str, Any] = {"multiscales": [content]}
        if self.channels:
            ome["omero"] = {"channels": [dict(channel) for channel in self.channels]}
        if self.version == "0.5":
            return {"ome": {"version": self.version} | ome}
        content["version"] = self.version
        return ome

    def millimetres(self, axis: str) -> float | None:
        """The unit of an axis in millimetres; None if it has no known unit."""
        return millimetres(self.units[self.axes.index(axis)])


def channel(label: str, low: float, high: float) -> dict[str, Any]:
    """OMERO's metadata of a channel: shown in white, from the lowest to the highest value."""
    window = {"min": low, "max": high, "start": low, "end": high}
    return {"label": label, "color": "FFFFFF", "active": True, "window": window}


def image_paths(attributes: Mapping[str, Any]) -> list[str] | None:
    """Where the images of a well or plate are, within its group.

    None if the caller must search for them, as in Bio-Formats' collections.
    """
    ome = attributes.get("ome", attributes)
    if "well" in ome:
        return [str(image["path"]) for image in ome["well"]["images"]]
    if "plate" in ome:
        return [str(well["path"]) for well in ome["plate"]["wells"]]
    return None


def _axes(content: str | Sequence[Any]) -> tuple[str, tuple[str, ...]]:
    """The axes' letters and units; in 0.3, axes were only names."""
    described = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in content]
    names = [str(axis["name"]) for axis in described]
    order = [list(TYPES).index(name) if name in TYPES else -1 for name in names]
    if order != sorted(set(order)) or -1 in order or not {"y", "x"} <= set(names):
        raise ValueError(
            f"its axes are {', '.join(names)}, not some of t, c, z, y, x in this order"
        )
    return "".join(names), tuple(str(axis.get("unit") or "") for axis in described)


def _level(dataset: Mapping[str, Any], overall: Sequence[Any], axes: int) -> Level:
    """A level, whose own transformations come before those of the whole pyramid."""
    scale, translation = np.ones(axes), np.zeros(axes)
    for step in (*dataset.get("coordinateTransformations", ()), *overall):
        factors = np.array(step.get("scale", np.ones(axes)), float)
        offsets = np.array(step.get("translation", np.zeros(axes)), float)
        if step.get("type") not in ("scale", "translation", "identity"):
            raise ValueError(f"it has a transformation of the unknown type {step.get('type')}")
        if factors.shape != (axes,) or offsets.shape != (axes,):
            raise ValueError(f"a transformation must have {axes} numbers, one for each axis")
        scale, translation = scale * factors, translation * factors + offsets
    return Level(str(dataset["path"]), tuple(scale.tolist()), tuple(translation.tolist()))
