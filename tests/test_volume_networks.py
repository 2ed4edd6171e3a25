"""The paper's 3D generator, and what else volumes ask of the networks."""

import itertools

import pytest
import torch
from torch import nn

from revgan.data.sets import DataConfig
from revgan.networks import (
    DiscriminatorConfig,
    GeneratorConfig,
    PatchDiscriminator,
    ResnetPair,
    RevGenerator,
    build_generator,
)
from revgan.networks.layers import InstanceNorm
from revgan.reversible import round_to_grid
from revgan.training.config import RunConfig

PAPER_3D = {"downsamplings": 0, "first_kernel": 3, "last_kernel": 1, "identity_start": True}


def paper_3d(**options):
    return RevGenerator(3, 6, 6, **{"width": 4, "depth": 2, **PAPER_3D, **options})


def test_the_papers_3d_generator_has_its_layers():
    net = paper_3d(depth=1)
    convs = {name: m for name, m in net.named_modules() if isinstance(m, nn.Conv3d)}
    kernels = {name.split(".")[0] + name[-5:]: conv.kernel_size for name, conv in convs.items()}
    assert [c.kernel_size[0] for n, c in convs.items() if n.startswith("encoder_a")] == [3]
    assert [c.kernel_size[0] for n, c in convs.items() if n.startswith("decoder_a")] == [1]
    assert all(c.kernel_size == (3, 3, 3) for n, c in convs.items() if n.startswith("core"))
    assert len(kernels) == 5
    assert {conv.stride for conv in convs.values()} == {(1, 1, 1)}
    # f and g: padding and convolution, norm, ReLU, padding and convolution; no norm at the end.
    f = list(net.core.blocks[0].f)
    assert isinstance(f[1], InstanceNorm)
    assert isinstance(f[2], nn.ReLU)
    assert len(f) == 4


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("memory", ["naive", "reversible", "lean"])
def test_the_core_starts_as_the_identity(spatial_dims, memory):
    net = RevGenerator(spatial_dims, width=4, depth=3, identity_start=True, memory=memory)
    x = round_to_grid(torch.randn(1, 16, *[6] * spatial_dims))
    assert torch.equal(net.core(x), x)
    assert torch.equal(net.core.inverse(x), x)


def test_a_core_that_starts_as_the_identity_learns():
    net = paper_3d()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    x = torch.rand(1, 6, 8, 8, 8) * 2 - 1
    for _ in range(2):  # only the second step reaches the inner convolutions
        optimizer.zero_grad()
        (net(x) - x).square().mean().backward()
        optimizer.step()
    assert all(weight.grad.any() for weight in net.core.parameters() if weight.ndim > 1)


def test_a_resnet_may_start_from_identities_too():
    pair = ResnetPair(3, 1, 1, width=4, depth=2, identity_start=True)
    x = torch.rand(1, 16, 4, 4, 4)
    assert all(not block(x).any() for block in pair.generators["AtoB"].blocks)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize(
    ("tanh", "downsamplings", "skip"), [(True, 0, False), (False, 1, False), (True, 1, True)]
)
def test_memory_modes_give_the_same_bits_for_the_papers_3d_generator(
    direction, tanh, downsamplings, skip
):
    x = torch.rand(1, 6, 8, 8, 8) * 2 - 1

    def run(memory):
        torch.manual_seed(0)
        net = paper_3d(memory=memory, tanh=tanh, downsamplings=downsamplings, skip=skip)
        for weight in net.parameters():  # away from the identity
            nn.init.normal_(weight, 0, 0.1)
        y = net(x, direction)
        y.square().mean().backward()
        return y, *(p.grad for p in net.parameters() if p.grad is not None)

    naive = run("naive")
    for memory in ("reversible", "lean"):
        assert all(itertools.starmap(torch.equal, zip(run(memory), naive, strict=True))), memory


def test_without_tanh_translations_leave_the_range_of_images():
    net = paper_3d(tanh=False)
    nn.init.constant_(net.decoder_b[-1].conv.bias, 5.0)
    assert net(torch.rand(1, 6, 8, 8, 8)).mean() > 1


@pytest.mark.parametrize("tanh", [True, False])
@pytest.mark.parametrize("model", [RevGenerator, ResnetPair])
def test_with_skip_networks_learn_the_difference_from_their_input(model, tanh):
    net = model(3, 1, 1, width=4, depth=1, downsamplings=1, tanh=tanh, skip=True)
    x = torch.rand(1, 1, 8, 8, 8) * 2 - 1
    plain = model(3, 1, 1, width=4, depth=1, downsamplings=1, tanh=False)
    plain.load_state_dict(net.state_dict())
    for direction in ("AtoB", "BtoA"):
        y = x + plain(x, direction)
        assert torch.equal(net(x, direction), y.tanh() if tanh else y)


@pytest.mark.parametrize("model", [RevGenerator, ResnetPair])
def test_with_skip_and_identity_start_translations_start_as_their_input_and_leave_it(model):
    net = model(
        3, 1, 1, width=4, depth=1, downsamplings=1, norm="none", init="kaiming",
        upsampling="bilinear", tanh=False, skip=True, identity_start=True,
    )  # fmt: skip
    x = torch.rand(1, 1, 8, 8, 8) * 4 - 2
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for direction in ("AtoB", "BtoA"):
        assert torch.equal(net(x, direction), x)
        net(x, direction).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert not torch.equal(net(x, direction), x)


def test_skip_between_domains_of_unlike_channels_is_refused():
    with pytest.raises(ValueError, match="same channels in both domains, not 1 and 2"):
        RevGenerator(2, 1, 2, skip=True)


@pytest.mark.parametrize(
    ("options", "multiple", "least"),
    [
        ({}, 4, 8),
        ({"downsamplings": 0}, 1, 4),
        (PAPER_3D, 1, 2),
        ({"downsamplings": 1, "first_kernel": 3, "last_kernel": 1}, 2, 4),
        ({"downsamplings": 3}, 8, 16),
        ({"downsamplings": 1, "first_kernel": 11}, 2, 6),
    ],
)
def test_sizes_that_fit_are_known_and_work(options, multiple, least):
    config = GeneratorConfig(width=2, depth=1, memory="naive", **options)
    assert (config.size_multiple, config.min_size) == (multiple, least)
    net = build_generator(config, 2, 1, 1)
    for size in (least, least + multiple):
        assert net(torch.rand(1, 1, size, size)).shape == (1, 1, size, size)
    with pytest.raises(ValueError, match=f"multiples of {multiple} from {least} up"):
        net(torch.rand(1, 1, least - multiple, least))


@pytest.mark.parametrize("form", ["paper", "patch70"])
def test_discriminators_judge_from_their_least_size_up(form):
    config = DiscriminatorConfig(form=form)
    for spatial_dims in (2, 3):
        judge = PatchDiscriminator(spatial_dims, 1, width=2, form=form)
        judge(torch.rand(1, 1, *[config.min_size] * spatial_dims))
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            judge(torch.rand(1, 1, *[config.min_size - 4] * spatial_dims))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"downsamplings": 5}, "downsamplings must be from 0 to 4 with model revgan, not 5"),
        ({"downsamplings": 0, "width": 3}, "width must be even with downsamplings 0, not 3"),
        ({"first_kernel": 4}, "first_kernel must be odd, 1 or more, not 4"),
        ({"last_kernel": -1}, "last_kernel must be 1 or more"),
        ({"identity_start": True, "coupling": "affine"}, "identity_start can't be True with"),
    ],
)
def test_impossible_architectures_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        GeneratorConfig(**options)


def test_the_crop_must_fit_the_networks():
    assert RunConfig(data=DataConfig(crop=24)).min_size == 24
    with pytest.raises(ValueError, match=r"data.crop must be a multiple of 4 from 24 up, not 30"):
        RunConfig(data=DataConfig(crop=30))
    with pytest.raises(ValueError, match=r"data.crop must be a multiple of 4 from 32 up, not 24"):
        RunConfig(data=DataConfig(crop=24), discriminator=DiscriminatorConfig(form="paper"))
    config = GeneratorConfig(width=4, **PAPER_3D)
    assert RunConfig(data=DataConfig(crop=25), generator=config).size_multiple == 1
