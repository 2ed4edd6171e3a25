"""Scans as stacks of slices, and stacks as pictures."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from revgan.figures.slices import planes, to_ras
from revgan.figures.stacks import Stack, encoded, mosaic, stack

PLACE = np.array([[0.0, 0, -2, 5], [3, 0, 0, -3], [0, 1, 0, 7], [0, 0, 0, 1]])
"""Axes towards anterior, superior and left, with 3, 1 and 2 mm from voxel to voxel."""


def counted(*shape: int) -> torch.Tensor:
    return torch.arange(float(np.prod(shape))).view(shape)


def test_an_image_is_a_stack_of_one_slice() -> None:
    image = counted(3, 4, 5)
    assert torch.equal(stack(image).values[:, 0], image)


def test_slices_of_a_volume_are_axial_and_run_upwards() -> None:
    volume = counted(1, 4, 5, 6)
    made = stack(volume, PLACE)
    assert made.values.shape == (1, 5, 4, 6)
    assert made.spacing == (1.0, 3.0, 2.0)
    turned, spacing = to_ras(volume, PLACE)
    assert spacing == (2.0, 3.0, 1.0)
    # Anterior is up, and right is at the left.
    assert torch.equal(made.values[0, 2], turned[0, :, :, 2].T.flip(0, 1))


def test_planes_of_a_stack_are_those_of_its_volume() -> None:
    volume = counted(1, 4, 5, 6)
    turned, spacing = to_ras(volume, PLACE)
    made = stack(volume, PLACE)
    rows, columns = made.values.shape[2:]
    expected = planes(turned, (columns - 1 - 4, rows - 1 - 1, 3), spacing)
    assert all(map(torch.equal, made.planes((3, 1, 4)), expected))


def test_a_stack_is_reduced_where_it_is_finest_and_keeps_its_extent_and_mean() -> None:
    values = counted(1, 3, 64, 32)
    small = Stack(values, (4.0, 0.5, 1.0)).reduced(3 * 32 * 32)
    assert small.values.shape == (1, 3, 32, 32)
    assert small.spacing == (4.0, 1.0, 1.0)
    assert float(small.values.mean()) == pytest.approx(float(values.mean()), rel=1e-6)
    assert Stack(values).reduced(values.numel()).values is values


@pytest.mark.parametrize("channels", [1, 3])
def test_each_slice_is_a_tile_and_exact_pictures_keep_every_pixel(channels: int) -> None:
    slices = torch.randint(256, (channels, 5, 4, 6), dtype=torch.uint8)
    picture = Image.open(BytesIO(encoded(mosaic(slices), lossless=True))).convert("RGB")
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    assert pixels.shape == (3, 2 * 4, 3 * 6)
    for number in range(5):
        row, column = divmod(number, 3)
        tile = pixels[:, 4 * row : 4 * row + 4, 6 * column : 6 * column + 6]
        assert torch.equal(tile, slices[:, number].expand(3, -1, -1))
