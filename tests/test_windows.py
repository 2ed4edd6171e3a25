"""Windows that overlap: what they cover, and how close the outcome is to that of one pass."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from revgan.data.scratch import Scratch
from revgan.data.tiling import whole
from revgan.inference import translate_padded
from revgan.inference.fields import Held
from revgan.inference.windows import Windows, reach, translate_windows
from revgan.memory import measure_step
from revgan.networks import GeneratorConfig, build_generator

PLAIN = GeneratorConfig(width=2, depth=1, downsamplings=1, first_kernel=3, last_kernel=3)


def network(config, spatial_dims=2):
    """With weights large enough that every position matters to its neighbours."""
    generator = build_generator(replace(config, init="kaiming", memory="naive"), spatial_dims, 1, 2)
    return generator.eval().requires_grad_(False)


def local(spatial_dims, **changes):
    """A network without normalisation."""
    return network(replace(PLAIN, width=4, norm="none", **changes), spatial_dims)


def blending(size, overlap=0.25, **changes):
    return Windows(size, overlap, statistics="approximate", **changes)


def largest_difference(generator, x, windows):
    blended = translate_padded(generator, x, "AtoB", windows=windows)
    return float((blended - translate_padded(generator, x, "AtoB")).abs().max())


@settings(max_examples=50, deadline=None)
@given(
    sides=st.lists(st.integers(1, 40), min_size=2, max_size=3),
    size=st.sampled_from([8, 12, 16, 20]),
    overlap=st.floats(0, 0.8),
)
def test_windows_blend_to_what_they_agree_on(sides, size, overlap):
    config = replace(PLAIN, norm="none", depth=0)
    x = torch.rand(1, 1, *sides)
    source, blended = Held(x), torch.full_like(x, torch.nan)

    def take(window, part):
        place = (slice(None), slice(None), *window)
        assert blended[place].isnan().all()  # each position comes once
        blended[place] = part

    windows, everything = Windows(size, overlap), whole(sides)
    scratch = Scratch(in_memory=0)
    translate_windows(
        lambda x: 3 * x, 1, torch.float32, source, everything, windows, config, scratch, take
    )
    # Up to 10**3 windows meet at a position; float32 rounds each of them and each sum by 2e-7 of 3.
    assert torch.allclose(blended, 3 * x, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("spatial_dims", "sides"), [(2, (61, 118)), (3, (37, 50, 29))])
@pytest.mark.parametrize("downsamplings", [0, 1])
@pytest.mark.parametrize("statistics", ["exact", "approximate"])
def test_without_normalisation_windows_give_what_one_pass_gives(
    spatial_dims, sides, downsamplings, statistics
):
    generator = local(spatial_dims, downsamplings=downsamplings, exact=False)
    radius = reach(generator.config)
    windows = Windows(4 * radius, overlap=0.5, statistics=statistics)
    x = torch.rand(1, 1, *sides) * 2 - 1
    assert windows.needed_for(sides)
    # Convolutions of another size may add in another order; the results have a magnitude of 1.
    assert largest_difference(generator, x, windows) < 1e-5


def test_a_core_of_exact_arithmetic_differs_by_its_grid_at_most():
    generator = local(2)
    x = torch.rand(1, 1, 61, 118) * 2 - 1
    # Where two ways of adding up come to lie on either side of a middle, they are rounded apart, by
    # 2**-14 of the core's values; the decoder passes on about as much.
    assert largest_difference(generator, x, Windows(48, 0.5)) < 3 * 2**-14


def test_an_overlap_below_twice_the_reach_shows():
    generator = local(2, exact=False)
    x = torch.rand(1, 1, 61, 118) * 2 - 1
    assert largest_difference(generator, x, blending(4 * reach(generator.config) - 4, 0.5)) > 1e-3


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"depth": 0},
        {"depth": 2, "downsamplings": 0},
        {"downsamplings": 2, "first_kernel": 7},
        {"downsampling": "subpixel"},
        {"upsampling": "subpixel"},
        {"upsampling": "nearest", "downsamplings": 2},
        {"upsampling": "bilinear"},
        {"coupling": "affine"},
        {"model": "resnet", "depth": 2},
        {"model": "unet", "depth": 6, "downsamplings": 3, "first_kernel": 7, "last_kernel": 7},
        {"norm": "batch"},
    ],
)
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_nothing_beyond_the_reach_is_seen(changes, direction):
    config = replace(PLAIN, **{"norm": "none", **changes})
    generator = network(config)
    radius = reach(config)
    coarse = config.size_multiple
    middle = -(-radius // coarse + 1) * coarse
    channels = 1 if direction == "AtoB" else 2
    seen = 0
    for place in range(middle, middle + coarse):
        x = torch.zeros(1, channels, 2 * config.min_size, 2 * middle + coarse)
        x[..., place] = torch.nan  # reaches whatever depends on it, whatever the weights
        reached = generator(x, direction).isnan().any(dim=(0, 1, 2)).nonzero()
        distances = (reached - place).abs()
        seen = max(seen, int(distances.max()))
    assert radius - 3 * coarse <= seen <= radius


@pytest.mark.parametrize("changes", [{"norm": "instance"}, {"norm": "none", "core": "ode"}])
def test_networks_that_see_everything_have_no_reach(changes):
    assert reach(replace(PLAIN, **changes)) is None


def test_a_window_alone_is_one_pass():
    generator = network(PLAIN)
    x = torch.rand(1, 1, 31, 17)
    assert largest_difference(generator, x, Windows(32)) == 0
    assert largest_difference(generator, x, Windows(8, one_pass=32 * 18)) == 0
    assert largest_difference(generator, x, blending(8, one_pass=32 * 18 - 1)) > 0


def test_every_window_is_told():
    told = []
    x = torch.rand(1, 1, 40, 24)
    windows = blending(16, overlap=0.5)
    translate_padded(local(2), x, "AtoB", windows=windows, progress=lambda *at: told.append(at))
    assert told == [(number, 8) for number in range(1, 9)]  # 4 by 2 windows in steps of 8


@pytest.mark.parametrize(("overlap", "step"), [(0, 20), (0.25, 12), (0.5, 8), (0.9, 4), (0.99, 4)])
def test_steps_suit_the_network_and_keep_the_overlap(overlap, step):
    assert Windows(20, overlap).step(multiple=4) == step


def test_what_is_no_window_is_refused():
    with pytest.raises(ValueError, match="size must be 1 or more, not 0"):
        Windows(0)
    with pytest.raises(ValueError, match="overlap must be from 0 to below 1, not 1"):
        Windows(8, overlap=1)
    with pytest.raises(ValueError, match="multiples of 2"):
        translate_padded(network(PLAIN), torch.rand(1, 1, 32, 32), "AtoB", windows=blending(9))
    with pytest.raises(ValueError, match="statistics must be exact or approximate"):
        Windows(8, statistics="some")


def test_windows_need_a_fraction_of_the_memory_of_one_pass():
    generator, x = local(3), torch.rand(1, 1, 48, 48, 48)
    whole = measure_step(lambda: translate_padded(generator, x, "AtoB")).peak
    windows = Windows(16)
    cut = measure_step(lambda: translate_padded(generator, x, "AtoB", windows=windows)).peak
    # A window has a twenty-seventh of the voxels; only input and result are whole.
    assert cut < whole / 10
