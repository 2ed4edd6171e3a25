"""Slices of volumes: the right way round, at the right place, in the right proportions."""

from itertools import permutations, product
from typing import get_args

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor

from revgan.figures.slices import (
    BLACK,
    Plane,
    foreground_centre,
    planes,
    side_by_side,
    slice_volumes,
    strips,
    to_ras,
)

SHAPE = (5, 6, 7)


def counted(*shape: int) -> Tensor:
    """A volume in which each voxel has a value of its own, in [-1, 1]."""
    return torch.linspace(-1, 1, int(np.prod(shape))).view(shape)


def stored(
    volume: Tensor, axes: tuple[int, ...], signs: tuple[int, ...]
) -> tuple[Tensor, np.ndarray]:
    """A RAS volume and its oblique affine as a file may hold them: axes swapped and reversed.

    Axis i of the file is the world's axis axes[i], run through along signs[i].
    """
    turn = np.deg2rad(20)
    tilt = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    columns = tilt * np.array([1.0, 2.0, 3.0])
    affine = np.eye(4)
    affine[:3, :3] = columns[:, axes] * np.array(signs)
    backwards = [i + 1 for i, sign in enumerate(signs) if sign < 0]
    return volume.permute(0, *(axis + 1 for axis in axes)).flip(backwards), affine


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_a_volume_is_turned_upright_however_it_is_stored(
    axes: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    volume = counted(2, *SHAPE)
    turned, spacing = to_ras(*stored(volume, axes, signs))
    assert torch.equal(turned, volume)
    assert spacing == pytest.approx((1, 2, 3), rel=1e-12)  # float64, a few roundings


def test_upright_is_what_nibabel_says_it_is() -> None:
    volume, affine = stored(counted(1, *SHAPE), (1, 2, 0), (-1, 1, -1))
    closest = nibabel.as_closest_canonical(nibabel.Nifti1Image(volume[0].numpy(), affine))
    turned, spacing = to_ras(volume, affine)
    assert np.array_equal(turned[0], closest.get_fdata(dtype=np.float32))
    assert spacing == pytest.approx(closest.header.get_zooms(), rel=1e-6)  # float32 in the header


def test_planes_are_seen_as_radiologists_see_them() -> None:
    volume = counted(1, *SHAPE)
    axial, coronal, sagittal = (picture[0] for picture in planes(volume, (1, 2, 3)))
    right, anterior, superior = -1, -1, -1
    left, posterior, inferior = 0, 0, 0
    # The corners of each picture: top left and bottom right.
    assert axial[0, 0] == volume[0, right, anterior, 3]
    assert axial[-1, -1] == volume[0, left, posterior, 3]
    assert coronal[0, 0] == volume[0, right, 2, superior]
    assert coronal[-1, -1] == volume[0, left, 2, inferior]
    assert sagittal[0, 0] == volume[0, 1, anterior, superior]
    assert sagittal[-1, -1] == volume[0, 1, posterior, inferior]
    assert [tuple(picture.shape) for picture in (axial, coronal, sagittal)] == [
        (6, 5),
        (7, 5),
        (7, 6),
    ]


def test_slices_are_taken_in_the_middle_unless_told() -> None:
    volume = counted(1, *SHAPE)
    for picture, expected in zip(planes(volume), planes(volume, (2, 3, 3)), strict=True):
        assert torch.equal(picture, expected)


@pytest.mark.parametrize(("channels", "shown"), [(1, [0]), (2, [0]), (3, [0, 1, 2]), (6, [0])])
def test_three_channels_are_colours_and_of_others_the_first_is_grey(
    channels: int, shown: list[int]
) -> None:
    volume = counted(channels, *SHAPE)
    for picture, expected in zip(planes(volume), planes(volume[shown]), strict=True):
        assert torch.equal(picture, expected)
        assert picture.shape[0] == len(shown)


def test_slices_of_oblong_voxels_get_square_pixels() -> None:
    ramp = torch.linspace(-1, 1, 10).view(1, 1, 1, 10).expand(1, 4, 6, 10)
    axial, coronal, sagittal = planes(ramp, spacing=(0.5, 0.5, 2.0))
    assert [tuple(picture.shape) for picture in (axial, coronal, sagittal)] == [
        (1, 6, 4),
        (1, 40, 4),
        (1, 40, 6),
    ]
    # Bilinear: a ramp stays one, from superior down, but for the half voxels at its ends.
    steps = coronal[0, 2:-2, 0].diff()
    torch.testing.assert_close(steps, torch.full((35,), -2 / 9 / 4), rtol=0, atol=1e-6)


def test_a_strip_aligns_middles_on_black() -> None:
    strip = side_by_side((torch.zeros(1, 2, 1), torch.ones(1, 4, 2)))
    expected = torch.full((1, 4, 1 + 1 + 2), BLACK)
    expected[:, 1:3, 0] = 0
    expected[:, :, 2:] = 1
    assert torch.equal(strip, expected)


@pytest.mark.parametrize("background", [-1.0, 0.2])
def test_the_foreground_is_what_differs_from_the_corners(background: float) -> None:
    volume = torch.full((2, 12, 14, 16), background)
    volume[1, 1:6, 7:10, 11:14] = -0.5  # darker than a background of 0.2, brighter than -1
    volume[0, 0, 0, 0] = 1.0  # one odd corner is outvoted
    volume[0, -1, -1, -1] = 1.0
    assert foreground_centre(volume[1:]) == (3, 8, 12)
    near = torch.tensor(foreground_centre(volume)) - torch.tensor([3, 8, 12])
    assert near.abs().max() <= 1


def test_an_even_volume_has_its_centre_in_the_middle() -> None:
    assert foreground_centre(torch.full((1, 5, 6, 9), 0.3)) == (2, 3, 4)


def test_all_volumes_of_an_example_are_cut_at_the_same_voxel() -> None:
    volume = torch.full((1, 9, 8, 7), -1.0)
    volume[:, 6:9, 1:4, 2:5] = 1
    count = counted(1, 9, 8, 7)
    slices = slice_volumes(volume, count, count / 2, -count)
    assert foreground_centre(volume) == (7, 2, 3)
    expected = side_by_side(planes(count, (7, 2, 3)))
    assert torch.equal(slices.translation, expected)
    assert slices.truth is not None
    between = expected == BLACK
    assert torch.equal(slices.truth[~between], expected[~between] / 2)


def test_the_orientation_in_the_file_changes_no_picture() -> None:
    volume, translation = counted(1, *SHAPE), -counted(2, *SHAPE)

    def sliced(axes: tuple[int, ...], signs: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        file, affine = stored(volume, axes, signs)
        translated, _ = stored(translation, axes, signs)
        slices = slice_volumes(file, translated, None, file, affine)
        return slices.input, slices.translation

    upright, turned = sliced((0, 1, 2), (1, 1, 1)), sliced((2, 0, 1), (-1, 1, -1))
    assert all(map(torch.equal, upright, turned))


def test_one_plane_is_the_part_of_the_three_that_shows_it() -> None:
    volume = counted(1, *SHAPE)
    (three,) = strips([volume], np.eye(4))
    centre = foreground_centre(volume)
    for plane, expected in zip(get_args(Plane), planes(volume, centre), strict=True):
        (alone,) = strips([volume], np.eye(4), plane)
        assert torch.equal(alone, expected)
    assert torch.equal(three, side_by_side(planes(volume, centre)))


def test_volumes_that_do_not_belong_together_are_refused() -> None:
    volume = counted(1, *SHAPE)
    with pytest.raises(ValueError, match=r"not \(1, 5, 6, 7\), \(1, 5, 6, 6\), \(1, 5, 6, 7\)"):
        slice_volumes(volume, volume[..., :-1], None, volume)
    with pytest.raises(ValueError, match=r"\(C, X, Y, Z\)"):
        slice_volumes(volume[0], volume[0], None, volume[0])
