"""Volumes as pictures: axial, coronal and sagittal slices.

Pictures are turned as radiologists turn them, as if the patient were seen from the feet or from the
front: the patient's right is at the left of axial and coronal slices, anterior is up in axial and
at the left of sagittal ones, superior is up in coronal and sagittal ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from revgan.figures.pictures import shown_channels

BLACK = -1.0
"""The darkest value of a picture: what is between and around slices."""

Plane = Literal["axial", "coronal", "sagittal"]

Affine = npt.NDArray[np.float64]
"""(4, 4), from voxel indices to millimetres towards right, anterior and superior (RAS+)."""

Triple = tuple[float, float, float]
"""A number for each axis of a volume."""


def to_ras(volume: Tensor, affine: Affine) -> tuple[Tensor, Triple]:
    """Turns a volume so that its axes run to the right, to anterior and to superior.

    Axes are swapped and reversed, never resampled: an oblique scan keeps its own planes.

    Args:
        volume: (C, X, Y, Z).
        affine: of its voxels.

    Returns:
        (C, right, anterior, superior) and the millimetres from voxel to voxel along these axes.
    """
    directions = affine[:3, :3]
    spacing = np.linalg.norm(directions, axis=0)
    cosines = directions / spacing  # (axis of the world, axis of the array)
    axes = max(permutations(range(3)), key=lambda axes: np.abs(cosines[range(3), axes]).sum())
    backwards = [world + 1 for world, axis in enumerate(axes) if cosines[world, axis] < 0]
    turned = volume.permute(0, *(axis + 1 for axis in axes)).flip(backwards)
    right, anterior, superior = (float(spacing[axis]) for axis in axes)
    return turned, (right, anterior, superior)


def foreground_centre(volume: Tensor) -> tuple[int, int, int]:
    """The voxel in the middle of what a volume (C, X, Y, Z) shows.

    It is the centre of mass where a voxel weighs as much as it differs from the background, and
    the background is what most of the eight corners hold; the middle of an even volume.
    """
    ends = torch.tensor([0, -1])
    corners = volume[:, ends][:, :, ends][..., ends].flatten(1)
    background = corners.median(dim=1).values.view(-1, 1, 1, 1)
    weight = (volume - background).abs().sum(0)
    if not weight.any():
        x, y, z = weight.shape
        return x // 2, y // 2, z // 2
    profiles = (weight.transpose(0, axis).flatten(1).sum(1).double().cpu() for axis in range(3))
    x, y, z = (
        round(float(profile @ torch.arange(len(profile)).double() / profile.sum()))
        for profile in profiles
    )
    return x, y, z


def planes(
    volume: Tensor,
    centre: tuple[int, int, int] | None = None,
    spacing: Triple = (1.0, 1.0, 1.0),
) -> tuple[Tensor, Tensor, Tensor]:
    """The axial, the coronal and the sagittal slice through a voxel.

    Args:
        volume: (C, X, Y, Z), its axes to the right, to anterior and to superior, see `to_ras`; of
            its channels, see `shown_channels`.
        centre: the voxel's indices; by default the middle of the volume.
        spacing: from voxel to voxel along X, Y and Z, in any unit. Where they differ, slices are
            enlarged bilinearly to square pixels of the smallest.

    Returns:
        Three pictures (C, H, W) of the volume's values, C = 1 or 3.
    """
    shown = shown_channels(volume)
    x, y, z = centre or (size // 2 for size in volume.shape[1:])
    dx, dy, dz = spacing
    axial = _picture(shown[:, :, :, z], (dx, dy), min(spacing))
    coronal = _picture(shown[:, :, y], (dx, dz), min(spacing))
    sagittal = _picture(shown[:, x], (dy, dz), min(spacing))
    return axial, coronal, sagittal


def _picture(piece: Tensor, spacing: tuple[float, float], pixel: float) -> Tensor:
    """A slice (C, right or anterior, anterior or superior) as seen, with square pixels."""
    picture = piece.transpose(1, 2).flip(1, 2)
    across, up = (step / pixel for step in spacing)
    size = round(picture.shape[1] * up), round(picture.shape[2] * across)
    if size == picture.shape[1:]:
        return picture
    return F.interpolate(picture[None], size, mode="bilinear")[0]


def side_by_side(pictures: tuple[Tensor, ...], black: float = BLACK) -> Tensor:
    """One picture (C, H, W) of several in a row on black, their middles at one height."""
    height = max(picture.shape[1] for picture in pictures)
    filled = sum(picture.shape[2] for picture in pictures)
    gap = max(1, filled // 50)
    width = filled + gap * (len(pictures) - 1)
    strip = pictures[0].new_full((pictures[0].shape[0], height, width), black)
    left = 0
    for picture in pictures:
        top, right = (height - picture.shape[1]) // 2, left + picture.shape[2]
        strip[:, top : top + picture.shape[1], left:right] = picture
        left = right + gap
    return strip


@dataclass(frozen=True)
class VolumeSlices:
    """One test volume and what became of it, as strips of three slices; see `slice_volumes`.

    The strips are (C, H, W) with C = 1 or 3 and values in [-1, 1], on the CPU; the volumes
    themselves are no longer needed.

    Attributes:
        input: of the volume translated.
        translation: of the model's translation.
        truth: of the volume that belongs to `input` in the other domain, where one is known.
        round_trip: of the translation translated back.
    """

    input: Tensor
    translation: Tensor
    truth: Tensor | None
    round_trip: Tensor


def slice_volumes(
    input: Tensor,
    translation: Tensor,
    truth: Tensor | None,
    round_trip: Tensor,
    affine: Affine | None = None,
) -> VolumeSlices:
    """Slices a test volume, and what became of it, at the centre of the test volume's foreground.

    Args:
        input: the volume translated, (C, X, Y, Z) in [-1, 1], as all of them.
        translation: the model's translation.
        truth: the volume that belongs to `input` in the other domain, where one is known.
        round_trip: the translation translated back.
        affine: of the voxels of all of them. Without one, voxels count as cubes, and axes as
            running to the right, to anterior and to superior.

    Raises:
        ValueError: the volumes' spatial sizes differ, or they aren't volumes.
    """
    volumes = [input, translation, round_trip, *([] if truth is None else [truth])]
    shapes = [tuple(volume.shape) for volume in volumes]
    if input.ndim != 4 or len({shape[1:] for shape in shapes}) > 1:
        raise ValueError(
            f"volumes of one example must have shapes (C, X, Y, Z) that differ in C alone, not "
            f"{', '.join(map(str, shapes))}"
        )
    shown, there, again, *true = strips(volumes, np.eye(4) if affine is None else affine)
    return VolumeSlices(shown, there, true[0] if true else None, again)


def strips(volumes: Sequence[Tensor], affine: Affine, plane: Plane | None = None) -> list[Tensor]:
    """Slices of each volume, at the centre of the first one's foreground.

    Args:
        volumes: (C, X, Y, Z) each, which differ in C alone.
        affine: of the voxels of all of them.
        plane: the one to show; None for all three side by side.

    Returns:
        Pictures (C, H, W), C = 1 or 3, on the CPU.
    """
    turned, spacing = to_ras(volumes[0], affine)
    centre = foreground_centre(turned)
    slices: Iterable[tuple[Tensor, ...]] = (
        planes(to_ras(volume, affine)[0], centre, spacing) for volume in volumes
    )
    if plane is not None:
        at = get_args(Plane).index(plane)
        slices = ((three[at],) for three in slices)
    return [side_by_side(shown).detach().cpu().float() for shown in slices]
