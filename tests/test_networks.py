"""Generator and discriminator as the paper describes them, in 2D and 3D."""

import copy
import io
import itertools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import revgan
from revgan.networks import (
    DiscriminatorConfig,
    GeneratorConfig,
    PatchDiscriminator,
    ResnetGenerator,
    ResnetPair,
    RevGenerator,
    UnetGenerator,
    UnetPair,
    build_generator,
    resizing,
)
from revgan.networks.layers import InstanceNorm, PaddedConv
from revgan.reversible import grid_spacing, round_to_grid

DIRECTIONS = ["AtoB", "BtoA"]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_generators_have_the_parameters_of_the_papers_tables():
    # Exactly; tests/test_benchmark_paper.py compares every row of the tables, as printed.
    assert count(RevGenerator(width=32, depth=6)) == 1_274_374
    assert count(RevGenerator(width=32, depth=9)) == 1_717_510
    assert 2 * count(ResnetGenerator(width=32, depth=6)) == 3_930_118
    # 54.414 million by pix2pix's code, and biases before the norms, which it leaves out.
    assert count(UnetGenerator(width=64, norm="batch")) == 54_413_955 + 5_504


@pytest.mark.parametrize("form", ["paper", "patch70"])
def test_discriminator_doubles_its_channels_three_times(form):
    convs = [m for m in PatchDiscriminator(form=form).modules() if isinstance(m, nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [64, 128, 256, 512, 1]
    kernels, strides = [4, 4, 4, 4, 1], [2, 2, 2, 2, 1]
    if form == "patch70":
        kernels, strides = [4] * 5, [2, 2, 2, 1, 1]
    assert [conv.kernel_size[0] for conv in convs] == kernels
    assert [conv.stride[0] for conv in convs] == strides


def test_patch70_judges_patches_of_70_pixels():
    judge = PatchDiscriminator(width=2).double()
    # Without normalisation, which looks at the whole image, a logit sees its patch alone.
    judge.layers = nn.Sequential(*(m for m in judge.layers if not isinstance(m, InstanceNorm)))
    x = torch.randn(1, 3, 160, 160, dtype=torch.float64, requires_grad=True)
    logits = judge(x)
    middle = logits.shape[-1] // 2
    (grad,) = torch.autograd.grad(logits[0, 0, middle, middle], x)
    rows = grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert rows.max() - rows.min() + 1 == 70


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_one_class_translates_images_and_volumes(spatial_dims, direction):
    net = RevGenerator(spatial_dims, in_channels=1, out_channels=2, width=4, depth=2)
    channels, expected = (1, 2) if direction == "AtoB" else (2, 1)
    y = net(torch.randn(1, channels, *[16] * spatial_dims), direction)
    assert y.shape == (1, expected, *[16] * spatial_dims)
    assert y.abs().max() <= 1
    y.square().sum().backward()
    assert PatchDiscriminator(spatial_dims, expected, width=2)(
        torch.randn(1, expected, *[32] * spatial_dims)
    ).shape == (1, 1, *[2] * spatial_dims)


def test_directions_are_decoder_core_encoder_with_one_core():
    net = RevGenerator(width=4, depth=2)
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(net(x, "AtoB"), net.decoder_b(net.core(net.encoder_a(x))))
    assert torch.equal(net(x, "BtoA"), net.decoder_a(net.core.inverse(net.encoder_b(x))))


def test_core_of_the_generator_inverts_bit_for_bit():
    net = RevGenerator(width=8, depth=30)
    x = round_to_grid(net.encoder_a(torch.randn(1, 3, 32, 32)))
    assert torch.equal(net.core.inverse(net.core(x)), x)


def test_weights_start_from_a_normal_distribution_of_two_hundredths():
    net = RevGenerator(width=16, depth=2)
    weights = torch.cat([p.flatten() for p in net.parameters() if p.ndim > 1])
    biases = torch.cat([p.flatten() for p in net.parameters() if p.ndim == 1])
    # 170,000 draws: mean and standard deviation within 5 standard errors.
    assert abs(weights.mean()) < 5 * 0.02 / len(weights) ** 0.5
    assert abs(weights.std() - 0.02) < 5 * 0.02 / (2 * len(weights)) ** 0.5
    assert not biases.any()


def test_every_convolution_but_the_last_is_normalised():
    net = RevGenerator(width=4, depth=3)
    norms = [m for m in net.modules() if isinstance(m, InstanceNorm)]
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(convs) - len(norms) == 2  # the last of each decoder
    assert not any(list(norm.parameters()) + list(norm.buffers()) for norm in norms)


@pytest.mark.parametrize(
    ("shape", "direction"),
    [
        ((1, 3, 30, 32), "AtoB"),
        ((1, 1, 32, 32), "AtoB"),
        ((1, 3, 32), "AtoB"),
        ((1, 3, 4, 4), "BtoA"),
        ((1, 3, 32, 32), "AtoC"),
    ],
)
def test_what_the_generator_cannot_take_is_named(shape, direction):
    with pytest.raises(ValueError, match=r"takes \(batch, 3|direction must be"):
        RevGenerator(width=4, depth=1)(torch.zeros(shape), direction)
    if direction == "AtoB":
        with pytest.raises(ValueError, match=r"takes \(batch, 3"):
            ResnetGenerator(width=4, depth=1)(torch.zeros(shape))


@pytest.mark.parametrize(
    "options", [{"width": 0}, {"depth": -1}, {"memory": "some"}, {"spatial_dims": 4}]
)
def test_impossible_architectures_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        RevGenerator(**options)


@pytest.mark.parametrize("keep", ["input", "padded"])
def test_reflect_conv_equals_a_padded_convolution_with_the_same_gradients(keep):
    layer = PaddedConv(2, 3, 5, 7, stride=2, keep=keep)
    plain = nn.Conv2d(3, 5, 7, stride=2, padding=3, padding_mode="reflect")
    plain.load_state_dict(layer.conv.state_dict())
    x = torch.randn(2, 3, 12, 10, requires_grad=True)
    outputs = layer(x), plain(x)
    assert torch.equal(*outputs)
    ours = torch.autograd.grad(outputs[0].square().sum(), [x, *layer.parameters()])
    other = torch.autograd.grad(outputs[1].square().sum(), [x, *plain.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(ours, other, strict=True))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_reflect_conv_has_first_and_second_derivatives(spatial_dims):
    layer = PaddedConv(spatial_dims, 1, 1, 3, stride=2).double()
    x = torch.randn(1, 1, *[4] * spatial_dims, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: layer(t).tanh(), x)
    assert torch.autograd.gradgradcheck(lambda t: layer(t).tanh(), x)


def test_what_reflect_conv_keeps_changes_no_bit_under_autocast():
    layer = PaddedConv(2, 8, 8, 3)
    x = torch.randn(2, 8, 6, 6, requires_grad=True)

    def run(keep):
        layer.keep = keep
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        return y, *torch.autograd.grad(y.float().square().sum(), [x, *layer.parameters()])

    assert all(itertools.starmap(torch.equal, zip(run("input"), run("padded"), strict=True)))


@pytest.mark.parametrize("memory", ["naive", "reversible", "lean"])
def test_a_backward_pass_may_run_inside_autocast(memory):
    net = RevGenerator(width=8, depth=1, memory=memory)
    x = torch.rand(1, 3, 16, 16)

    def gradients(inside):
        with torch.autocast("cpu", torch.bfloat16):
            loss = net(x).float().square().mean()
        with torch.autocast("cpu", torch.bfloat16, enabled=inside):
            return torch.autograd.grad(loss, net.parameters(), allow_unused=True)

    found, expected = gradients(True), gradients(False)
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_instance_norm_is_that_of_pytorch():
    for x in (torch.randn(1, 3, 5, 4), torch.randn(3, 2, 4, 4, 4)):
        # The same arithmetic, in an order that depends on the layout of the channels.
        assert torch.allclose(InstanceNorm()(x), F.instance_norm(x), atol=1e-6)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_memory_modes_give_the_same_bits(monkeypatch, spatial_dims, direction):
    upsampling = "bilinear" if direction == "AtoB" else "transposed"
    monkeypatch.setattr(resizing, "PIECE", 2**14)  # in parts, as larger ones
    monkeypatch.setattr(resizing, "GROUP", 16)
    x = torch.rand(1, 3, 20, *[16] * (spatial_dims - 1)) * 2 - 1

    def run(memory, stored_blocks=0):
        torch.manual_seed(0)
        net = RevGenerator(
            spatial_dims,
            width=4,
            depth=3,
            memory=memory,
            stored_blocks=stored_blocks,
            upsampling=upsampling,
        )
        y = net(x, direction)
        y.square().mean().backward()
        return y, *(p.grad for p in net.parameters() if p.grad is not None)

    naive = run("naive")
    for setting in (("reversible",), ("reversible", 1), ("reversible", 3), ("lean",), ("lean", 2)):
        assert all(itertools.starmap(torch.equal, zip(run(*setting), naive, strict=True))), setting


@pytest.mark.parametrize(
    "fields",
    [
        {"memory": "naive", "norm": "batch"},
        {"memory": "reversible"},
        {"memory": "lean", "slabs": 3, "upsampling": "bilinear"},
        {"memory": "reversible", "core": "ode"},
    ],
)
def test_networks_compute_in_the_precision_of_their_weights(fields):
    torch.manual_seed(0)
    full = RevGenerator(2, 1, 1, width=4, depth=2, init="kaiming", **fields).double()
    x = torch.rand(1, 1, 16, 16, dtype=torch.float64)
    expected = {direction: full(x, direction).detach() for direction in DIRECTIONS}
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        network = copy.deepcopy(full).to(dtype)
        for direction in DIRECTIONS:
            y = network(x.to(dtype), direction)
            assert y.dtype == dtype
            y.float().square().mean().backward()
            # Some dozen roundings, amplified by kaiming's weights; the float32 stream has a grid.
            error = (y.double() - expected[direction]).norm() / expected[direction].norm()
            assert error <= 20 * max(torch.finfo(dtype).eps, grid_spacing(torch.float32))
        grads = [weight.grad for weight in network.parameters()]
        assert all(grad.dtype == dtype and grad.isfinite().all() for grad in grads)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("memory", ["reversible", "lean", "slabs"])
def test_generators_are_exported_and_traced_outside_no_grad(memory):
    fields = {"memory": "lean", "slabs": 2} if memory == "slabs" else {"memory": memory}
    upsampling = "transposed" if memory == "reversible" else "bilinear"
    network = RevGenerator(2, 1, 1, width=4, depth=2, upsampling=upsampling, **fields).eval()
    x, larger = torch.randn(1, 1, 16, 16), torch.randn(1, 1, 24, 32)
    exported, traced = torch.export.export(network, (x,)).module(), torch.jit.trace(network, x)
    # Exported norms, and those in slabs, sum in another order, and may tip a number on the grid of
    # 2**-16.
    torch.testing.assert_close(exported(x), network(x), rtol=0, atol=1e-4)
    atol = 1e-4 if memory == "slabs" else 0
    torch.testing.assert_close(traced(larger), network(larger), rtol=0, atol=atol)
    torch.jit.save(traced, io.BytesIO())  # plain operators alone


def test_reflect_conv_notices_an_input_changed_in_place():
    layer = PaddedConv(2, 3, 4, 3)
    x = torch.randn(1, 3, 8, 8)
    loss = layer(x).sum()
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("model", ["revgan", "resnet", "unet"])
def test_a_configuration_builds_what_its_fields_build(model):
    kind = {"revgan": RevGenerator, "resnet": ResnetPair, "unet": UnetPair}[model]
    size = {"depth": 6, "downsamplings": 2} if model == "unet" else {"depth": 1, "downsamplings": 1}
    fields = {"width": 2, "memory": "naive", "norm": "batch", **size}
    config = GeneratorConfig(model, **fields)

    def built(build, *arguments, **options):
        torch.manual_seed(0)
        return build(*arguments, **options)

    by_config = built(build_generator, config, 3, 1, 2)
    by_fields = built(kind, 3, 1, 2, **fields)
    assert type(by_config) is type(by_fields) is kind
    assert by_config.config == by_fields.config == config
    assert str(by_config) == str(by_fields)
    assert same_weights(by_config, by_fields)
    assert same_weights(
        by_config, built(kind, 3, 1, 2, 2, size.pop("depth"), "naive", norm="batch", **size)
    )


def test_a_discriminators_configuration_builds_what_its_fields_build():
    config = DiscriminatorConfig("paper", width=2, norm="none", init="kaiming")
    by_config = PatchDiscriminator.from_config(config, 3, 1)
    torch.manual_seed(0)
    by_fields = PatchDiscriminator(3, 1, 2, "paper", "none", "kaiming")
    assert by_config.config == by_fields.config == config
    assert same_weights(by_config, by_fields)


def same_weights(one, other):
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_a_configuration_of_another_model_is_refused():
    with pytest.raises(ValueError, match="model must be revgan, not resnet"):
        RevGenerator.from_config(GeneratorConfig("resnet", memory="naive"), 2, 3, 3)


def test_the_planner_must_have_chosen_the_memory():
    with pytest.raises(ValueError, match="memory auto is for the planner"):
        build_generator(GeneratorConfig(), 2, 3, 3)


def test_generators_and_configurations_print_what_they_are():
    config = GeneratorConfig("resnet", width=2, depth=1, memory="naive", norm="batch")
    told = "width=2, depth=1, norm='batch', memory='naive'"
    assert repr(config) == f"GeneratorConfig(model='resnet', {told})"
    net = RevGenerator(3, 1, 2, width=2, depth=1, norm="batch", memory="naive")
    assert f"spatial_dims=3, in_channels=1, out_channels=2, {told}" in repr(net)


def test_no_network_of_ours_imports_monai():
    for room in ("networks", "reversible"):
        for path in (Path(revgan.__file__).parent / room).glob("*.py"):
            if path.name != "foreign.py":  # which loads MONAI's networks on demand
                assert "monai" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("channels", [1, 3])
def test_every_feature_map_has_its_channels_last(channels):
    # Also where they come from a single channel, and in the core's halves: kernels are faster so.
    # (In 3D, PyTorch takes other kernels for small volumes, with the channels first.)
    net = RevGenerator(2, channels, channels, width=16, depth=1)
    maps = []
    for module in net.modules():
        if isinstance(module, InstanceNorm):
            module.register_forward_hook(lambda _, inputs, y: maps.append(y.stride(1)))
    with torch.no_grad():
        net(torch.rand(1, channels, 64, 64))
    assert set(maps) == {1}
