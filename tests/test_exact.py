"""Translating in parts with exact statistics: what one pass gives, within a bounded memory."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from revgan.data.scratch import Scratch
from revgan.data.tiling import whole
from revgan.errors import UserError
from revgan.inference import Windows, translate_padded
from revgan.inference.exact import ExactTranslation
from revgan.inference.fields import Given
from revgan.inference.parts import describe, translate_parts
from revgan.memory import measure_step
from revgan.networks import GeneratorConfig, build_generator
from revgan.networks.layers import InstanceNorm

PLAIN = GeneratorConfig(width=4, depth=2, memory="naive", init="kaiming")
GREY_LEVELS = 127.5
VARIANTS = [
    {},
    {"init": "normal", "depth": 6},
    {"norm": "none"},
    {"norm": "batch"},
    {"model": "resnet"},
    {"model": "resnet", "norm": "none"},
    {"model": "unet", "depth": 6, "downsamplings": 3},
    {"model": "unet", "depth": 6, "downsamplings": 2, "norm": "none", "skip": True},
    {"model": "unet", "depth": 6, "downsamplings": 3, "norm": "batch"},
    {"coupling": "affine"},
    {"exact": False},
    {"downsampling": "subpixel", "upsampling": "subpixel"},
    {"upsampling": "nearest", "downsampling_padding": "zeros"},
    {"upsampling": "bilinear", "dropout": 0.5},
    {"downsamplings": 0, "first_kernel": 3, "last_kernel": 1, "identity_start": True},
    {"downsamplings": 3},
    {"memory": "lean", "slabs": 8},
    {"skip": True},
    {"skip": True, "model": "resnet", "tanh": False},
]


def network(spatial_dims, **changes):
    config = replace(PLAIN, **changes)
    generator = build_generator(config, spatial_dims, 1, 1 if config.skip else 2)
    return generator.eval().requires_grad_(False)


def image(sizes, direction):
    return torch.rand(1, 1 if direction == "AtoB" else 2, *sizes) * 2 - 1


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize(("sizes", "window"), [((61, 118), 32), ((18, 27, 21), 12)])
def test_parts_give_what_one_pass_gives(changes, direction, sizes, window):
    generator = network(len(sizes), **changes)
    x = image(sizes, "AtoB" if generator.config.skip else direction)
    at_once = translate_padded(generator, x, direction)
    parts = translate_padded(generator, x, direction, windows=Windows(window))
    # The core's grid, of 2**-16, rounds some values to the other side; norms after it enlarge that.
    assert float((parts - at_once).abs().max()) * GREY_LEVELS < 0.05


def test_samples_of_a_batch_keep_statistics_of_their_own():
    generator, x = network(2), torch.cat([image((40, 40), "AtoB"), image((40, 40), "AtoB") / 2])
    parts = translate_padded(generator, x, "AtoB", windows=Windows(16))
    at_once = translate_padded(generator, x, "AtoB")
    assert torch.allclose(parts, at_once, rtol=0, atol=0.05 / GREY_LEVELS)


def run(generator, x, scratch, window=16):
    """In parts, by scratch files, and what was said meanwhile."""
    result, said = torch.full((2, *x.shape[2:]), torch.nan), []

    def take(place, part):
        result[(slice(None), *place)] = part

    translate_parts(
        generator,
        "AtoB",
        lambda place: x[0][(slice(None), *place)],
        x.shape[2:],
        Windows(window),
        scratch,
        take,
        say=said.append,
    )
    return result, said


def test_scratch_files_change_nothing_and_their_size_is_said_before(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    generator, x = network(2), image((60, 80), "AtoB")
    in_memory, nothing = run(generator, x, Scratch())
    assert not nothing
    scratch = Scratch(in_memory=0)
    on_disk, said = run(generator, x, scratch)
    assert torch.equal(on_disk, in_memory)
    # Of 32 bits each, K / 2 numbers a pixel at half the resolution, and K / 4 at a quarter.
    assert scratch.peak == 60 * 80 * 3 * 4
    assert said == [f"Scratch files in {tmp_path}: up to {scratch.peak / 2**20:.1f} MiB"]
    assert not list(tmp_path.iterdir())


def test_too_small_a_disk_is_refused_before_the_work(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    read = []
    scratch = Scratch(in_memory=0)
    with pytest.raises(UserError, match="TMPDIR"):
        translate_parts(
            network(2), "AtoB", read.append, (60, 80), Windows(16), scratch, lambda *_: None
        )
    assert not read


def test_parts_need_a_fraction_of_the_memory_of_one_pass():
    generator, x = network(3), image((48, 48, 48), "AtoB")
    at_once = measure_step(lambda: translate_padded(generator, x, "AtoB")).peak
    scratch = Scratch(in_memory=0)
    parts = measure_step(lambda: run(generator, x, scratch)).peak
    # A part has a twenty-seventh of the voxels, and margins; only input and result are whole.
    assert parts < at_once / 4


def test_progress_ends_where_it_was_said_to():
    told = []
    translate_padded(
        network(2),
        image((60, 80), "BtoA"),
        "BtoA",
        windows=Windows(16),
        progress=lambda *at: told.append(at),
    )
    done, totals = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert set(totals) == {done[-1]}


def test_without_a_norm_large_windows_need_no_scratch():
    generator = network(2, norm="none", depth=1)
    source = Given(lambda place: None, 1, (200, 200), [(0, 0)] * 2, torch.device("cpu"))
    scratch = Scratch(in_memory=0)
    sizes = [
        ExactTranslation(generator, "AtoB", source, whole((200, 200)), window, scratch).scratch_size
        for window in (64, 128)
    ]
    assert sizes[0] > 0
    assert sizes[1] == 0  # more than four times the reach


@pytest.mark.parametrize(
    ("changes", "statistics", "expected"),
    [
        ({}, "exact", "the result of one pass"),
        ({}, "approximate", "pooled over windows"),
        ({"norm": "none"}, "approximate", "and are blended"),
        ({"core": "ode"}, "exact", "each normalised by itself"),
    ],
)
def test_how_parts_are_translated_is_described(changes, statistics, expected):
    assert expected in describe(network(2, **changes), Windows(16, statistics=statistics))


def test_a_continuous_core_is_cut_into_windows_that_are_blended():
    generator, x = network(2, core="ode", ode_step=1.0), image((40, 40), "AtoB")
    parts = translate_padded(generator, x, "AtoB", windows=Windows(32))
    assert parts.isfinite().all()
    assert float((parts - translate_padded(generator, x, "AtoB")).abs().mean()) < 0.5


def test_pooled_statistics_are_those_of_all_where_windows_are_alike():
    generator = network(2, exact=False)
    tile = image((32, 32), "AtoB")
    x = tile.repeat(1, 1, 2, 2)
    windows = Windows(32, overlap=0, statistics="approximate")
    parts = translate_padded(generator, x, "AtoB", windows=windows)
    alone = translate_padded(generator, tile, "AtoB")
    assert torch.allclose(parts, alone.repeat(1, 1, 2, 2), rtol=0, atol=1e-4)


def test_statistics_of_large_images_are_right_in_inference():
    torch.manual_seed(0)
    x = (torch.randn(1, 4, 400, 300).relu() + 3).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        normalised = InstanceNorm()(x)
    deviations = x.double() - x.double().mean((2, 3), keepdim=True)
    variance = deviations.square().mean((2, 3), keepdim=True)
    # PyTorch's kernel is 0.002 away.
    assert torch.allclose(
        normalised.double(), deviations / (variance + 1e-5).sqrt(), rtol=0, atol=1e-5
    )
