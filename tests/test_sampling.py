"""Training samples as functions of the seed and their number."""

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from revgan.data.sampling import Steps, TrainingSamples, cut
from revgan.data.sets import DataConfig, open_data_set


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures whose pixels tell their number (red) and place (green, blue)."""
    root = tmp_path_factory.mktemp("images")
    for domain, count in (("A", 7), ("B", 5)):
        (root / f"train{domain}").mkdir()
        for number in range(count):
            rows, columns = np.mgrid[0:40, 0:48].astype(np.uint8)
            pixels = np.stack([np.full_like(rows, number), rows, columns], axis=2)
            Image.fromarray(pixels).save(root / f"train{domain}" / f"{number}.png")
    return root


def samples(folder, *, paired=False, seed=0, **options) -> TrainingSamples:
    config = DataConfig(path=str(folder), **{"crop": 32} | options)
    return TrainingSamples(open_data_set(config, paired=paired), config, paired=paired, seed=seed)


def pixels(image: torch.Tensor) -> torch.Tensor:
    return ((image + 1) * 127.5).round().int()


def number_of(image: torch.Tensor) -> int:
    return int(pixels(image)[0, 0, 0])


def test_a_sample_depends_on_seed_and_number_alone(folder):
    one, other = samples(folder), samples(folder)
    for number in (11, 3, 11):
        for x, y in zip(one[number], other[number], strict=True):
            assert torch.equal(x, y)
    assert not torch.equal(one[3][0], samples(folder, seed=1)[3][0])


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_and_starting_point_change_nothing(folder, workers):
    data = samples(folder)
    loader = DataLoader(data, batch_sampler=Steps(3, 7, 2), num_workers=workers)
    for step, (a, b) in zip(range(3, 7), loader, strict=True):
        for i, number in enumerate((2 * step, 2 * step + 1)):
            assert torch.equal(a[i], data[number][0])
            assert torch.equal(b[i], data[number][1])


def test_an_epoch_shows_every_image_of_the_larger_domain_once(folder):
    data = samples(folder)
    assert data.epoch_length == 7
    for epoch in (0, 5):
        seen = [data[epoch * 7 + position] for position in range(7)]
        assert sorted(number_of(a) for a, _ in seen) == list(range(7))
        assert {number_of(b) for _, b in seen} == set(range(5))


def test_orders_differ_between_epochs_and_domains(folder):
    data = samples(folder)
    orders = [[number_of(data[epoch * 7 + i][0]) for i in range(7)] for epoch in range(2)]
    assert orders[0] != orders[1]
    assert orders[0][:5] != [number_of(data[i][1]) for i in range(5)]


def test_pairs_share_place_crop_and_mirror(folder, tmp_path):
    for domain in ("A", "B"):
        shutil.copytree(folder / "trainA", tmp_path / f"train{domain}")
    data = samples(tmp_path, paired=True)
    for number in range(20):
        a, b = data[number]
        assert torch.equal(a, b)


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("crop", [32, 40])  # the second is as high as the images
def test_squares_are_drawn_as_cubes_are(folder, crop, flip):
    data = samples(folder, flip=flip, crop=crop)
    domain = data.data.a
    whole = domain.load(domain.train[3])
    for number in range(10):
        draws = np.random.default_rng(number)
        _, (top, left) = draws.random(), draws.integers([41 - crop, 49 - crop])
        expected = whole[:, top : top + crop, left : left + crop]
        if flip and draws.random() < 0.5:
            expected = expected.flip(2)
        source = {"a": (domain, domain.train[3])}
        square = cut(source, data.config, np.random.default_rng(number))["a"]
        assert torch.equal(square, expected)


def test_crops_are_whole_and_anywhere_and_half_are_mirrored(folder):
    data = samples(folder)
    corners, mirrored = set(), 0
    for number in range(200):
        image = pixels(data[number][0])
        assert image.shape == (3, 32, 32)
        columns = image[2, 0]
        flipped = bool(columns[0] > columns[1])
        mirrored += flipped
        expected = torch.arange(32).flip(0) if flipped else torch.arange(32)
        assert torch.equal(columns - columns.min(), expected.int())
        corners.add((int(image[1, 0, 0]), int(columns.min())))
    assert {row for row, _ in corners} == set(range(9))
    assert {column for _, column in corners} == set(range(17))
    assert abs(mirrored - 100) < 4 * 50**0.5  # four standard deviations of 200 fair coins


def test_without_flip_nothing_is_mirrored(folder):
    data = samples(folder, flip=False)
    assert all(pixels(data[n][0])[2, 0, 0] < pixels(data[n][0])[2, 0, 1] for n in range(20))


def test_resize_brings_the_shorter_side_to_its_size(folder):
    config = DataConfig(path=str(folder), crop=32, resize=60)
    domain = open_data_set(config, paired=False).a
    image = domain.load(domain.train[2])
    assert image.shape == (3, 60, 72)
    assert number_of(image) == 2
    assert image.abs().max() <= 1


@given(
    first=st.integers(0, 20),
    steps=st.integers(0, 6),
    batch=st.integers(1, 4),
    processes=st.integers(1, 3),
)
def test_processes_share_out_the_sequence(first, steps, batch, processes):
    shares = [
        list(Steps(first, first + steps, batch, rank, processes)) for rank in range(processes)
    ]
    assert all(len(share) == steps for share in shares)
    together = [n for step in zip(*shares, strict=True) for part in step for n in part]
    per_step = batch * processes
    assert together == list(range(first * per_step, (first + steps) * per_step))
