"""What becomes of translated test images and volumes: files in results/, and what is shown."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from revgan.data.domains import Domain
from revgan.data.folders import ImageRef
from revgan.data.image_sets import ImageDomain
from revgan.data.images import to_array, to_tensor, write_image
from revgan.data.intensity import Intensity
from revgan.data.volume_cache import CachedVolume
from revgan.data.volume_sets import VolumeDomain
from revgan.data.volumes import read_volume, write_volume
from revgan.evaluation.report import Example
from revgan.figures.slices import VolumeSlices, slice_volumes
from revgan.inference.restoring import restore


class Results(ABC):
    """The results of one direction, by the numbers of the test images or volumes."""

    examples: int
    """How many the report shows."""

    @abstractmethod
    def write(self, number: int, translation: Tensor) -> Tensor:
        """Writes a translation (C, *spatial) to its file; returns what the file holds of it."""

    @abstractmethod
    def shown(self, number: int, example: Example) -> Example | VolumeSlices:
        """What the report shows of an example."""


@dataclass(frozen=True)
class ImageResults(Results):
    """PNG files.

    Attributes:
        files: to write, one for each test image.
        bits: per sample.
    """

    files: list[Path]
    bits: Literal[8, 16]
    examples = 8

    def write(self, number: int, translation: Tensor) -> Tensor:
        pixels = to_array(translation, self.bits)
        write_image(self.files[number], pixels)
        return to_tensor(pixels)

    def shown(self, number: int, example: Example) -> Example:
        return example


@dataclass(frozen=True)
class VolumeResults(Results):
    """Volumes in the format and at the place of the test volumes, in the target's units.

    Attributes:
        folder: where they are written, under the names of the test volumes.
        refs: the test volumes.
        intensity: of the domain translated to.
    """

    folder: Path
    refs: Sequence[CachedVolume]
    intensity: Intensity
    examples = 4

    def write(self, number: int, translation: Tensor) -> Tensor:
        ref = self.refs[number]
        original = read_volume(ref.path)
        values = self.intensity.from_unit(translation.numpy())
        moved = replace(original, values=values, affine=ref.affine)
        write_volume(self.folder / ref.path.name, restore(moved, original), original)
        return translation

    def shown(self, number: int, example: Example) -> VolumeSlices:
        volumes = example.input, example.translation, example.truth, example.round_trip
        return slice_volumes(*volumes, self.refs[number].affine)


def open_results(folder: Path, source: Domain[Any], target: Domain[Any]) -> Results:
    """The results of translating the test images or volumes of `source` into a folder, made here.

    Raises:
        OSError: the folder can't be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(target, VolumeDomain):
        return VolumeResults(folder, source.test, target.intensity)
    assert isinstance(target, ImageDomain)
    return ImageResults(_image_files(folder, source.test), target.format.bits)


def _image_files(folder: Path, refs: Sequence[ImageRef]) -> list[Path]:
    """A PNG file for each image, named after it."""
    names = [ref.name for ref in refs]
    if len(set(names)) < len(names):  # x.png beside x.jpg
        names = [f"{number:05d}-{name}" for number, name in enumerate(names)]
    return [folder / f"{name}.png" for name in names]
